# SPDX-License-Identifier: Apache-2.0
"""The plane of a floor in what a camera sees: the lowest one that is level and well supported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ttt3r_ros.types import BoolArray, Float32Array, Float64Array

_TRIALS = 120
_SAMPLE = 700  # points that vote in a trial
_NOISE = 0.03  # of the distance from the camera
_LEAST_SHARE = 0.05  # of all points that must lie on the floor
_LEAST_POINTS = 30
_STOREYS = 3  # planes that are tried from the best supported downwards


@dataclass(frozen=True)
class Floor:
    """A plane below the origin of the points' frame."""

    normal: Float64Array  # (3,) unit, upwards
    height: float  # of the origin over the plane
    inliers: int


def fit_floor(points: Float32Array, up: Float64Array, max_tilt_deg: float = 30.0) -> Floor | None:
    """Fit the floor under a camera at the origin to points (N, 3); ``up`` (3,) is known to within a tilt [deg].

    Trials draw three points each (seeded: the same points give the same floor). None where no plane is supported.
    """
    finite: Float64Array = points[np.isfinite(points).all(axis=1)].astype(np.float64)
    if len(finite) < _LEAST_POINTS:
        return None
    up, least_cosine = up / np.linalg.norm(up), float(np.cos(np.radians(max_tilt_deg)))
    least = max(_LEAST_POINTS, int(_LEAST_SHARE * len(finite)))
    floor, rest = None, finite
    for _ in range(_STOREYS):  # a table may have more points than the floor beneath it
        found = _best_plane(rest, up, least_cosine, least)
        if found is None:
            break
        floor = found
        below = finite @ floor.normal + floor.height < -2 * _NOISE * np.linalg.norm(finite, axis=1)
        rest = finite[below]
        if len(rest) < least:
            break
    return floor


def _best_plane(points: Float64Array, up: Float64Array, least_cosine: float, least: int) -> Floor | None:
    rng = np.random.default_rng(0)
    voters = points[rng.choice(len(points), min(_SAMPLE, len(points)), replace=False)]
    normals, heights = _candidates(voters, up, least_cosine, rng)
    if not len(heights):
        return None
    votes = _near(voters, normals, heights).sum(axis=1)
    best = int(votes.argmax())
    floor = _refined(points, normals[best], float(heights[best]))
    if floor is None or floor.inliers < least or floor.normal @ up < least_cosine:
        return None
    return floor


def _candidates(
    points: Float64Array, up: Float64Array, least_cosine: float, rng: np.random.Generator
) -> tuple[Float64Array, Float64Array]:
    a, b, c = points[rng.integers(len(points), size=(3, _TRIALS * 4))]
    normals = np.cross(b - a, c - a)
    lengths = np.linalg.norm(normals, axis=1)
    normals = normals[lengths > 1e-9] / lengths[lengths > 1e-9, None]
    a = a[lengths > 1e-9]
    normals *= np.sign(normals @ up)[:, None]
    heights = -np.einsum("ij,ij->i", normals, a)
    level = (normals @ up >= least_cosine) & (heights > 0.0)
    return normals[level][:_TRIALS], heights[level][:_TRIALS]


def _near(points: Float64Array, normals: Float64Array, heights: Float64Array) -> BoolArray:
    """Tell which points (N,) lie on which planes (M,), as (M, N); noise grows with distance."""
    off = np.abs(normals @ points.T + heights[:, None])
    near: BoolArray = off <= _NOISE * np.linalg.norm(points, axis=1)
    return near


def _refined(points: Float64Array, normal: Float64Array, height: float) -> Floor | None:
    for _ in range(3):
        near = _near(points, normal[None], np.array([height]))[0]
        if np.count_nonzero(near) < _LEAST_POINTS:
            return None
        weights = 1.0 / np.linalg.norm(points[near], axis=1) ** 2
        centre = weights @ points[near] / weights.sum()
        spread = (points[near] - centre) * np.sqrt(weights)[:, None]
        axis = np.linalg.eigh(spread.T @ spread)[1][:, 0]
        normal = axis if axis @ normal > 0 else -axis
        height = float(-normal @ centre)
    return Floor(normal, height, int(np.count_nonzero(near))) if height > 0.0 else None
