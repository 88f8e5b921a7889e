# SPDX-License-Identifier: Apache-2.0
"""Which points a depth image proves to be gone: those it sees through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import inverse, transform

if TYPE_CHECKING:
    from ttt3r_ros.types import BoolArray, Float32Array, Float64Array, Intrinsics

_NOISE = np.float32(0.1)  # of a measured depth; nearer to it nothing is proven


def free_depth(depth: Float32Array, margin: float) -> Float32Array:
    """Return the depth (h, w) before which there is surely nothing; NaN where that is not known.

    Args:
        depth: measured along z (h, w) [m], NaN unknown.
        margin: least distance from what was measured [m].
    """
    # The nearest of a pixel and its neighbours, so that the edges of objects are not eaten.
    height, width = depth.shape
    padded = np.pad(depth, 1, mode="edge")
    rows = np.minimum(np.minimum(padded[:height], padded[1 : height + 1]), padded[2:])
    nearest = np.minimum(np.minimum(rows[:, :width], rows[:, 1 : width + 1]), rows[:, 2:])
    free: Float32Array = np.minimum(nearest - np.float32(margin), (1 - _NOISE) * nearest)
    return free


def seen_through(
    points_map: Float32Array, free: Float32Array, intrinsics: Intrinsics, T_map_camera: Float64Array
) -> BoolArray:
    """Tell which points (N, 3) lie in the space that an image (h, w) of `free_depth` proves to be empty."""
    x, y, z = np.ascontiguousarray(transform(inverse(T_map_camera), points_map).T)
    height, width = free.shape
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # points beside the lens
        column = np.rint(np.float32(intrinsics.fx) * x / z + np.float32(intrinsics.cx))
        row = np.rint(np.float32(intrinsics.fy) * y / z + np.float32(intrinsics.cy))
        pixel = row * width + column
    inside = (z > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    at = np.where(inside, pixel, 0).astype(np.intp)
    through: BoolArray = inside & (z < free.ravel()[at])  # never where it is NaN
    return through
