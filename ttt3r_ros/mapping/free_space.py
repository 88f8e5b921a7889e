# SPDX-License-Identifier: Apache-2.0
"""Which points a depth image proves to be gone: those it sees through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import inverse, transform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.types import BoolArray, Float32Array, Float64Array, Intrinsics

_NOISE = np.float32(0.1)  # of a measured depth; nearer to it nothing is proven


def free_space_mask(
    points_map: Float32Array,
    depth: Float32Array,
    margin: float,
    intrinsics: Intrinsics,
    T_map_camera: Float64Array,
    sure: BoolArray | None = None,
) -> BoolArray:
    """Tell which points (N, 3) lie in space that a depth image proves to be empty.

    Args:
        points_map: the points [m].
        depth: measured along z (h, w) [m]; what is NaN, zero or negative is not known.
        margin: least distance from what was measured [m].
        intrinsics: of the depth image.
        T_map_camera: the camera (4, 4), optical frame.
        sure: where (h, w) the depth is to be believed; None: everywhere.
    """
    T_camera_map = inverse(T_map_camera)
    *axis, offset = T_camera_map[2].astype(np.float32)
    which = np.flatnonzero(points_map @ np.array(axis) > -offset)  # the others are behind the camera
    x, y, z = transform(T_camera_map, points_map.take(which, axis=0)).T
    height, width = depth.shape
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # points beside the lens
        column = np.rint(np.float32(intrinsics.fx) * (x / z) + np.float32(intrinsics.cx))
        row = np.rint(np.float32(intrinsics.fy) * (y / z) + np.float32(intrinsics.cy))
    inside = np.flatnonzero((z > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height))
    which, z = which[inside], z[inside]
    at = row[inside].astype(np.intp), column[inside].astype(np.intp)
    # Few points pass the test with their own pixel; only these are worth a look at the pixels around it.
    before = _is_free(z, _believed(depth, sure, *at), margin)
    which, at, z = which[before], (at[0][before], at[1][before]), z[before]
    through = np.zeros(len(points_map), np.bool_)
    through[which] = _is_free(z, _nearest_around(depth, sure, *at), margin)
    return through


def _is_free(z: Float32Array, depth: Float32Array, margin: float) -> BoolArray:
    """Tell which z are surely before a measured depth; never where it is NaN."""
    free: BoolArray = z < np.minimum(depth - np.float32(margin), (1 - _NOISE) * depth)
    return free


def _nearest_around(
    depth: Float32Array, sure: BoolArray | None, row: NDArray[np.intp], column: NDArray[np.intp]
) -> Float32Array:
    """Return the least depth of pixels and their neighbors, so that the edges of objects are not eaten."""
    height, width = depth.shape
    nearest = _believed(depth, sure, row, column)
    for down in (-1, 0, 1):
        beside = np.clip(row + down, 0, height - 1)
        for right in (-1, 0, 1):
            around = _believed(depth, sure, beside, np.clip(column + right, 0, width - 1))
            nearest = np.minimum(nearest, around)
    return nearest


def _believed(
    depth: Float32Array, sure: BoolArray | None, row: NDArray[np.intp], column: NDArray[np.intp]
) -> Float32Array:
    """Return the depth of some pixels, NaN where it is not sure; much less work than to mask the whole image."""
    found: Float32Array = depth[row, column]
    return found if sure is None else np.where(sure[row, column], found, np.float32(np.nan))
