# SPDX-License-Identifier: Apache-2.0
"""Ground plane: the lowest level plane in a point cloud that is distinct from the points around it.

A plane is a vector m with m p = -1 for its points p. In this form noise proportional to the distance has the same size
for near and far points and does not tilt a least-squares fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ttt3r_ros.types import BoolArray, Float32Array, Float64Array

_TRIALS = 1000
_MAX_CANDIDATES = 250
_SCORING_POINTS = 400  # random points that score the candidates
_HEIGHT_TOLERANCE = 0.06  # error over the camera's height, for noise proportional to the distance
_BEND_TOLERANCE = 0.01  # error over the distance, for planes that the network predicts as bent
_MIN_INLIER_RATIO = 0.05  # of all points
_MIN_INLIERS = 30
_MIN_DISTINCTNESS = 2.0  # inliers over points within three tolerances; a wall has at most 1
_MAX_PLANES = 3  # one below another
_MIN_HEIGHT_RATIO = 1.2  # of the camera's heights over two planes
_MAX_TILT_BELOW_DEG = 10.0  # between two planes, such as a table and the floor below it
_FIT_ITERATIONS = 5


@dataclass(frozen=True)
class Floor:
    """A plane below the origin of the points' frame."""

    normal: Float64Array  # (3,) unit vector, upward
    height: float  # of the origin over the plane
    inliers: int


def fit_floor(points: Float32Array, up: Float64Array, max_tilt_deg: float = 30.0) -> Floor | None:
    """Fit the floor below a camera at the origin to points (N, 3); ``up`` (3,) is known to within a tilt [deg].

    Returns None if no plane has enough inliers. The random trials are seeded: equal points give equal floors.
    """
    usable = np.isfinite(points).all(axis=1) & points.any(axis=1)
    remaining: Float64Array = points[usable].astype(np.float64)
    min_inliers = max(_MIN_INLIERS, int(_MIN_INLIER_RATIO * len(remaining)))
    floor = None
    for _ in range(_MAX_PLANES):  # a table may have more points than the floor below it
        m = _fit_plane(remaining, up / np.linalg.norm(up), max_tilt_deg, min_inliers)
        if m is None:
            break
        errors = _normalized_errors(remaining, m[None])[0]
        height = 1.0 / float(np.linalg.norm(m))
        if floor is not None and height < _MIN_HEIGHT_RATIO * floor.height:
            break
        floor = Floor(m * height, height, int(np.count_nonzero(errors <= 1)))
        up, max_tilt_deg = floor.normal, _MAX_TILT_BELOW_DEG
        remaining = remaining[(remaining @ m < -1) & (errors > 3)]
    return floor


def _fit_plane(
    points: Float64Array, up: Float64Array, max_tilt_deg: float, min_inliers: int
) -> Float64Array | None:
    """Return the plane (3,) with the most inliers in excess of the points around it; None if there are too few."""
    if len(points) < min_inliers:
        return None
    rng = np.random.default_rng(0)
    planes = _sample_planes(points[points @ up < 0], up, max_tilt_deg, rng)
    if not len(planes):
        return None
    errors = _normalized_errors(points[rng.integers(len(points), size=_SCORING_POINTS)], planes)
    scores = 2 * np.count_nonzero(errors <= 1, axis=1) - np.count_nonzero(errors <= 3, axis=1)
    m = _refine_plane(points, planes[scores.argmax()])
    if m is None or not _is_level(m[None], up, max_tilt_deg)[0]:
        return None
    errors = _normalized_errors(points, m[None])[0]
    inliers = np.count_nonzero(errors <= 1)
    near = np.count_nonzero((errors > 1) & (errors <= 3))
    return m if inliers >= max(min_inliers, _MIN_DISTINCTNESS * near) else None


def _sample_planes(
    points: Float64Array, up: Float64Array, max_tilt_deg: float, rng: np.random.Generator
) -> Float64Array:
    """Return level planes (M, 3) through three random points each."""
    if len(points) < 3:
        return np.empty((0, 3))
    a, b, c = points[rng.integers(len(points), size=(3, _TRIALS))]
    normals = np.cross(b - a, c - a)
    distances = np.einsum("ij,ij->i", normals, a)
    is_determined = np.abs(distances) > 1e-12
    planes: Float64Array = normals[is_determined] / -distances[is_determined, None]
    return planes[_is_level(planes, up, max_tilt_deg)][:_MAX_CANDIDATES]


def _is_level(planes: Float64Array, up: Float64Array, max_tilt_deg: float) -> BoolArray:
    """Return which planes (M, 3) are below the origin and level to within a tilt [deg]."""
    min_cosine = float(np.cos(np.radians(max_tilt_deg)))
    is_level: BoolArray = planes @ up >= min_cosine * np.linalg.norm(planes, axis=1)
    return is_level


def _normalized_errors(points: Float64Array, planes: Float64Array) -> Float64Array:
    """Return the errors (M, N) of points (N, 3) to planes (M, 3), over the tolerance."""
    distances = np.linalg.norm(points, axis=1)
    bend = _BEND_TOLERANCE * np.linalg.norm(planes, axis=1)[:, None] * distances
    errors: Float64Array = np.abs(planes @ points.T + 1.0) / (_HEIGHT_TOLERANCE + bend)
    return errors


def _refine_plane(points: Float64Array, m: Float64Array) -> Float64Array | None:
    """Return the least-squares plane (3,) of the points near a plane; the band narrows if there is little noise."""
    band = 1.0
    for _ in range(_FIT_ITERATIONS):
        errors = _normalized_errors(points, m[None])[0]
        inliers = points[errors <= band]
        if len(inliers) < _MIN_INLIERS:
            return None
        m = np.linalg.lstsq(inliers.T @ inliers, -inliers.sum(axis=0), rcond=None)[0]
        # 2.2 medians are about 1.5 standard deviations.
        band = float(np.clip(2.2 * np.median(errors[errors <= band]), 0.2, 1.0))
    return m
