# SPDX-License-Identifier: Apache-2.0
"""Landmarks tracked from image to image, and the camera pose estimated from them.

A landmark lies on the ray of its first observation. Its depth is at first the network's, with a standard deviation of a
fifth; every further observation updates it, as a depth filter does (Vogiatzis and Hernandez, 2011; Forster et al., SVO,
2014). The pose minimizes the reprojection errors by Gauss-Newton with the robust weights of Geman and McClure, so that
landmarks on moving objects end up with no weight. Each error is normalized by the uncertainty of the landmark's depth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.geometry import orthonormalize, se3_inverse, so3_exp
from ttt3r_ros.state_dict import StateReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ttt3r_ros.state_dict import StateDict
    from ttt3r_ros.types import BoolArray, Float32Array, Float64Array, Intrinsics

DEPTH_STD_RATIO = 0.2  # standard deviation of the network's depths over the depth
PIXEL_STD = 0.5  # standard deviation of a track [px]
ROBUST_SCALE = 3.0  # normalized error from which on the weight falls toward zero
MIN_PARALLAX_SIGMA = 1.0  # in standard deviations of a track; with less the depth is not updated
MIN_INVERSE_DEPTH = 1e-4  # landmarks farther than 10 km are removed
MAX_ITERATIONS = 8
DAMPING = 1e-6  # fraction of the diagonal of the normal equations
_MAX_SAVED = 1e12  # saved values beyond it are damage
_CONVERGED = 1e-5  # step of the pose [rad, and median depths of the landmarks]


@dataclass
class Landmarks:
    """N landmarks, each on the ray of its first observation; distances are in the network's unit."""

    pixels: Float32Array  # (N, 2) current observation
    origin: Float64Array  # (N, 3) of the ray, in the world
    ray: Float64Array  # (N, 3) direction in the world, of unit depth in the first camera
    inverse_depth: Float64Array  # (N,) along the ray
    variance: Float64Array  # (N,) of the inverse depth

    @classmethod
    def empty(cls) -> Landmarks:
        """Return no landmarks."""
        return cls(
            np.empty((0, 2), np.float32), np.empty((0, 3)), np.empty((0, 3)), np.empty(0), np.empty(0)
        )

    @classmethod
    def initialize(
        cls,
        pixels: Float32Array,
        depth: Float64Array,
        intrinsics: Intrinsics,
        T_world_camera: Float64Array,
    ) -> Landmarks:
        """Create landmarks from first observations ``pixels`` (N, 2) and predicted depths (N,)."""
        rays = np.column_stack((normalize_pixels(pixels, intrinsics), np.ones(len(pixels))))
        return cls(
            pixels,
            np.tile(T_world_camera[:3, 3], (len(pixels), 1)),
            rays @ T_world_camera[:3, :3].T,
            1.0 / depth,
            (DEPTH_STD_RATIO / depth) ** 2,
        )

    def __len__(self) -> int:
        return len(self.pixels)

    def depth_in(self, T_world_camera: Float64Array) -> Float64Array:
        """Return the depths (N,) in a camera with this pose (4, 4)."""
        forward = T_world_camera[:3, 2]
        depth: Float64Array = (self.origin - T_world_camera[:3, 3]) @ forward + (
            self.ray @ forward
        ) / self.inverse_depth
        return depth

    def select(self, mask: BoolArray) -> Landmarks:
        """Return the landmarks of a mask (N,)."""
        return Landmarks(*(value[mask] for value in vars(self).values()))

    def concatenate(self, others: Landmarks) -> Landmarks:
        """Return these landmarks followed by others."""
        pairs = zip(vars(self).values(), vars(others).values(), strict=True)
        return Landmarks(*(np.concatenate(pair) for pair in pairs))

    def state_dict(self) -> StateDict:
        """Return copies of all arrays."""
        return {
            "pixels": self.pixels.copy(),
            "origin": self.origin.copy(),
            "ray": self.ray.copy(),
            "inverse_depth": self.inverse_depth.copy(),
            "variance": self.variance.copy(),
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Landmarks:
        """Return the landmarks of a `state_dict`; raise `SourceError` if an entry is invalid."""
        with StateReader(state, "landmarks") as read:
            pixels = read.array("pixels", np.float32, (None, 2))
            count = len(pixels)
            origin, ray = (
                read.array(name, np.float64, (count, 3), maximum=_MAX_SAVED)
                for name in ("origin", "ray")
            )
            inverse_depth, variance = (
                read.array(name, np.float64, (count,), maximum=_MAX_SAVED**2)
                for name in ("inverse_depth", "variance")
            )
            read.require((inverse_depth > 0.0).all(), "inverse_depth is not positive")
            read.require((variance >= 0.0).all(), "variance is negative")
        return cls(pixels, origin, ray, inverse_depth, variance)


def normalize_pixels(pixels: Float32Array, intrinsics: Intrinsics) -> Float64Array:
    """Return pixels (N, 2) in normalized image coordinates, at unit depth."""
    center, focal = (intrinsics.cx, intrinsics.cy), (intrinsics.fx, intrinsics.fy)
    normalized: Float64Array = (pixels.astype(np.float64) - center) / focal
    return normalized


@dataclass(frozen=True)
class Reprojection:
    """Landmarks projected into a camera, in normalized image coordinates."""

    error: Float64Array  # (N, 2) observed minus predicted
    predicted: Float64Array  # (N, 2)
    jacobian_inverse_depth: Float64Array  # (N, 2) derivative of the prediction
    depth: Float64Array  # (N,) in this camera
    depth_gain: Float64Array  # (N,) Kalman gain of the inverse depth, over the jacobian
    noise: float  # variance of a track along one axis

    @classmethod
    def compute(
        cls, landmarks: Landmarks, intrinsics: Intrinsics, T_world_camera: Float64Array
    ) -> Reprojection:
        """Project landmarks into a camera with this pose (4, 4)."""
        R = T_world_camera[:3, :3]
        baseline = (landmarks.origin - T_world_camera[:3, 3]) @ R
        # The point times its inverse depth, which stays finite for distant landmarks.
        point = baseline * landmarks.inverse_depth[:, None] + landmarks.ray @ R
        forward = np.maximum(point[:, 2], 1e-6)
        predicted = point[:, :2] / forward[:, None]
        jacobian_inverse_depth = (baseline[:, :2] - predicted * baseline[:, 2:]) / forward[:, None]
        noise = PIXEL_STD**2 / (intrinsics.fx * intrinsics.fy)
        jacobian_sq = (jacobian_inverse_depth**2).sum(axis=1)
        return cls(
            normalize_pixels(landmarks.pixels, intrinsics) - predicted,
            predicted,
            jacobian_inverse_depth,
            forward / landmarks.inverse_depth,
            landmarks.variance / (noise + landmarks.variance * jacobian_sq),
            noise,
        )

    def mahalanobis_sq(self) -> Float64Array:
        """Return the squared errors (N,), normalized by the variances of track and depth."""
        along_ray = (self.jacobian_inverse_depth * self.error).sum(axis=1)
        error_sq = (self.error**2).sum(axis=1)
        normalized: Float64Array = (error_sq - self.depth_gain * along_ray**2) / self.noise
        return normalized

    def jacobian_pose(self) -> Float64Array:
        """Return the derivative (N, 2, 6) of the predictions by a motion of the scene: translation, then rotation."""
        x, y = self.predicted.T
        inverse_depth, zero = 1.0 / self.depth, np.zeros(len(x))
        rows = (
            (inverse_depth, zero, -x * inverse_depth, -x * y, 1 + x * x, -y),
            (zero, inverse_depth, -y * inverse_depth, -(1 + y * y), x * y, x),
        )
        return np.stack([np.stack(row, axis=1) for row in rows], axis=1)


def estimate_pose(
    landmarks: Landmarks, intrinsics: Intrinsics, T_world_start: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Return T_world_camera (4, 4) with the least errors, and their normalized squares (N,).

    Where the optimization fails, the pose is the start and all errors are infinite.
    """
    T_camera_world = se3_inverse(T_world_start)
    inverse_depth = float(np.median(landmarks.inverse_depth)) if len(landmarks) else 0.0
    for _ in range(MAX_ITERATIONS):
        reprojection = Reprojection.compute(landmarks, intrinsics, se3_inverse(T_camera_world))
        motion = _gauss_newton_step(reprojection)
        if not np.isfinite(motion).all():
            return T_world_start, np.full(len(landmarks), np.inf)
        step = np.eye(4)
        step[:3, :3], step[:3, 3] = so3_exp(motion[3:]), motion[:3]
        T_camera_world = step @ T_camera_world
        if max(np.abs(motion[3:]).max(), np.abs(motion[:3]).max() * inverse_depth) < _CONVERGED:
            break
    T_world_camera = orthonormalize(se3_inverse(T_camera_world))
    return T_world_camera, Reprojection.compute(landmarks, intrinsics, T_world_camera).mahalanobis_sq()


def _gauss_newton_step(reprojection: Reprojection) -> Float64Array:
    """Return the motion (6,) of the scene that reduces the errors: translation, then rotation; NaN if undetermined."""
    weight = 1.0 / (1.0 + reprojection.mahalanobis_sq() / ROBUST_SCALE**2) ** 2 / reprojection.noise
    jacobian_pose = reprojection.jacobian_pose()
    # The Schur complement marginalizes the depths: errors along a ray do not constrain the pose.
    direction = reprojection.jacobian_inverse_depth
    along_ray = np.einsum("ni,nij->nj", direction, jacobian_pose)
    removed = weight * reprojection.depth_gain
    flat = jacobian_pose.reshape(-1, 6)
    weights = np.repeat(weight, 2)[:, None]
    normal = (flat * weights).T @ flat - (along_ray * removed[:, None]).T @ along_ray
    right = (flat * weights).T @ reprojection.error.ravel() - along_ray.T @ (
        removed * (direction * reprojection.error).sum(axis=1)
    )
    damped = normal + DAMPING * np.diag(np.diag(normal)) + 1e-9 * np.eye(6)
    try:
        motion: Float64Array = np.linalg.solve(damped, right)
    except np.linalg.LinAlgError:
        return np.full(6, np.nan)
    return motion


def update_depths(
    landmarks: Landmarks, intrinsics: Intrinsics, T_world_camera: Float64Array
) -> Landmarks:
    """Return the landmarks with depths updated by one observation, without those that are now behind a camera.

    The pose (4, 4) is taken as exact, which it is not. Observations with too little parallax are therefore ignored:
    otherwise the pose noise of a standing camera would pass for parallax and pull all depths to their mean.
    """
    reprojection = Reprojection.compute(landmarks, intrinsics, T_world_camera)
    jacobian = reprojection.jacobian_inverse_depth
    parallax = np.linalg.norm(jacobian, axis=1) * landmarks.inverse_depth
    has_parallax = parallax > MIN_PARALLAX_SIGMA * np.sqrt(reprojection.noise)
    gain = np.where(has_parallax, reprojection.depth_gain, 0.0)
    along_ray = (jacobian * reprojection.error).sum(axis=1)
    jacobian_sq = (jacobian**2).sum(axis=1)
    updated = replace(
        landmarks,
        inverse_depth=landmarks.inverse_depth + gain * along_ray,
        variance=landmarks.variance * (1.0 - gain * jacobian_sq),
    )
    return updated.select(updated.inverse_depth > MIN_INVERSE_DEPTH)
