# SPDX-License-Identifier: Apache-2.0
"""What of a map is drawn on paper: no ceiling over the camera, and no stray point that makes all else small."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.types import Float32Array, Float64Array

_HEADROOM_M = 0.6  # over the camera
_LEAST_SHARE = 0.2  # of the points; a camera that looks up from the ground sees nothing else
_SMALLEST_M = 0.2


def below_ceiling(points: Float32Array, positions: Float64Array) -> NDArray[np.intp]:
    """Return the indices of points (N, 3) that do not hide a camera's way (M, 3) from above; all, if few are left."""
    everything = np.arange(len(points))
    if not len(positions):
        return everything
    below = everything[points[:, 2] < float(np.median(positions[:, 2])) + _HEADROOM_M]
    return below if len(below) > _LEAST_SHARE * len(points) else everything


def bulk_bounds(points: Float32Array, *ways: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return bounds (3,) of ways (M, 3) and of all but the most distant points (N, 3), with a margin."""
    bulk = np.percentile(points, [0.5, 99.5], axis=0) if len(points) else np.empty((0, 3))
    corners = np.concatenate((bulk, *ways))
    if not len(corners):
        return np.full(3, -1.0), np.full(3, 1.0)
    low, high = corners.min(axis=0), corners.max(axis=0)
    margin = 0.05 * max(float((high - low).max()), _SMALLEST_M)
    return low - margin, high + margin
