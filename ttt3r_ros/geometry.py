# SPDX-License-Identifier: Apache-2.0
"""Rigid motions, rays and focal lengths in double precision.

``T_a_b`` maps points of frame b into frame a, so that inner names cancel: ``T_a_c = T_a_b @ T_b_c``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.types import BoolArray, Float32Array, Float64Array

FloatT = TypeVar("FloatT", bound="np.floating[Any]")

# REP-103: a body frame has x forward, y left, z up; an optical frame has x right, y down, z forward.
T_BODY_OPTICAL: Float64Array = np.array(
    [[0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)


def rotation_from_quat_wxyz(quat_wxyz: Float64Array) -> Float64Array:
    """Return the rotation (..., 3, 3) of quaternions (..., 4) of any length but zero."""
    quat = np.asarray(quat_wxyz, dtype=np.float64)
    w, x, y, z = np.moveaxis(quat / np.linalg.norm(quat, axis=-1, keepdims=True), -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def pose_matrix(pose: Float64Array) -> Float64Array:
    """Return the 4x4 motion (..., 4, 4) of network poses (..., 7): x, y, z, then quaternion w, x, y, z."""
    pose = np.asarray(pose, dtype=np.float64)
    T = np.zeros((*pose.shape[:-1], 4, 4))
    T[..., :3, :3] = rotation_from_quat_wxyz(pose[..., 3:])
    T[..., :3, 3] = pose[..., :3]
    T[..., 3, 3] = 1.0
    return T


def pose_matrix_xyzw(pose: Float64Array) -> Float64Array:
    """Return the 4x4 motion (..., 4, 4) of poses (..., 7) as files have them: x, y, z, then quaternion x, y, z, w."""
    return pose_matrix(np.asarray(pose)[..., [0, 1, 2, 6, 3, 4, 5]])


def quat_xyzw_from_rotation(rotation: Float64Array) -> Float64Array:
    """Return the unit quaternions (..., 4) x, y, z, w with w >= 0 of rotations (..., 3, 3).

    Each is the eigenvector of the largest eigenvalue of a symmetric 4x4 matrix (Bar-Itzhack 2000), which
    stays accurate for every angle and tolerates rounding in the rotation.
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


def orthonormalize(T: Float64Array) -> Float64Array:
    """Return the rigid motion nearest to T (4, 4); products of many motions drift away from one."""
    U, _, Vt = np.linalg.svd(T[:3, :3])
    rigid = np.eye(4)
    rigid[:3, :3] = U @ np.diag([1.0, 1.0, np.linalg.det(U @ Vt)]) @ Vt
    rigid[:3, 3] = T[:3, 3]
    return rigid


def se3_inverse(T: Float64Array) -> Float64Array:
    """Return the inverse of a rigid motion (4, 4)."""
    inverted = np.eye(4)
    inverted[:3, :3] = T[:3, :3].T
    inverted[:3, 3] = -T[:3, :3].T @ T[:3, 3]
    return inverted


def is_identity(T: Float64Array) -> bool:
    """Return whether a motion (4, 4) is exactly the identity."""
    return bool((np.eye(4) == T).all())


def transform(T_a_b: Float64Array, points_b: NDArray[FloatT]) -> NDArray[FloatT]:
    """Map points (..., 3) of frame b into frame a, in the points' own precision."""
    rotation, translation = (part.astype(points_b.dtype) for part in (T_a_b[:3, :3], T_a_b[:3, 3]))
    moved: NDArray[FloatT] = points_b @ rotation.T + translation
    return moved


def so3_log(rotation: Float64Array) -> Float64Array:
    """Return axis times angle [rad] of a rotation (3, 3)."""
    x, y, z, w = quat_xyzw_from_rotation(rotation)
    sine = float(np.linalg.norm((x, y, z)))
    if sine < 1e-12:
        return np.array([2 * x, 2 * y, 2 * z])
    scale = 2.0 * float(np.arctan2(sine, w)) / sine
    return np.array([x * scale, y * scale, z * scale])


