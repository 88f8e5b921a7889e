# SPDX-License-Identifier: Apache-2.0
"""What is trained, on what, in which order: everything that decides the weights, as one value.

A plan is counted in frames, never in time, so that slices of any length add up to the same run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from training.sequences import Recipe
from ttt3r_ros.model.network_config import NetworkConfig

WARM_UP_FRAMES = 8_000


@dataclass(frozen=True)
class Stage:
    """A stretch of the run with sequences of one length."""

    until: float  # share of the whole run
    views: int
    rule: str = "cut3r"
    reset_share: float = 0.0
    rate: float = 1.0  # factor of the learning rate
    span: float = 1.0  # share of a clip that a subsequence may cover: small motions first


@dataclass(frozen=True)
class Plan:
    """A training run."""

    network: NetworkConfig
    recipe: Recipe
    stages: tuple[Stage, ...]
    frames: int  # shown to the network in the whole run
    frames_per_step: int  # over all processes
    learning_rate: float = 1e-3
    ema: float = 0.998
    seed: int = 0
    per_material: int = 24  # images of each material
    clips_per_batch: int = 8  # rendered together
    first_batches: int = 8
    batches_kept: int = 96
    reuse: float = 5.0  # times that a rendered frame is shown, on average
    pixel_step: int = 1  # the loss looks at every n-th pixel
    crops: tuple[
        tuple[int, int], ...
    ] = ()  # (height, width) of which each step draws one; none: as rendered
    processes: int = 1
    reset_interval: int = 8  # frames after which the weights want their state begun anew

    @property
    def steps(self) -> int:
        """Return the number of optimiser steps."""
        return math.ceil(self.frames / self.frames_per_step)

    def stage(self, step: int) -> Stage:
        """Return the stage of a step."""
        progress = step / self.steps
        return next((stage for stage in self.stages if progress < stage.until), self.stages[-1])

    def learning_rate_at(self, step: int) -> float:
        """Return a linear rise, then half a cosine down to 2 % of the peak."""
        rise = min(1.0, (step + 1) * self.frames_per_step / WARM_UP_FRAMES)
        fall = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.steps)))
        return self.learning_rate * self.stage(step).rate * rise * fall

    def batches_at(self, step: int) -> range:
        """Return which batches of clips are at hand at a step: new ones come, the oldest go."""
        rendered = self.clips_per_batch * self.recipe.frames * self.reuse
        newest = self.first_batches + int(step * self.frames_per_step / self.processes / rendered)
        return range(max(0, newest - self.batches_kept), newest)

    def __post_init__(self) -> None:
        if any(a.until >= b.until for a, b in pairwise(self.stages)) or self.stages[-1].until != 1.0:
            msg = "the stages of a plan must end in order, the last one at 1.0"
            raise ValueError(msg)
        share = self.processes
        for stage in self.stages:
            if stage.views > self.recipe.frames:
                msg = f"a stage has {stage.views} views; expected at most the {self.recipe.frames} frames of a clip"
                raise ValueError(msg)
            if self.frames_per_step % (share * stage.views):
                msg = f"frames_per_step is {self.frames_per_step}; expected a multiple of {share} x {stage.views} views"
                raise ValueError(msg)
        patch, whole = self.network.patch_size, (self.recipe.height, self.recipe.width)
        for crop in (*self.crops, whole):
            if any(c % patch or c > w or (w - c) % 2 for c, w in zip(crop, whole, strict=True)):
                msg = f"crop {crop} does not fit; expected multiples of {patch} up to {whole}"
                raise ValueError(msg)


def network(
    width: int, encoder: int, decoder: int, patch: int, size: tuple[int, int], state: int
) -> NetworkConfig:
    """Return the architecture with heads of 32 channels; ``size`` is (height, width)."""
    heads = width // 32
    return NetworkConfig(
        enc_embed_dim=width, enc_depth=encoder, enc_num_heads=heads,
        dec_embed_dim=width, dec_depth=decoder, dec_num_heads=heads, state_dec_num_heads=heads,
        mlp_ratio=2.0, patch_size=patch, state_size=state, local_mem_size=8, ray_enc_depth=1,
        head_type="linear", rgb_head=False, img_size=size,
    )  # fmt: skip


PLANS = {
    # Two processor cores and an evening.
    "cpu": Plan(
        network=network(128, 4, 4, patch=8, size=(56, 80), state=90),
        recipe=Recipe(
            width=80, height=56, frames=12,
            styles=(("handheld", 0.84), ("driving", 0.08), ("flying", 0.08)),
        ),
        stages=(
            Stage(1200 / 6875, 2),
            Stage(0.6, 4, "ttt3r", 0.05, rate=0.4, span=0.6),
            Stage(1.0, 8, "ttt3r", 0.03, rate=0.4),
        ),
        frames=440_000, frames_per_step=64, learning_rate=1.5e-3, reuse=6.0, processes=2,
    ),
    # Another evening: goes on from the weights that "cpu" made (--start), with longer sequences from the first step.
    "cpu_longer": Plan(
        network=network(128, 4, 4, patch=8, size=(56, 80), state=90),
        recipe=Recipe(
            width=80, height=56, frames=16,
            styles=(("handheld", 0.84), ("driving", 0.08), ("flying", 0.08)),
        ),
        stages=(Stage(0.5, 8, "ttt3r", 0.03), Stage(1.0, 12, "ttt3r", 0.03)),
        frames=300_000, frames_per_step=96, learning_rate=5e-4, seed=1, reuse=6.0, processes=2,
        reset_interval=12,
    ),
    # Half an hour of one data-centre GPU, in slices of nine minutes.
    "gpu": Plan(
        network=network(192, 8, 6, patch=16, size=(160, 224), state=169),
        recipe=Recipe(width=224, height=160, frames=16),
        stages=(
            Stage(0.07, 1), Stage(0.3, 2), Stage(0.55, 4), Stage(0.8, 8, "cut3r", 0.03), Stage(1.0, 16, "ttt3r", 0.03),
        ),
        frames=8_000_000, frames_per_step=1024, learning_rate=1e-3, ema=0.999,
        crops=((160, 224), (160, 224), (128, 224), (160, 160), (160, 112)),
        per_material=64, clips_per_batch=64, first_batches=8, batches_kept=16, reuse=20.0, pixel_step=2,
    ),
    # Seconds, for the tests.
    "tiny": Plan(
        network=network(64, 1, 2, patch=8, size=(24, 32), state=16),
        recipe=Recipe(width=32, height=24, frames=4, shadows=False),
        stages=(Stage(0.5, 1), Stage(0.75, 2), Stage(1.0, 3, "ttt3r", 0.1)),
        frames=6_000, frames_per_step=48, learning_rate=3e-3, per_material=1, clips_per_batch=4, first_batches=4,
    ),
}  # fmt: skip
