# SPDX-License-Identifier: Apache-2.0
"""Cache of rendered clips: a sliding window over an infinite sequence of batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from training.sequences import Clips, make_clips

if TYPE_CHECKING:
    from training.curriculum import Plan
    from training.textures import TextureBank


class ClipStore:
    """Holds the batches of clips that the plan allows at a step.

    Batch k of a process depends on the plan's seed, the process and k alone, so a run that continues after a
    break renders the same clips again.
    """

    def __init__(self, plan: Plan, bank: TextureBank, rank: int, device: str) -> None:
        self._plan, self._bank, self._rank, self._device = plan, bank, rank, device
        self._held = range(0)
        capacity = plan.batches_kept * plan.clips_per_batch
        recipe = plan.recipe
        frames, size = recipe.frames, (recipe.height, recipe.width)
        self._clips = Clips(
            torch.zeros(capacity, frames, 3, *size, dtype=torch.uint8, device=device),
            torch.zeros(capacity, frames, *size, dtype=torch.float16, device=device),
            torch.zeros(capacity, frames, 4, 4, device=device),
            torch.zeros(capacity, device=device),
        )

    def at(self, step: int) -> Clips:
        """Return the clips for a step; renders missing ones."""
        required = self._plan.batches_at(step)
        for batch in required:
            if batch not in self._held:
                self._put(batch)
        self._held = required
        filled = min(required.stop, self._plan.batches_kept) * self._plan.clips_per_batch
        return Clips(*(value[:filled] for value in vars(self._clips).values()))

    def _put(self, batch: int) -> None:
        count = self._plan.clips_per_batch
        clips = make_clips(
            (self._plan.seed, self._rank, batch), count, self._plan.recipe, self._bank, self._device
        )
        first = batch % self._plan.batches_kept * count
        for name, value in vars(clips).items():
            getattr(self._clips, name)[first : first + count] = value
