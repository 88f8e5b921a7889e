# SPDX-License-Identifier: Apache-2.0
"""The optimizer loop: one process per device, or a few on a processor's cores, averaging their gradients."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn

from training.checkpoints import Progress, append_log, load_progress, save_progress
from training.clip_store import ClipStore
from training.growth import grow
from training.initialization import initial_network
from training.sequences import make_clips
from training.step import STEPS_USED, RecordedStep, Step, compile_blocks
from training.textures import TextureBank
from training.views import draw
from ttt3r_ros.model.checkpoints.checkpoint import load_checkpoint
from ttt3r_ros.model.network.update_rules import update_rule

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from training.curriculum import Plan, Stage
    from training.views import Draw

LOG_EVERY = 20  # steps
PATCH_CLIPS = 16  # checked before the first step


class Trainer:
    """Owns the network, its average and the optimizer; `step` is the whole algorithm."""

    def __init__(
        self,
        plan: Plan,
        run: Path,
        device: str,
        rank: int = 0,
        *,
        compiled: bool = False,
        start: Path | None = None,
    ) -> None:
        self.plan, self.run, self.device, self.rank = plan, run, device, rank
        bank = TextureBank.make(plan.seed, plan.per_material, device)
        self.store = ClipStore(plan, bank, rank, device)
        self.network = initial_network(plan.network, plan.seed, typical_patches(plan, bank, device)).to(
            device
        )
        if start is not None:
            self._take_over(start)
        self._step = Step(self.network, plan)
        self.optimizer, self.average = self._step.optimizer, self._step.average
        self.now = 0
        self._resume()
        self._run_step = RecordedStep(self._step) if device.startswith("cuda") else self._step
        self._sums: Tensor | None = None
        if compiled:
            compile_blocks(self.network)

    def _take_over(self, start: Path) -> None:
        checkpoint = load_checkpoint(start)
        fresh = self.network.state_dict()
        tensors = {name: value.to(self.device) for name, value in checkpoint.tensors.items()}
        tensors = grow(tensors, checkpoint.config, self.plan.network, fresh)
        self.network.load_state_dict(tensors)

    def _resume(self) -> None:
        progress = load_progress(self.run, repr(self.plan), self.device)
        if progress is None:
            return
        self.now = progress.step
        self.network.load_state_dict(progress.network)
        for name, value in self.average.items():
            value.copy_(progress.average[name])
        self.optimizer.load_state_dict(progress.optimizer)

    def step(self) -> None:
        """Draw views, unroll the network over them, update its weights."""
        plan, now = self.plan, self.now
        stage = plan.stage(now)
        drawn = self._draw(stage)
        self.optimizer.prepare(plan.learning_rate_at(now))
        self._step.keep.fill_(min(plan.ema, now / (now + 10)))
        figures = self._run_step(drawn, update_rule(stage.rule))
        self._sums = figures.clone() if self._sums is None else self._sums.add_(figures)
        self.now += 1

    def _draw(self, stage: Stage) -> Draw:
        plan, now = self.plan, self.now
        rng = torch.Generator().manual_seed((plan.seed * 1_000_003 + now) * 64 + self.rank)
        batch = stage.batch // plan.processes
        clips = self.store.at(now)
        if plan.crops:
            clips = clips.crop(*plan.crops[int(torch.randint(len(plan.crops), (1,), generator=rng))])
        return draw(clips, rng, batch, stage.views, stage.reset_share, stage.span, plan.pixel_step)

    def save(self) -> None:
        """Write the checkpoint; only the first process does."""
        if self.rank == 0:
            network, optimizer = self.network.state_dict(), self.optimizer.state_dict()
            save_progress(
                self.run, Progress(self.now, network, self.average, optimizer, repr(self.plan))
            )

    def log(self, frames_per_s: float) -> dict[str, float | str]:
        """Return and write the means since the last call."""
        values = [] if self._sums is None else self._sums.tolist()
        sums = dict(zip(self._step.names, values, strict=True))
        self._sums = None
        used = sums.pop(STEPS_USED)
        row: dict[str, float | str] = {
            "step": self.now,
            "frames": self.plan.frames_shown(self.now),
            "views": self.plan.stage(self.now - 1).views,
            "learning_rate": self.plan.learning_rate_at(self.now - 1),
            "frames_per_s": round(frames_per_s, 1),
            STEPS_USED: used,
        }
        row |= {name: round(value / max(used, 1.0), 5) for name, value in sums.items()}
        if self.rank == 0:
            append_log(self.run, row)
        return row


def train(trainer: Trainer, minutes: float, report: Callable[[dict[str, float | str]], None]) -> bool:
    """Step for some minutes or to the plan's end; return whether the run is complete.

    All processes must stop at the same step, so the first one's clock decides for all.
    """
    plan = trainer.plan
    deadline = time.monotonic() + 60 * minutes
    trainer.store.at(trainer.now)  # renders what a break has lost; no part of the rate
    saved = logged = time.monotonic()
    first = trainer.now
    while trainer.now < plan.steps:
        trainer.step()
        if trainer.now % LOG_EVERY == 0:
            now = time.monotonic()
            shown = plan.frames_shown(trainer.now) - plan.frames_shown(first)
            report(trainer.log(shown / (now - logged)))
            logged, first = now, trainer.now
            if now - saved > 120:
                trainer.save()
                saved = now
        if agreed(time.monotonic() > deadline, plan.processes):
            break
    trainer.save()
    return trainer.now >= plan.steps


def agreed(mine: bool, processes: int) -> bool:  # noqa: FBT001 - a vote
    """Return the first process's value."""
    if processes == 1:
        return mine
    vote = torch.tensor([int(mine)])
    dist.broadcast(vote, 0)
    return bool(vote)


def typical_patches(plan: Plan, bank: TextureBank, device: str = "cpu") -> Tensor:
    """Return image patches (K, 3 * patch * patch) in [-1, 1] of a few clips."""
    side = plan.network.patch_size
    clips = make_clips((plan.seed, 10**6), plan.clips_per_batch, plan.recipe, bank, device)
    frames = clips.rgb[:PATCH_CLIPS].flatten(0, 1)[::3].cpu().float() / 127.5 - 1.0
    return nn.functional.unfold(frames, side, stride=side).movedim(1, 2).flatten(0, 1)