def mean_velocity(T_step: Float64Array, seconds: float) -> tuple[Float64Array, Float64Array]:
    """Return the linear [m/s] and angular [rad/s] velocity (3,) of a motion, in the frame of what moves.

    Both are zero for no time.
    """
    if seconds <= 0.0:
        return np.zeros(3), np.zeros(3)
    return T_step[:3, 3] / seconds, so3_log(T_step[:3, :3]) / seconds


def so3_exp(vector: Float64Array) -> Float64Array:
    """Return the rotation (3, 3) about an axis by an angle [rad], given as their product (3,)."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    sine = np.sinc(angle / np.pi)  # sin(a) / a
    cosine = 0.5 * np.sinc(angle / (2.0 * np.pi)) ** 2  # (1 - cos(a)) / a^2
    rotation: Float64Array = np.eye(3) + sine * cross + cosine * cross @ cross
    return rotation


def interpolate_pose(T_begin: Float64Array, T_end: Float64Array, share: float) -> Float64Array:
    """Return the rigid motion (4, 4) between two, at a share of the way: straight on, turning evenly."""
    T: Float64Array = np.eye(4)
    turn = so3_log(T_begin[:3, :3].T @ T_end[:3, :3])
    T[:3, :3] = T_begin[:3, :3] @ so3_exp(share * turn)
    T[:3, 3] = (1.0 - share) * T_begin[:3, 3] + share * T_end[:3, 3]
    return T


def ray_map(T_first_camera: Float64Array, K: Float64Array, height: int, width: int) -> Float32Array:
    """Return origin and direction per pixel (height, width, 6) of a camera seen from the first camera.

    The direction contains the translation before it is normalized. That is no direction of a ray, but it
    is what the published weights were trained with (CUT3R issue #90).
    """
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    pixels = np.stack((u, v, np.ones_like(u)), axis=-1).astype(np.float64)
    directions = pixels @ np.linalg.inv(K).T @ T_first_camera[:3, :3].T + T_first_camera[:3, 3]
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    origins = np.broadcast_to(T_first_camera[:3, 3], directions.shape)
    return np.concatenate((origins, directions), axis=-1).astype(np.float32)


def focal_weiszfeld(points: Float32Array, iterations: int = 10) -> float:
    """Estimate the focal length [px] of a point map (H, W, 3) by reweighted least squares over all pixels.

    This is the published demo's estimator, kept for comparison: few points near Z = 0 ruin it.
    """
    centered, rays = _centered_pixels(points), _rays(points)
    along, squared = (centered * rays).sum(axis=-1), (rays * rays).sum(axis=-1)
    focal = along.mean() / squared.mean()
    for _ in range(iterations):
        weight = 1.0 / np.maximum(np.linalg.norm(centered - focal * rays, axis=-1), 1e-8)
        focal = (weight * along).mean() / (weight * squared).mean()
    return max(float(focal), 0.0)


def focal_median(points: Float32Array, mask: BoolArray | None = None) -> float:
    """Estimate the focal length [px] of a point map (H, W, 3) as the median vote u Z / X and v Z / Y.

    The principal point is the image center (W div 2, H div 2). Returns NaN where ``mask`` (H, W) leaves
    no vote.
    """
    points = np.asarray(points, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        votes = _centered_pixels(points) * points[..., 2:] / points[..., :2]
    votes = votes[mask] if mask is not None else votes
    votes = votes[~np.isnan(votes)]
    if not votes.size:
        return float("nan")
    middle = (votes.size - 1) // 2  # of an even number the lower one, as the published demo takes it
    return max(float(np.partition(votes, middle)[middle]), 0.0)


def _centered_pixels(points: Float32Array) -> Float64Array:
    height, width = points.shape[:2]
    u, v = np.meshgrid(np.arange(width) - width // 2, np.arange(height) - height // 2)
    return np.stack((u, v), axis=-1).astype(np.float64)


def _rays(points: Float32Array) -> Float64Array:
    points = np.asarray(points, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        rays = points[..., :2] / points[..., 2:]
    finite: Float64Array = np.nan_to_num(rays, nan=0.0, posinf=0.0, neginf=0.0)
    return finite
