# SPDX-License-Identifier: Apache-2.0
"""Quaternions as they are sent: one rotation, one quaternion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ttt3r_ros.types import Float64Array

Quaternion = tuple[float, float, float, float]  # x, y, z, w

ROUNDING = 1e-9  # smaller components are rounding noise, which must not decide the sign


def quaternion_from_rotation(matrix: Float64Array) -> Quaternion:
    """Return the unit quaternion of a rotation (3, 3) or transform (4, 4), signed as `canonical_quaternion` does.

    Raises:
        ValueError: it is no rotation.
    """
    return canonical_quaternion(Rotation.from_matrix(require_rotation(matrix)).as_quat())


def rotation_from_quaternion(quat_xyzw: Sequence[float]) -> Float64Array:
    """Return the rotation (3, 3) of a quaternion of any length but zero; raise ValueError on zero."""
    return np.asarray(Rotation.from_quat(normalize_quaternion(quat_xyzw)).as_matrix(), dtype=np.float64)


def normalize_quaternion(quat_xyzw: Sequence[float]) -> Float64Array:
    """Return a quaternion (4,) at the length of one; raise ValueError where it has none."""
    quaternion: Float64Array = np.asarray(quat_xyzw, dtype=np.float64)
    length = float(np.linalg.norm(quaternion))
    if not np.isfinite(length) or length < ROUNDING:
        msg = f"expected a quaternion of non-zero length, got {quaternion.tolist()}"
        raise ValueError(msg)
    return quaternion / length


def require_rotation(matrix: Float64Array) -> Float64Array:
    """Return the rotation (3, 3) of a rotation or transform; raise ValueError on what is none."""
    rotation: Float64Array = np.asarray(matrix, dtype=np.float64)[:3, :3]
    is_orthogonal = np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3)
    if not is_orthogonal or np.linalg.det(rotation) < 0:
        msg = f"expected a right-handed rotation, got {rotation.tolist()}"
        raise ValueError(msg)
    return rotation


def canonical_quaternion(quat_xyzw: Float64Array) -> Quaternion:
    """Return the one of q and -q whose w is positive or, where w is zero, the first component that is not."""
    quat_xyzw = np.where(np.abs(quat_xyzw) > ROUNDING, quat_xyzw, 0.0)
    wxyz = np.roll(quat_xyzw, 1)
    x, y, z, w = (np.sign(wxyz[np.flatnonzero(wxyz)[0]]) * quat_xyzw).tolist()
    return x, y, z, w
