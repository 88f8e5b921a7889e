# SPDX-License-Identifier: Apache-2.0
"""Quaternions and rotation matrices.

The first two functions convert arrays of any shape and do not validate them. The others convert one value of a
message: they validate it and return exactly one of q and -q. Their results differ from the first two in the last bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ttt3r_ros.types import Float64Array

Quaternion: TypeAlias = tuple[float, float, float, float]  # x, y, z, w

MIN_NORM = 1e-9  # smaller norms have no direction; smaller components are rounding noise
ORTHOGONALITY_TOLERANCE = 1e-3  # largest error of R R^T of a matrix that is accepted as a rotation


def rotation_from_quat_wxyz(quat_wxyz: Float64Array) -> Float64Array:
    """Return the rotations (..., 3, 3) of quaternions (..., 4) with any norm except zero."""
    quat = np.asarray(quat_wxyz, dtype=np.float64)
    w, x, y, z = np.moveaxis(quat / np.linalg.norm(quat, axis=-1, keepdims=True), -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def quat_xyzw_from_rotation(rotation: Float64Array) -> Float64Array:
    """Return the unit quaternions (..., 4) x, y, z, w with w >= 0 of rotations (..., 3, 3).

    Each is the eigenvector of the largest eigenvalue of a symmetric 4x4 matrix (Bar-Itzhack 2000). This is
    accurate for every angle and tolerates rounding errors of the rotation.
    """
    elements = np.moveaxis(np.asarray(rotation, dtype=np.float64)[..., :3, :3], (-2, -1), (0, 1))
    (a, b, c), (d, e, f), (g, h, i) = elements
    K = np.array(
        [
            [a - e - i, b + d, c + g, h - f],
            [b + d, e - a - i, f + h, c - g],
            [c + g, f + h, i - a - e, d - b],
            [h - f, c - g, d - b, a + e + i],
        ]
    )
    quat: Float64Array = np.linalg.eigh(np.moveaxis(K, (0, 1), (-2, -1)))[1][..., -1]
    return np.where(quat[..., 3:] < 0, -quat, quat)


def rotation_from_quaternion(quat_xyzw: Sequence[float]) -> Float64Array:
    """Return the rotation (3, 3) of a quaternion of any norm; raise ValueError on zero."""
    x, y, z, w = _unit(normalize_quaternion(quat_xyzw))
    return np.array(
        [
            [x * x - y * y - z * z + w * w, 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), -x * x + y * y - z * z + w * w, 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), -x * x - y * y + z * z + w * w],
        ]
    )


def quaternion_from_rotation(matrix: Float64Array) -> Quaternion:
    """Return the unit quaternion of a rotation (3, 3) or transform (4, 4), with the sign of `canonical_quaternion`.

    Raises:
        ValueError: the matrix is not a rotation.
    """
    rotation = require_rotation(matrix)
    if not _is_orthogonal(rotation):
        U, _, Vt = np.linalg.svd(rotation)
        rotation = U @ Vt
    return canonical_quaternion(np.array(_unit(_largest_component_form(rotation))))


def normalize_quaternion(quat_xyzw: Sequence[float]) -> Float64Array:
    """Return a quaternion (4,) scaled to unit norm; raise ValueError on a norm of zero."""
    quaternion: Float64Array = np.asarray(quat_xyzw, dtype=np.float64)
    with np.errstate(over="ignore"):
        norm = float(np.linalg.norm(quaternion))
    if not np.isfinite(norm) or norm < MIN_NORM:
        msg = f"expected a quaternion of finite, non-zero length, got {quaternion.tolist()}"
        raise ValueError(msg)
    return quaternion / norm


def canonical_quaternion(quat_xyzw: Float64Array) -> Quaternion:
    """Return q or -q: the one with w > 0 or, if w is zero, with a positive first non-zero component."""
    quat_xyzw = np.where(np.abs(quat_xyzw) > MIN_NORM, quat_xyzw, 0.0)
    wxyz = np.roll(quat_xyzw, 1)
    x, y, z, w = (np.sign(wxyz[np.flatnonzero(wxyz)[0]]) * quat_xyzw).tolist()
    return x, y, z, w


def require_rotation(matrix: Float64Array) -> Float64Array:
    """Return the rotation (3, 3) of a rotation or transform; raise ValueError if it is not one."""
    rotation: Float64Array = np.asarray(matrix, dtype=np.float64)[:3, :3]
    is_orthogonal = np.allclose(rotation @ rotation.T, np.eye(3), atol=ORTHOGONALITY_TOLERANCE)
    if not is_orthogonal or np.linalg.det(rotation) < 0:
        msg = f"expected a right-handed rotation, got {rotation.tolist()}"
        raise ValueError(msg)
    return rotation


def _is_orthogonal(rotation: Float64Array) -> bool:
    identity = np.eye(3)
    return bool((np.abs(rotation @ rotation.T - identity) <= 1e-12 + 1e-5 * identity).all())


def _largest_component_form(rotation: Float64Array) -> Sequence[float]:
    """Return a multiple of the quaternion, computed from its largest component (Shepperd 1978)."""
    (a, b, c), (d, e, f), (g, h, i) = rotation.tolist()
    trace = a + e + i
    largest = int(np.argmax((a, e, i, trace)))
    return (
        (1 - trace + 2 * a, d + b, g + c, h - f),
        (d + b, 1 - trace + 2 * e, h + f, c - g),
        (g + c, h + f, 1 - trace + 2 * i, d - b),
        (h - f, c - g, d - b, 1 + trace),
    )[largest]


def _unit(quat_xyzw: Sequence[float] | Float64Array) -> Quaternion:
    x, y, z, w = quat_xyzw
    norm = float(np.sqrt(x * x + y * y + z * z + w * w))
    return float(x / norm), float(y / norm), float(z / norm), float(w / norm)
