# SPDX-License-Identifier: Apache-2.0
"""A few evenly spaced frames of a run, for its report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ttt3r_ros.types import Float32Array, UInt8Array, Update

_MAX_KEPT = 24  # during the run
MAX_SHOWN = 4


@dataclass(frozen=True)
class PreviewFrame:
    """A frame at the network's resolution."""

    index: int
    rgb: UInt8Array  # (h, w, 3)
    depth_m: Float32Array  # (h, w), NaN where unknown


class PreviewFrames:
    """Keeps every frame at first, then every second, every fourth and so on."""

    def __init__(self) -> None:
        self._kept: list[PreviewFrame] = []
        self._stride = 1

    def add(self, index: int, update: Update) -> None:
        """Keep a frame if it is due."""
        if index % self._stride:
            return
        depth_m = update.prediction.points_camera[..., 2].copy()
        depth_m[depth_m <= 0] = np.nan
        self._kept.append(PreviewFrame(index, update.prediction.rgb, depth_m))
        if len(self._kept) > _MAX_KEPT:
            self._stride *= 2
            self._kept = [frame for frame in self._kept if frame.index % self._stride == 0]

    def select(self) -> list[PreviewFrame]:
        """Return at most `MAX_SHOWN` frames of the newest size, evenly spaced over the run."""
        same_size = [
            frame for frame in self._kept if frame.depth_m.shape == self._kept[-1].depth_m.shape
        ]
        if len(same_size) <= MAX_SHOWN:
            return same_size
        return [same_size[round(position)] for position in np.linspace(0, len(same_size) - 1, MAX_SHOWN)]
