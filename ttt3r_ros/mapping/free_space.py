# SPDX-License-Identifier: Apache-2.0
"""Free space observed by a depth image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import se3_inverse, transform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.types import BoolArray, Float32Array, Float64Array, Intrinsics

_DEPTH_NOISE_RATIO = np.float32(0.1)  # points closer to the measured depth than this are not free


def free_space_mask(
    points_map: Float32Array,
    depth: Float32Array,
    margin: float,
    intrinsics: Intrinsics,
    T_map_camera: Float64Array,
    valid: BoolArray | None = None,
) -> BoolArray:
    """Return which points (N, 3) lie in space that a depth image observed as empty.

    Args:
        points_map: points [m].
        depth: depth along z (h, w) [m]; NaN, zero and negative values are ignored.
        margin: minimum distance in front of the measured depth [m].
        intrinsics: of the depth image.
        T_map_camera: pose of the camera (4, 4), optical frame.
        valid: pixels (h, w) whose depth is used; None: all.
    """
    T_camera_map = se3_inverse(T_map_camera)
    *axis, offset = T_camera_map[2].astype(np.float32)
    indices = np.flatnonzero(points_map @ np.array(axis) > -offset)  # in front of the camera
    x, y, z = transform(T_camera_map, points_map.take(indices, axis=0)).T
    height, width = depth.shape
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # points near the camera's plane
        column = np.rint(np.float32(intrinsics.fx) * (x / z) + np.float32(intrinsics.cx))
        row = np.rint(np.float32(intrinsics.fy) * (y / z) + np.float32(intrinsics.cy))
    visible = np.flatnonzero((z > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height))
    indices, z = indices[visible], z[visible]
    pixels = row[visible].astype(np.intp), column[visible].astype(np.intp)
    # The center pixel rejects most points, so that few need the pixels around it.
    candidates = _is_in_front(z, _masked_depth_at(depth, valid, *pixels), margin)
    indices, pixels, z = (
        indices[candidates],
        (pixels[0][candidates], pixels[1][candidates]),
        z[candidates],
    )
    mask = np.zeros(len(points_map), np.bool_)
    mask[indices] = _is_in_front(z, _min_depth_around(depth, valid, *pixels), margin)
    return mask


def _is_in_front(z: Float32Array, depth: Float32Array, margin: float) -> BoolArray:
    """Return which z lie in front of a measured depth by more than margin and noise; False where it is NaN."""
    in_front: BoolArray = z < np.minimum(depth - np.float32(margin), (1 - _DEPTH_NOISE_RATIO) * depth)
    return in_front


def _min_depth_around(
    depth: Float32Array, valid: BoolArray | None, row: NDArray[np.intp], column: NDArray[np.intp]
) -> Float32Array:
    """Return the minimum depth in the 3x3 window of each pixel, so that object borders are not carved."""
    height, width = depth.shape
    nearest = _masked_depth_at(depth, valid, row, column)
    for row_offset in (-1, 0, 1):
        rows = np.clip(row + row_offset, 0, height - 1)
        for column_offset in (-1, 0, 1):
            columns = np.clip(column + column_offset, 0, width - 1)
            nearest = np.minimum(nearest, _masked_depth_at(depth, valid, rows, columns))
    return nearest


def _masked_depth_at(
    depth: Float32Array, valid: BoolArray | None, row: NDArray[np.intp], column: NDArray[np.intp]
) -> Float32Array:
    """Return the depth at pixels, NaN where it is not valid; cheaper than masking the whole image."""
    values: Float32Array = depth[row, column]
    return values if valid is None else np.where(valid[row, column], values, np.float32(np.nan))
