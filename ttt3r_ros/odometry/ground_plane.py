# SPDX-License-Identifier: Apache-2.0
"""The plane of a floor in what a camera sees: the lowest one that is level and stands out from its surroundings.

A plane is a vector m with m p = -1 for its points p. Noise that is a share of the distance then has the same
size for all points, near and far, and does not tilt what is fitted by least squares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ttt3r_ros.types import BoolArray, Float32Array, Float64Array

_TRIALS = 1000
_PLANES = 250  # of them at most that are voted on
_VOTERS = 400  # points that vote on each
_TOLERANCE = 0.06  # of the height, which is noise as a share of the distance ...
_BEND = 0.01  # ... and of the distance, for surfaces that come out bent
_LEAST_SHARE = 0.05  # of all points that must lie on the floor
_LEAST_POINTS = 30
_DISTINCT = 2.0  # points on the floor to those as near again to it; of a wall it is one at most
_STOREYS = 3  # planes that are tried downwards
_LOWER = 1.2  # how much higher the camera must be over the next plane below
_PARALLEL_DEG = 10.0  # a floor beneath a table is parallel to it


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
    usable = np.isfinite(points).all(axis=1) & points.any(axis=1)
    rest: Float64Array = points[usable].astype(np.float64)
    least = max(_LEAST_POINTS, int(_LEAST_SHARE * len(rest)))
    found = None
    for _ in range(_STOREYS):  # a table may have more points than the floor beneath it
        m = _plane(rest, up / np.linalg.norm(up), max_tilt_deg, least)
        if m is None:
            break
        near = _off(rest, m[None])[0] <= 1
        height = 1.0 / float(np.linalg.norm(m))
        if found is not None and height < _LOWER * found.height:
            break
        found = Floor(m * height, height, int(np.count_nonzero(near)))
        up, max_tilt_deg = found.normal, _PARALLEL_DEG
        rest = rest[(rest @ m < -1) & (_off(rest, m[None])[0] > 3)]
    return found


def _plane(points: Float64Array, up: Float64Array, tilt_deg: float, least: int) -> Float64Array | None:
    """Return the plane (3,) of most points, in excess of those around it; None if there are too few."""
    if len(points) < least:
        return None
    rng = np.random.default_rng(0)
    planes = _trials(points[points @ up < 0], up, tilt_deg, rng)
    if not len(planes):
        return None
    voters = points[rng.integers(len(points), size=_VOTERS)]
    off = _off(voters, planes)
    votes = 2 * np.count_nonzero(off <= 1, axis=1) - np.count_nonzero(off <= 3, axis=1)
    m = _refined(points, planes[votes.argmax()])
    if m is None or not _level(m[None], up, tilt_deg)[0]:
        return None
    off = _off(points, m[None])[0]
    on, around = np.count_nonzero(off <= 1), np.count_nonzero((off > 1) & (off <= 3))
    return m if on >= max(least, _DISTINCT * around) else None


def _trials(
    points: Float64Array, up: Float64Array, tilt_deg: float, rng: np.random.Generator
) -> Float64Array:
    """Return the level ones (M, 3) among the planes through three points each, drawn at random."""
    if len(points) < 3:
        return np.empty((0, 3))
    a, b, c = points[rng.integers(len(points), size=(3, _TRIALS))]
    normals = np.cross(b - a, c - a)
    along = np.einsum("ij,ij->i", normals, a)
    apart = np.abs(along) > 1e-12
    planes: Float64Array = normals[apart] / -along[apart, None]
    return planes[_level(planes, up, tilt_deg)][:_PLANES]


def _level(planes: Float64Array, up: Float64Array, tilt_deg: float) -> BoolArray:
    """Tell which planes (M, 3) are below the origin and level to within a tilt [deg]."""
    least = float(np.cos(np.radians(tilt_deg)))
    level: BoolArray = planes @ up >= least * np.linalg.norm(planes, axis=1)
    return level


def _off(points: Float64Array, planes: Float64Array) -> Float64Array:
    """Return how far points (N,) are from planes (M,), over what noise explains, as (M, N)."""
    distances = np.linalg.norm(points, axis=1)
    bend = _BEND * np.linalg.norm(planes, axis=1)[:, None] * distances
    off: Float64Array = np.abs(planes @ points.T + 1.0) / (_TOLERANCE + bend)
    return off


def _refined(points: Float64Array, m: Float64Array) -> Float64Array | None:
    """Return the plane (3,) fitted to the points near another one; the less noise there is, the nearer."""
    reach = 1.0
    for _ in range(5):
        off = _off(points, m[None])[0]
        near = points[off <= reach]
        if len(near) < _LEAST_POINTS:
            return None
        m = np.linalg.lstsq(near.T @ near, -near.sum(axis=0), rcond=None)[0]
        reach = float(np.clip(2.2 * np.median(off[off <= reach]), 0.2, 1.0))  # 1.5 deviations
    return m
