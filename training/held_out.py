# SPDX-License-Identifier: Apache-2.0
"""Held-out sequences of the generator: seeds and surface textures not used in training."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from training.sequences import Recipe, make_clips
from training.textures import TextureBank
from ttt3r_ros.types import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ttt3r_ros.types import Float32Array, Float64Array

HELD_OUT_BANK, HELD_OUT_SEED = 1_000_001, 2_000_003
RATE_HZ = 10.0
WIDTH, HEIGHT = 160, 120
_FIRST_STAMP_NS = 1_000_000_000


@lru_cache(maxsize=1)
def _bank() -> TextureBank:
    return TextureBank.make(HELD_OUT_BANK, per_material=12)


class HeldOutSequence:
    """A walk of ``frames`` frames at 10 Hz with exact poses and depth."""

    def __init__(self, seed: int, frames: int, style: str = "handheld") -> None:
        self.name = f"{style}:{seed}:{frames}"
        self.skipped = 0
        recipe = Recipe(
            width=WIDTH, height=HEIGHT, frames=frames, styles=((style, 1.0),),
            interval_s=(1 / RATE_HZ, 1 / RATE_HZ),
        )  # fmt: skip
        clips = make_clips((HELD_OUT_SEED, seed), 1, recipe, _bank())
        self._rgb = clips.rgb[0].permute(0, 2, 3, 1).numpy()
        self._depth = clips.depth[0].float().numpy()
        self._poses = clips.T_world_camera[0].double().numpy()

    def __len__(self) -> int:
        return len(self._rgb)

    def frames(self) -> Iterator[Frame]:
        """Yield the frames in order; without their intrinsics, as from an uncalibrated camera."""
        for index, rgb in enumerate(self._rgb):
            yield Frame(_stamp_ns(index), "camera_optical_frame", np.ascontiguousarray(rgb))

    def ground_truth(self) -> list[tuple[int, Float64Array]]:
        """Return stamp and T_world_camera of every frame."""
        return [(_stamp_ns(index), pose) for index, pose in enumerate(self._poses)]

    def true_depth_m(self, stamp_ns: int) -> Float32Array | None:
        """Return the depth (H, W) of the frame of a stamp, to 0.05 %."""
        index = round((stamp_ns - _FIRST_STAMP_NS) * RATE_HZ / 1e9)
        return self._depth[index] if 0 <= index < len(self) else None


def _stamp_ns(index: int) -> int:
    return _FIRST_STAMP_NS + round(index * 1e9 / RATE_HZ)
