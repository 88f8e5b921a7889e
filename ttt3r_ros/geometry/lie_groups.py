# SPDX-License-Identifier: Apache-2.0
"""SO(3), SE(3) and Sim(3) in double precision.

``T_a_b`` maps points of frame b into frame a: ``T_a_c = T_a_b @ T_b_c``. ``S_a_b`` also scales: it is a matrix (4, 4)
with the blocks scale times rotation, and translation. Tangent vectors are translation, then axis times angle [rad],
then log of the scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry.quaternions import (
    ORTHOGONALITY_TOLERANCE,
    quat_xyzw_from_rotation,
    rotation_from_quat_wxyz,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.types import Float64Array, FloatT

# REP-103: a body frame has x forward, y left, z up; an optical frame has x right, y down, z forward.
T_BODY_OPTICAL: Float64Array = np.array(
    [[0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)


MAX_TRANSLATION = 1e9  # of a valid pose; products of larger ones lose every digit or overflow


# --- poses -------------------------------------------------------------------------------------------


def require_pose(T: Float64Array, max_translation: float = MAX_TRANSLATION) -> Float64Array:
    """Return rigid motions (..., 4, 4) with finite, bounded translations; raise ValueError with one that is none."""
    poses = np.asarray(T)
    if poses.shape[-2:] != (4, 4) or poses.dtype.kind != "f":
        found = poses.tolist() if poses.size <= 16 else ""
        msg = f"expected a rigid motion (4, 4), got {poses.dtype} {poses.shape} {found}"
        raise ValueError(msg)
    valid = np.array([_is_pose(T, max_translation) for T in poses.reshape(-1, 16).tolist()], np.bool_)
    if not valid.all():
        wrong = poses.reshape(-1, 4, 4)[~valid][0]
        msg = (
            f"expected a rotation and a translation of at most {max_translation:g}, got {wrong.tolist()}"
        )
        raise ValueError(msg)
    return poses


def _is_pose(T: list[float], max_translation: float) -> bool:
    """Return whether 16 numbers are a rigid motion; all comparisons are False for NaN. Faster than with NumPy."""
    a, b, c, x, d, e, f, y, g, h, i, z, *last = T
    products = (
        a * a + b * b + c * c - 1.0, d * d + e * e + f * f - 1.0, g * g + h * h + i * i - 1.0,
        a * d + b * e + c * f, a * g + b * h + c * i, d * g + e * h + f * i,
    )  # fmt: skip
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return (
        last == [0.0, 0.0, 0.0, 1.0]
        and all(abs(error) <= ORTHOGONALITY_TOLERANCE for error in products)
        and determinant > 0.0
        and all(abs(value) <= max_translation for value in (x, y, z))
    )


def pose_matrix(pose: Float64Array) -> Float64Array:
    """Return the matrices (..., 4, 4) of network poses (..., 7): x, y, z, then quaternion w, x, y, z."""
    pose = np.asarray(pose, dtype=np.float64)
    T = np.zeros((*pose.shape[:-1], 4, 4))
    T[..., :3, :3] = rotation_from_quat_wxyz(pose[..., 3:])
    T[..., :3, 3] = pose[..., :3]
    T[..., 3, 3] = 1.0
    return T


def pose_matrix_xyzw(pose: Float64Array) -> Float64Array:
    """Return the matrices (..., 4, 4) of poses (..., 7) as in TUM files: x, y, z, then quaternion x, y, z, w."""
    return pose_matrix(np.asarray(pose)[..., [0, 1, 2, 6, 3, 4, 5]])


def pose_row_xyzw(T: Float64Array) -> Float64Array:
    """Return matrices (..., 4, 4) as poses (..., 7): x, y, z, then quaternion x, y, z, w."""
    return np.concatenate((T[..., :3, 3], quat_xyzw_from_rotation(T[..., :3, :3])), axis=-1)


def is_identity(T: Float64Array) -> bool:
    """Return whether a matrix (4, 4) is exactly the identity."""
    return bool((np.eye(4) == T).all())


def transform(T_a_b: Float64Array, points_b: NDArray[FloatT]) -> NDArray[FloatT]:
    """Map points (..., 3) of frame b into frame a, in the precision of the points."""
    rotation, translation = (part.astype(points_b.dtype) for part in (T_a_b[:3, :3], T_a_b[:3, 3]))
    mapped: NDArray[FloatT] = points_b @ rotation.T + translation
    return mapped


def mean_velocity(T_step: Float64Array, seconds: float) -> tuple[Float64Array, Float64Array]:
    """Return the linear [m/s] and angular [rad/s] velocity (3,) of a step, in the moving frame.

    Both are zero if ``seconds`` is not positive.
    """
    if seconds <= 0.0:
        return np.zeros(3), np.zeros(3)
    return T_step[:3, 3] / seconds, so3_log(T_step[:3, :3]) / seconds


def interpolate_pose(T_begin: Float64Array, T_end: Float64Array, fraction: float) -> Float64Array:
    """Return the rigid motion (4, 4) at a fraction between two: linear translation, slerp of rotation."""
    T: Float64Array = np.eye(4)
    rotation = so3_log(T_begin[:3, :3].T @ T_end[:3, :3])
    T[:3, :3] = T_begin[:3, :3] @ so3_exp(fraction * rotation)
    T[:3, 3] = (1.0 - fraction) * T_begin[:3, 3] + fraction * T_end[:3, 3]
    return T


# --- SO(3) -------------------------------------------------------------------------------------------


def so3_exp(vector: Float64Array) -> Float64Array:
    """Return the rotation (3, 3) of axis times angle [rad] (3,)."""
    angle = float(np.linalg.norm(vector))
    cross = skew(vector)
    sine = np.sinc(angle / np.pi)  # sin(a) / a
    cosine = 0.5 * np.sinc(angle / (2.0 * np.pi)) ** 2  # (1 - cos(a)) / a^2
    rotation: Float64Array = np.eye(3) + sine * cross + cosine * cross @ cross
    return rotation


def so3_log(rotation: Float64Array) -> Float64Array:
    """Return axis times angle (3,) of a rotation (3, 3); the angle is at most pi [rad]."""
    x, y, z, w = quat_xyzw_from_rotation(rotation)
    sine = float(np.linalg.norm((x, y, z)))
    if sine < 1e-12:
        return np.array([2 * x, 2 * y, 2 * z])
    scale = 2.0 * float(np.arctan2(sine, w)) / sine
    return np.array([x * scale, y * scale, z * scale])


def skew(vector: Float64Array) -> Float64Array:
    """Return the matrix (3, 3) of the cross product with a vector (3,)."""
    x, y, z = vector
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


# --- SE(3) -------------------------------------------------------------------------------------------


def se3(rotation: Float64Array, translation: Float64Array) -> Float64Array:
    """Return the rigid motion (4, 4) of a rotation (3, 3) and a translation (3,)."""
    return sim3(rotation, translation, 1.0)


def se3_inverse(T: Float64Array) -> Float64Array:
    """Return the inverse of a rigid motion (4, 4)."""
    inverse = np.eye(4)
    inverse[:3, :3] = T[:3, :3].T
    inverse[:3, 3] = -T[:3, :3].T @ T[:3, 3]
    return inverse


def se3_exp(tangent: Float64Array) -> Float64Array:
    """Return the rigid motion (4, 4) of a tangent vector (6,): translation, then rotation."""
    return sim3_exp(np.append(tangent, 0.0))


def se3_log(T: Float64Array) -> Float64Array:
    """Return the tangent vector (6,) of a rigid motion (4, 4): translation, then rotation."""
    rotation = so3_log(T[:3, :3])
    return np.append(np.linalg.solve(_translation_jacobian(rotation, 0.0), T[:3, 3]), rotation)


def orthonormalize(T: Float64Array) -> Float64Array:
    """Return the rigid motion nearest to T (4, 4), without the rounding errors of long products."""
    U, _, Vt = np.linalg.svd(T[:3, :3])
    rigid = np.eye(4)
    rigid[:3, :3] = U @ np.diag([1.0, 1.0, np.linalg.det(U @ Vt)]) @ Vt
    rigid[:3, 3] = T[:3, 3]
    return rigid


# --- Sim(3) ------------------------------------------------------------------------------------------


def sim3(rotation: Float64Array, translation: Float64Array, scale: float) -> Float64Array:
    """Return the similarity (4, 4) of a rotation (3, 3), a translation (3,) and a positive scale."""
    S: Float64Array = np.eye(4)
    S[:3, :3] = scale * rotation
    S[:3, 3] = translation
    return S


def sim3_scale(S: Float64Array) -> float:
    """Return the scale of a similarity (4, 4)."""
    return float(np.cbrt(np.linalg.det(S[:3, :3])))


def sim3_inverse(S: Float64Array) -> Float64Array:
    """Return the inverse of a similarity (4, 4)."""
    scaled = S[:3, :3].T / sim3_scale(S) ** 2  # transposed rotation divided by the scale
    return sim3(scaled, -scaled @ S[:3, 3], 1.0)


def sim3_exp(tangent: Float64Array) -> Float64Array:
    """Return the similarity (4, 4) of a tangent vector (7,): translation, rotation, log of the scale."""
    rotation, log_scale = tangent[3:6], float(tangent[6])
    translation = _translation_jacobian(rotation, log_scale) @ tangent[:3]
    return sim3(so3_exp(rotation), translation, float(np.exp(log_scale)))


def sim3_log(S: Float64Array) -> Float64Array:
    """Return the tangent vector (7,) of a similarity (4, 4): translation, rotation, log of the scale."""
    scale = sim3_scale(S)
    rotation, log_scale = so3_log(S[:3, :3] / scale), float(np.log(scale))
    translation = np.linalg.solve(_translation_jacobian(rotation, log_scale), S[:3, 3])
    return np.concatenate((translation, rotation, [log_scale]))


def _translation_jacobian(rotation: Float64Array, log_scale: float) -> Float64Array:
    """Return the integral of exp(s log_scale) so3_exp(s rotation) over s in [0, 1], (3, 3).

    It maps the translation of a tangent vector to the translation of the group element. With the unit axis every
    term contains (exp(z) - 1) / z with z = log_scale + i angle, which has no singularity at zero.
    """
    angle = float(np.linalg.norm(rotation))
    axis = skew(rotation / angle) if angle > 0.0 else np.zeros((3, 3))
    growth = _expm1_ratio(complex(log_scale)).real
    turning = _expm1_ratio(complex(log_scale, angle))
    jacobian: Float64Array = (
        growth * np.eye(3) + turning.imag * axis + (growth - turning.real) * axis @ axis
    )
    return jacobian


def _expm1_ratio(z: complex) -> complex:
    """Return (exp(z) - 1) / z, 1 at zero."""
    return complex(np.expm1(z)) / z if z else 1.0 + 0.0j
