# SPDX-License-Identifier: Apache-2.0
"""Points and bounds of a map in figures: no ceiling above the camera, no outliers in the bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.types import Float32Array, Float64Array

_HEADROOM_M = 0.6  # above the camera
# Of the points; a camera that points up from the ground observes little below itself.
_MIN_FRACTION = 0.2
_MIN_EXTENT_M = 0.2


def select_top_view(points: Float32Array, positions: Float64Array, max_points: int) -> NDArray[np.intp]:
    """Return indices of points (N, 3) for a view from above, from low to high, about ``max_points`` of them.

    Points above the camera positions (M, 3) are left out, unless few would remain.
    """
    indices = _indices_below_ceiling(points, positions)
    indices = indices[np.argsort(points[indices, 2], kind="stable")]
    return indices[:: max(1, len(indices) // max_points)]


def robust_bounds(points: Float32Array, *paths: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return bounds (3,) of paths (M, 3) and of points (N, 3) without the most distant ones, with a margin."""
    bulk = np.percentile(points, [0.5, 99.5], axis=0) if len(points) else np.empty((0, 3))
    corners = np.concatenate((bulk, *paths))
    if not len(corners):
        return np.full(3, -1.0), np.full(3, 1.0)
    low, high = corners.min(axis=0), corners.max(axis=0)
    margin = 0.05 * max(float((high - low).max()), _MIN_EXTENT_M)
    return low - margin, high + margin


def _indices_below_ceiling(points: Float32Array, positions: Float64Array) -> NDArray[np.intp]:
    indices = np.arange(len(points))
    if not len(positions):
        return indices
    below = indices[points[:, 2] < float(np.median(positions[:, 2])) + _HEADROOM_M]
    return below if len(below) > _MIN_FRACTION * len(points) else indices
