# SPDX-License-Identifier: Apache-2.0
"""Configuration of a training run: network, data, stages and losses as one value.

A plan is counted in frames, never in time, so that slices of any length add up to the same run.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise

from training.sequences import Recipe
from ttt3r_ros.model.network.config import NetworkConfig


@dataclass(frozen=True)
class Stage:
    """A stretch of the run with sequences of one length."""

    until: float  # fraction of the frames of the whole run
    views: int
    batch: int  # sequences of a step, over all processes
    rule: str = "cut3r"
    reset_share: float = 0.0
    rate: float = 1.0  # factor of the learning rate
    span: float = 1.0  # fraction of a clip that a subsequence may cover: small motions first

    @property
    def frames_per_step(self) -> int:
        """Return the number of frames of a step."""
        return self.views * self.batch


@dataclass(frozen=True)
class Plan:
    """A training run."""

    network: NetworkConfig
    recipe: Recipe
    stages: tuple[Stage, ...]
    frames: int  # shown to the network in the whole run
    learning_rate: float = 1e-3
    warm_up_steps: int = 125
    ema: float = 0.998
    seed: int = 0
    per_material: int = 24  # images of each material
    clips_per_batch: int = 8  # rendered together
    first_batches: int = 8
    batches_kept: int = 96
    reuse: float = 5.0  # times that a rendered frame is shown, on average
    pixel_step: int = 1  # the loss looks at every n-th pixel along both axes
    crops: tuple[
        tuple[int, int], ...
    ] = ()  # (height, width) of which each step draws one; none: as rendered
    processes: int = 1
    reset_interval: int = 8  # recommended frames between state resets

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """Return the step at which each stage ends."""
        starts = (0.0, *(stage.until for stage in self.stages[:-1]))
        counts = [
            math.ceil(self.frames * (stage.until - start) / stage.frames_per_step)
            for stage, start in zip(self.stages, starts, strict=True)
        ]
        return tuple(accumulate(counts))

    @property
    def steps(self) -> int:
        """Return the number of optimizer steps."""
        return self.ends[-1]

    def stage(self, step: int) -> Stage:
        """Return the stage of a step."""
        return self.stages[min(bisect_right(self.ends, step), len(self.stages) - 1)]

    def frames_shown(self, step: int) -> int:
        """Return the number of frames in all earlier steps."""
        begins = (0, *self.ends[:-1])
        return sum(
            stage.frames_per_step * (min(max(step, begin), end) - begin)
            for stage, begin, end in zip(self.stages, begins, self.ends, strict=True)
        )

    def learning_rate_at(self, step: int) -> float:
        """Return a linear rise, then half a cosine down to 2 % of the peak over the frames of the run."""
        rise = min(1.0, (step + 1) / self.warm_up_steps)
        progress = min(1.0, self.frames_shown(step) / self.frames)
        fall = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))
        return self.learning_rate * self.stage(step).rate * rise * fall

    def batches_at(self, step: int) -> range:
        """Return the clip batches available at a step; new ones replace the oldest."""
        rendered = self.clips_per_batch * self.recipe.frames * self.reuse
        newest = self.first_batches + int(self.frames_shown(step) / self.processes / rendered)
        return range(max(0, newest - self.batches_kept), newest)

    def __post_init__(self) -> None:
        if any(a.until >= b.until for a, b in pairwise(self.stages)) or self.stages[-1].until != 1.0:
            msg = "the stages of a plan must end in order, the last one at 1.0"
            raise ValueError(msg)
        for stage in self.stages:
            if stage.views > self.recipe.frames:
                msg = f"a stage has {stage.views} views; expected at most the {self.recipe.frames} frames of a clip"
                raise ValueError(msg)
            if stage.batch % self.processes:
                msg = f"the batch of a stage is {stage.batch}; expected a multiple of {self.processes} processes"
                raise ValueError(msg)
        patch, whole = self.network.patch_size, (self.recipe.height, self.recipe.width)
        for crop in (*self.crops, whole):
            if any(c % patch or c > w or (w - c) % 2 for c, w in zip(crop, whole, strict=True)):
                msg = f"crop {crop} does not fit; expected multiples of {patch} up to {whole}"
                raise ValueError(msg)
        if patch % self.pixel_step:
            msg = f"pixel_step is {self.pixel_step}; expected a divisor of the patch size {patch}"
            raise ValueError(msg)


def network(
    width: int, encoder: int, decoder: int, patch: int, size: tuple[int, int], state: int
) -> NetworkConfig:
    """Return the architecture with heads of 32 channels; ``size`` is (height, width)."""
    heads = width // 32
    return NetworkConfig(
        enc_embed_dim=width, enc_depth=encoder, enc_num_heads=heads,
        dec_embed_dim=width, dec_depth=decoder, dec_num_heads=heads, state_dec_num_heads=heads,
        mlp_ratio=2.0, memory_mlp_ratio=2.0, patch_size=patch, state_size=state, local_mem_size=8,
        ray_enc_depth=1, head_type="linear", rgb_head=False, img_size=size,
    )  # fmt: skip


GPU_NETWORK = network(192, 6, 4, patch=16, size=(160, 224), state=169)
GPU_RECIPE = Recipe(
    width=224, height=160, frames=16, styles=(("handheld", 0.84), ("driving", 0.08), ("flying", 0.08))
)

PLANS = {
    # Two processor cores and an evening.
    "cpu": Plan(
        network=network(128, 4, 4, patch=8, size=(56, 80), state=90),
        recipe=Recipe(
            width=80, height=56, frames=12,
            styles=(("handheld", 0.84), ("driving", 0.08), ("flying", 0.08)),
        ),
        stages=(
            Stage(1200 / 6875, 2, 32),
            Stage(0.6, 4, 16, "ttt3r", 0.05, rate=0.4, span=0.6),
            Stage(1.0, 8, 8, "ttt3r", 0.03, rate=0.4),
        ),
        frames=440_000, learning_rate=1.5e-3, reuse=6.0, processes=2,
    ),
    # Seven minutes of an H100: the weights of the package.
    "gpu": Plan(
        network=GPU_NETWORK,
        recipe=GPU_RECIPE,
        stages=(
            Stage(0.194, 2, 32), Stage(0.558, 4, 32, "ttt3r", 0.03),
            Stage(0.851, 8, 32, "ttt3r", 0.03), Stage(1.0, 12, 32, "ttt3r", 0.03),
        ),
        frames=1_409_000, learning_rate=8e-4, warm_up_steps=300, ema=0.999,
        per_material=32, clips_per_batch=64, first_batches=8, batches_kept=32, reuse=14.0, pixel_step=4,
        reset_interval=16,
    ),
    # The next minutes of one: goes on from those weights (--start) with fresher clips, one ray a pixel to afford them.
    "gpu_longer": Plan(
        network=GPU_NETWORK,
        recipe=replace(GPU_RECIPE, smooth=False),
        stages=(
            Stage(0.4, 4, 32, "ttt3r", 0.03), Stage(0.8, 8, 32, "ttt3r", 0.03), Stage(1.0, 16, 32, "ttt3r", 0.03),
        ),
        frames=1_600_000, learning_rate=6e-4, warm_up_steps=300, ema=0.999, seed=1,
        per_material=64, clips_per_batch=64, first_batches=16, batches_kept=64, reuse=4.0, pixel_step=4,
        reset_interval=16,
    ),
    # Seconds, for the tests.
    "tiny": Plan(
        network=network(64, 1, 2, patch=8, size=(24, 32), state=16),
        recipe=Recipe(width=32, height=24, frames=4, shadows=False),
        stages=(Stage(0.5, 1, 48), Stage(0.75, 2, 24), Stage(1.0, 3, 16, "ttt3r", 0.1)),
        frames=6_000, learning_rate=3e-3, warm_up_steps=166, per_material=1, clips_per_batch=4, first_batches=4,
    ),
}  # fmt: skip
