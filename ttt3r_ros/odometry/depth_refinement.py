# SPDX-License-Identifier: Apache-2.0
"""The depths of a rough network, bent towards the landmarks seen among them, without steps between its patches.

Many views tell how far a landmark is, the network's depth is one glance. What landmarks say of their places, as the
logarithm of a factor, is spread over the image by normalized convolution (Knutsson and Westin, 1993): their median
first, then what is left of it over wide surroundings, then over narrow ones. Where no landmark is near, the coarser
answer stands; where too few are sure, the network's depth. Points lie where the camera sees them, as landmarks do: a
rough network is less sure of directions than a calibration, and even than its own mean.
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

MIN_LANDMARKS = 12  # landmarks that are sure of their depth
MAX_RELATIVE_STD = (
    0.15  # relative standard deviation of a depth from which on it is the network's own word
)
NOISE_FLOOR = 0.05  # relative error of a landmark that its own deviation does not tell
GRID_CELLS = 28  # of the grid that the factor is made on, along the longer side; so few that BLAS needs no threads
KERNEL_STDS = (0.18, 0.07)  # standard deviations of a landmark's reach [longer sides of the image]
PRIOR = 0.3  # sure landmarks that the coarser answer counts as
MIN_WEIGHT = 3.0  # landmarks' weights together, below which the network's own unit counts, too
OUTLIER = 0.25  # logarithm of a factor over the coarser answer; from there on a landmark counts less
MIN_DEPTH, MAX_DEPTH = 1e-6, 1e6  # depths, in the network's unit
PATCH_RADIUS = 8  # pixels: half a patch of the network
MIN_CONTRAST = 0.03  # of the image, below which a step in depth is the network's and no edge


def refine_points(
    points: Float32Array,
    image: UInt8Array,
    landmarks: Landmarks,
    T_world_camera: Float64Array,
    intrinsics: Intrinsics,
) -> Float32Array:
    """Return the points (h, w, 3) that a camera sees, with better depths; ``image`` (h, w) is gray."""
    factor = compute_depth_factor(points[..., 2], image, landmarks, T_world_camera)
    if any(intrinsics.distortion):  # its rays are bent: the network's own come nearest
        return points * factor[..., None]
    known = is_valid_depth(points[..., 2])
    depth = np.where(known, points[..., 2] * factor, np.float32(1.0))
    return np.where(known[..., None], unproject(depth, intrinsics), points)


def is_valid_depth(depth: NDArray[FloatT]) -> BoolArray:
    """Tell which depths are some: before the camera, in numbers that can be counted with."""
    found: BoolArray = (depth > MIN_DEPTH) & (depth < MAX_DEPTH)
    return found


def compute_depth_factor(
    depth: Float32Array, image: UInt8Array, landmarks: Landmarks, T_world_camera: Float64Array
) -> Float32Array:
    """Return a factor (h, w) that makes depths (h, w) better, 1 where there is none; ``image`` (h, w) is gray."""
    known = is_valid_depth(depth)
    before = fill_unknown(np.log(np.where(known, depth, np.float32(1.0))), known, PATCH_RADIUS)
    log_correction = log_scale_correction(depth, landmarks, T_world_camera)
    after = guided_filter(
        before if log_correction is None else before + log_correction, image, PATCH_RADIUS, MIN_CONTRAST
    )
    factor: Float32Array = np.where(known, np.exp(after - before), np.float32(1.0))
    return factor


def log_scale_correction(
    depth: Float32Array, landmarks: Landmarks, T_world_camera: Float64Array
) -> Float32Array | None:
    """Return what makes depths (h, w) agree with the landmarks, the logarithm of a factor; None: too few tell."""
    height, width = depth.shape
    columns, rows = np.rint(landmarks.pixels).astype(int).T
    seen = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    predicted = depth[rows.clip(0, height - 1), columns.clip(0, width - 1)].astype(np.float64)
    true = landmarks.depth_in(T_world_camera)
    deviation = np.sqrt(np.maximum(landmarks.variance, 0.0)) / landmarks.inverse_depth
    sure = seen & (deviation < MAX_RELATIVE_STD) & (true > 0.0) & is_valid_depth(predicted)
    if sure.sum() < MIN_LANDMARKS:
        return None
    cell = max(height, width) / GRID_CELLS
    shape = max(2, round(height / cell)), max(2, round(width / cell))
    fading = 1.0 - (deviation[sure] / MAX_RELATIVE_STD) ** 2
    logarithm = _spread(
        (np.column_stack((rows, columns))[sure] + 0.5) / depth.shape * shape,
        np.log(true[sure] / predicted[sure]),
        fading * NOISE_FLOOR**2 / (deviation[sure] ** 2 + NOISE_FLOOR**2),
        shape,
    )
    return _upsample_rows(_upsample_rows(logarithm.astype(np.float32), height).T, width).T


def _spread(
    places: Float64Array, values: Float64Array, weights: Float64Array, shape: tuple[int, int]
) -> Float64Array:
    """Return values (N,) at places (N, 2) of a grid, each worth its weight (N,), spread over all of it."""
    field = np.full(shape, min(1.0, weights.sum() / MIN_WEIGHT) * _weighted_median(values, weights))
    own_cell = tuple(places.astype(int).T)
    for reach in KERNEL_STDS:
        left = values - field[own_cell]
        trusted = weights / (1.0 + (left / OUTLIER) ** 2) ** 2
        down, across = (
            _gaussian_weights(count, places[:, axis], reach * GRID_CELLS)
            for axis, count in enumerate(shape)
        )
        field += (down * (trusted * left)) @ across.T / ((down * trusted) @ across.T + PRIOR)
    return field


def _gaussian_weights(count: int, places: Float64Array, deviation: float) -> Float64Array:
    """Return how much of a value at each place (N,) of an axis is left at each of its cells (count, N)."""
    distance = np.arange(count)[:, None] + 0.5 - places
    share: Float64Array = np.exp(-0.5 * (distance / deviation) ** 2)
    return share


def _weighted_median(values: Float64Array, weights: Float64Array) -> float:
    order = np.argsort(values)
    share = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(share, share[-1] / 2)])


def _upsample_rows(rows: Float32Array, count: int) -> Float32Array:
    """Return ``count`` rows that interpolate linearly between the centers of others."""
    place = ((np.arange(count) + 0.5) * len(rows) / count - 0.5).clip(0.0, len(rows) - 1.0)
    above = place.astype(np.int64).clip(0, len(rows) - 2)
    share = (place - above).astype(np.float32)[:, None]
    between: Float32Array = rows[above] * (1.0 - share) + rows[above + 1] * share
    return between
