# SPDX-License-Identifier: Apache-2.0
"""Alignment of trajectories that do not determine all of it: straight ones and those that stand still.

The least-squares alignment of Umeyama needs positions that span a plane. Along a straight line the rotation about the
line is undetermined; without motion the whole rotation and the scale are. The position errors after alignment do not
depend on an undetermined rotation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import so3_exp

if TYPE_CHECKING:
    from ttt3r_ros.types import Float64Array

LINE = "rotation about the line of motion"
POINT = "rotation and scale"
_EPS = float(np.finfo(np.float64).eps)
_ROUNDING = 16 * _EPS  # relative error of positions that went through a transform


@dataclass(frozen=True)
class Alignment:
    """Transform of positions: truth = scale * rotation @ estimate + translation."""

    rotation: Float64Array  # (3, 3); with the smallest angle where it is undetermined
    scale: float  # NaN: undetermined
    undetermined: str  # `LINE` or `POINT`


def align_degenerate(estimate: Float64Array, truth: Float64Array) -> Alignment | None:
    """Return the alignment of positions (N, 3) that span no plane; None if they determine all of it."""
    x, y = estimate - estimate.mean(axis=0), truth - truth.mean(axis=0)
    covariance = y.T @ x / len(x)
    u, d, vt = np.linalg.svd(covariance)
    rank = int(np.count_nonzero(d > max(_EPS, _covariance_noise(estimate, truth, x, y))))
    if rank >= 2:
        return None
    if rank == 0:
        return Alignment(np.eye(3), float("nan"), POINT)
    # With the line of motion aligned, the errors across it are the same for every rotation about it.
    return Alignment(
        _smallest_rotation(vt[0], u[:, 0]), float(d[0] / np.mean(np.sum(x**2, axis=1))), LINE
    )


def _covariance_noise(
    estimate: Float64Array, truth: Float64Array, x: Float64Array, y: Float64Array
) -> float:
    """Return the size of covariances that come from the rounding of positions."""
    noise_x, noise_y = (_ROUNDING * float(np.abs(positions).max()) for positions in (estimate, truth))
    rms_x, rms_y = (float(np.sqrt(np.mean(np.sum(centered**2, axis=1)))) for centered in (x, y))
    return rms_x * noise_y + rms_y * noise_x


def _smallest_rotation(a: Float64Array, b: Float64Array) -> Float64Array:
    """Return the rotation (3, 3) with the smallest angle that turns the unit vector a into b."""
    axis = np.cross(a, b)
    sine, cosine = float(np.linalg.norm(axis)), float(a @ b)
    if sine < 1e-12:
        if cosine > 0:
            return np.eye(3)
        axis = np.cross(a, np.eye(3)[int(np.argmin(np.abs(a)))])
        sine = float(np.linalg.norm(axis))
        return so3_exp(np.pi * axis / sine)
    return so3_exp(float(np.arctan2(sine, cosine)) * axis / sine)
