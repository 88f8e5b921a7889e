# SPDX-License-Identifier: Apache-2.0
"""Depth refinement: aligns the network's depth with the landmarks and smooths the borders of its patches.

The depth of a landmark is measured in many images. The logarithms of the factors at the landmarks are interpolated over
the image by normalized convolution (Knutsson and Westin, 1993): first their median, then the residuals with a wide and
with a narrow kernel. Without landmarks nearby the coarser level remains, with too few reliable ones the prediction.
Points are placed on the rays of the calibrated camera, because the network's rays are less accurate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import unproject
from ttt3r_ros.odometry.guided_filter import fill_unknown, guided_filter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.odometry.landmarks import Landmarks
    from ttt3r_ros.types import BoolArray, Float32Array, Float64Array, FloatT, Intrinsics, UInt8Array

MIN_LANDMARKS = 12  # reliable ones
MAX_RELATIVE_STD = 0.15  # of a reliable depth; above it the depth is mostly the network's prediction
NOISE_FLOOR = 0.05  # relative error of a landmark that its variance does not contain
GRID_CELLS = 28  # along the longer side of the image; few, so that BLAS uses one thread
KERNEL_STDS = (0.18, 0.07)  # standard deviations of the kernels over the longer side of the image
PRIOR = 0.3  # weight of the coarser level, in reliable landmarks
MIN_WEIGHT = 3.0  # total weight of the landmarks below which their median counts only in part
OUTLIER = 0.25  # residual of the log factor from which on a landmark has less weight
MIN_DEPTH, MAX_DEPTH = 1e-6, 1e6  # in the network's unit
PATCH_RADIUS = 8  # px; half a patch of the network
MIN_CONTRAST = 0.03  # of the image at a step of the depth; with less the step is a border of patches


def refine_points(
    points: Float32Array,
    image: UInt8Array,
    landmarks: Landmarks,
    T_world_camera: Float64Array,
    intrinsics: Intrinsics,
) -> Float32Array:
    """Return the points (h, w, 3) of a camera with refined depths; ``image`` (h, w) is gray."""
    factor = compute_depth_factor(points[..., 2], image, landmarks, T_world_camera)
    if any(intrinsics.distortion):  # `unproject` has no distortion; the network's rays are closer
        return points * factor[..., None]
    known = is_valid_depth(points[..., 2])
    depth = np.where(known, points[..., 2] * factor, np.float32(1.0))
    return np.where(known[..., None], unproject(depth, intrinsics), points)


def is_valid_depth(depth: NDArray[FloatT]) -> BoolArray:
    """Return which depths are in front of the camera and within numeric bounds."""
    valid: BoolArray = (depth > MIN_DEPTH) & (depth < MAX_DEPTH)
    return valid


def compute_depth_factor(
    depth: Float32Array, image: UInt8Array, landmarks: Landmarks, T_world_camera: Float64Array
) -> Float32Array:
    """Return the factors (h, w) that refine depths (h, w), 1 for invalid ones; ``image`` (h, w) is gray."""
    known = is_valid_depth(depth)
    log_depth = fill_unknown(np.log(np.where(known, depth, np.float32(1.0))), known, PATCH_RADIUS)
    log_correction = log_scale_correction(depth, landmarks, T_world_camera)
    smoothed = guided_filter(
        log_depth if log_correction is None else log_depth + log_correction,
        image,
        PATCH_RADIUS,
        MIN_CONTRAST,
    )
    factor: Float32Array = np.where(known, np.exp(smoothed - log_depth), np.float32(1.0))
    return factor


def log_scale_correction(
    depth: Float32Array, landmarks: Landmarks, T_world_camera: Float64Array
) -> Float32Array | None:
    """Return log factors (h, w) that align depths (h, w) with the landmarks; None with too few reliable ones."""
    height, width = depth.shape
    columns, rows = np.rint(landmarks.pixels).astype(int).T
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    predicted = depth[rows.clip(0, height - 1), columns.clip(0, width - 1)].astype(np.float64)
    measured = landmarks.depth_in(T_world_camera)
    relative_std = np.sqrt(np.maximum(landmarks.variance, 0.0)) / landmarks.inverse_depth
    reliable = inside & (relative_std < MAX_RELATIVE_STD) & (measured > 0.0) & is_valid_depth(predicted)
    if reliable.sum() < MIN_LANDMARKS:
        return None
    cell = max(height, width) / GRID_CELLS
    shape = max(2, round(height / cell)), max(2, round(width / cell))
    relative_std = relative_std[reliable]
    taper = 1.0 - (relative_std / MAX_RELATIVE_STD) ** 2
    grid = _interpolate_to_grid(
        (np.column_stack((rows, columns))[reliable] + 0.5) / depth.shape * shape,
        np.log(measured[reliable] / predicted[reliable]),
        taper * NOISE_FLOOR**2 / (relative_std**2 + NOISE_FLOOR**2),
        shape,
    )
    return _upsample_rows(_upsample_rows(grid.astype(np.float32), height).T, width).T


def _interpolate_to_grid(
    positions: Float64Array, values: Float64Array, weights: Float64Array, shape: tuple[int, int]
) -> Float64Array:
    """Return a grid of a shape, interpolated from values (N,) with weights (N,) at positions (N, 2) in cells."""
    grid = np.full(shape, min(1.0, weights.sum() / MIN_WEIGHT) * _weighted_median(values, weights))
    own_cell = tuple(positions.astype(int).T)
    for kernel_std in KERNEL_STDS:
        residuals = values - grid[own_cell]
        robust = weights / (1.0 + (residuals / OUTLIER) ** 2) ** 2
        down, across = (
            _gaussian_weights(count, positions[:, axis], kernel_std * GRID_CELLS)
            for axis, count in enumerate(shape)
        )
        grid += (down * (robust * residuals)) @ across.T / ((down * robust) @ across.T + PRIOR)
    return grid


def _gaussian_weights(count: int, positions: Float64Array, std: float) -> Float64Array:
    """Return the kernel weights (count, N) of positions (N,) at the centers of the cells of one axis."""
    distance = np.arange(count)[:, None] + 0.5 - positions
    weights: Float64Array = np.exp(-0.5 * (distance / std) ** 2)
    return weights


def _weighted_median(values: Float64Array, weights: Float64Array) -> float:
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulative, cumulative[-1] / 2)])


def _upsample_rows(rows: Float32Array, count: int) -> Float32Array:
    """Return ``count`` rows, interpolated linearly between the centers of the given ones."""
    position = ((np.arange(count) + 0.5) * len(rows) / count - 0.5).clip(0.0, len(rows) - 1.0)
    above = position.astype(np.int64).clip(0, len(rows) - 2)
    fraction = (position - above).astype(np.float32)[:, None]
    upsampled: Float32Array = rows[above] * (1.0 - fraction) + rows[above + 1] * fraction
    return upsampled
