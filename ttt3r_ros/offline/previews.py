# SPDX-License-Identifier: Apache-2.0
"""A few frames of a run of any length, evenly spread, kept for its report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ttt3r_ros.types import Float32Array, UInt8Array, Update

_KEPT = 24  # at most, while the run goes
SHOWN = 4


@dataclass(frozen=True)
class Sample:
    """A frame at the network's resolution."""

    index: int
    rgb: UInt8Array  # (h, w, 3)
    depth_m: Float32Array  # (h, w), NaN where unknown


class Samples:
    """Keeps every frame, then every second, then every fourth, and so on."""

    def __init__(self) -> None:
        self._kept: list[Sample] = []
        self._every = 1

    def add(self, index: int, update: Update) -> None:
        """Take a frame, if it is its turn."""
        if index % self._every:
            return
        depth_m = update.prediction.points_camera[..., 2].copy()
        depth_m[depth_m <= 0] = np.nan
        self._kept.append(Sample(index, update.prediction.rgb, depth_m))
        if len(self._kept) > _KEPT:
            self._every *= 2
            self._kept = [sample for sample in self._kept if sample.index % self._every == 0]

    def chosen(self) -> list[Sample]:
        """Return a few of one size, spread over the run."""
        alike = [sample for sample in self._kept if sample.depth_m.shape == self._kept[-1].depth_m.shape]
        if len(alike) <= SHOWN:
            return alike
        return [alike[round(place)] for place in np.linspace(0, len(alike) - 1, SHOWN)]
