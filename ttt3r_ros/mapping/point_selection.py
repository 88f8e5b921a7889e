# SPDX-License-Identifier: Apache-2.0
"""Selection of the points of an image that a map integrates."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd, isqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ttt3r_ros.types import Float32Array, UInt8Array

_MAX_FRAME_POINTS = 1 << 14  # of a larger image each frame integrates another subset of the pixels


@dataclass(frozen=True)
class SelectedPoints:
    """Valid points of the selected pixels of an image."""

    points_camera: Float32Array  # (N, 3)
    rgb: UInt8Array  # (N, 3)
    confidence: Float32Array  # (N,)
    stride: int  # number of pixels that each selected pixel represents
    fraction: float  # of the selected pixels that are valid


def select_points(
    points_camera: Float32Array,
    rgb: UInt8Array,
    confidence: Float32Array,
    frame_count: int,
    min_confidence: float,
    max_range: float,
) -> SelectedPoints:
    """Return points with enough confidence and a depth of at most ``max_range`` [m].

    Args:
        points_camera: points (h, w, 3) in the optical frame [m], NaN where invalid.
        rgb: colors (h, w, 3).
        confidence: confidence (h, w).
        frame_count: selects the subset of the pixels, see `select_pixels`.
        min_confidence: minimum confidence.
        max_range: maximum depth along z [m].
    """
    pixels, stride = select_pixels(confidence.shape, frame_count)
    # Slices first: they are cheap for any memory layout of the arrays.
    points, confidence = points_camera[pixels].reshape(-1, 3), confidence[pixels].ravel()
    depth = points[:, 2]  # comparisons with NaN are false
    indices = np.flatnonzero((confidence >= min_confidence) & (depth > 0) & (depth <= max_range))
    return SelectedPoints(
        points.take(indices, axis=0),
        rgb[pixels].reshape(-1, 3).take(indices, axis=0),
        confidence.take(indices),
        stride,
        len(indices) / max(1, len(points)),
    )


def select_pixels(shape: tuple[int, ...], frame_count: int) -> tuple[tuple[slice, slice], int]:
    """Return slices that select pixels of an image (height, width), and the ratio of all to selected pixels.

    They select all pixels of an image of up to 16384, and of a larger one a lattice that changes with the frame count.
    """
    height, width = shape
    stride = -(-height * width // _MAX_FRAME_POINTS)
    row_stride = max(1, min(height, isqrt(stride)))
    column_stride = -(-stride // row_stride)
    period = row_stride * column_stride
    # Consecutive frames use distant lattices: a step coprime to the period, near the golden section, visits all.
    step = next(step for step in range(round(0.38 * period) or 1, period + 1) if gcd(step, period) == 1)
    row, column = divmod(frame_count * step % period, column_stride)
    return (slice(row, None, row_stride), slice(column, None, column_stride)), period
