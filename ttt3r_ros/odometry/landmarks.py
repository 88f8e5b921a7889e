# SPDX-License-Identifier: Apache-2.0
"""Points of the scene that are followed from image to image, and the camera that they tell.

A landmark lies on the ray on which it was first seen. How far is first the network's word, worth a fifth of it either
way; every later view sharpens it, as a depth filter does (Vogiatzis and Hernandez, 2011; Forster et al., SVO, 2014).
The camera is where the landmarks are seen with the least error (Gauss-Newton with Geman and McClure's weights, by which
what moves on its own ends up counting nothing), each weighed by the pixels that its own depth may be wrong by.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import orthonormalize, se3_inverse, so3_exp

if TYPE_CHECKING:
    from ttt3r_ros.types import BoolArray, Float32Array, Float64Array, Intrinsics

DEPTH_ERROR = 0.2  # standard deviation of the network's depths, as a share
PIXEL_ERROR = 0.5  # standard deviation of a track [px]
ROBUST_SCALE = 3.0  # standard deviations from which on an error counts less and less, in the end nothing
MIN_PARALLAX_SIGMA = (
    1.0  # standard deviations of a track, from which on a view says how far a landmark is
)
MIN_INVERSE_DEPTH = 1e-4  # a landmark farther than 10 km is none
ITERATIONS = 8
DAMPING = 1e-6  # of the normal equations' diagonal
_CONVERGED = 1e-5  # rad, and distances of the landmarks


@dataclass
class Landmarks:
    """N points, each on the ray of its first view; lengths are the network's."""

    pixels: Float32Array  # (N, 2) where they are seen now
    origin: Float64Array  # (N, 3) of the ray, in the world
    ray: Float64Array  # (N, 3) in the world, as long as one unit of depth of its first view
    inverse_depth: Float64Array  # (N,) along the ray
    variance: Float64Array  # (N,) of the inverse depth

    @classmethod
    def empty(cls) -> Landmarks:
        """Return no landmarks."""
        empty = np.empty((0, 3))
        return cls(np.empty((0, 2), np.float32), empty, empty, np.empty(0), np.empty(0))

    @classmethod
    def initialize(
        cls,
        pixels: Float32Array,
        depth: Float64Array,
        intrinsics: Intrinsics,
        T_world_camera: Float64Array,
    ) -> Landmarks:
        """Return those first seen at ``pixels`` (N, 2), where the network says ``depth`` (N,)."""
        rays = np.column_stack((normalized(pixels, intrinsics), np.ones(len(pixels))))
        return cls(
            pixels,
            np.tile(T_world_camera[:3, 3], (len(pixels), 1)),
            rays @ T_world_camera[:3, :3].T,
            1.0 / depth,
            (DEPTH_ERROR / depth) ** 2,
        )

    def __len__(self) -> int:
        return len(self.pixels)

    def depth_in(self, T_world_camera: Float64Array) -> Float64Array:
        """Return how far ahead of a camera they are (N,)."""
        forward = T_world_camera[:3, 2]
        depth: Float64Array = (self.origin - T_world_camera[:3, 3]) @ forward + (
            self.ray @ forward
        ) / self.inverse_depth
        return depth

    def select(self, mask: BoolArray) -> Landmarks:
        """Return some of them."""
        return Landmarks(*(value[mask] for value in vars(self).values()))

    def concatenate(self, others: Landmarks) -> Landmarks:
        """Return these, then others."""
        pairs = zip(vars(self).values(), vars(others).values(), strict=True)
        return Landmarks(*(np.concatenate(pair) for pair in pairs))


def normalized(pixels: Float32Array, intrinsics: Intrinsics) -> Float64Array:
    """Return pixels (N, 2) at unit depth."""
    center, focal = (intrinsics.cx, intrinsics.cy), (intrinsics.fx, intrinsics.fy)
    at_unit_depth: Float64Array = (pixels.astype(np.float64) - center) / focal
    return at_unit_depth


@dataclass(frozen=True)
class Reprojection:
    """Landmarks as a camera sees them, at unit depth."""

    error: Float64Array  # (N, 2) seen minus expected
    expected: Float64Array  # (N, 2)
    jacobian_inverse_depth: Float64Array  # (N, 2) derivative of the expected place
    depth: Float64Array  # (N,) in this camera
    # Share of an error along that derivative that the depth explains, over its square.
    depth_gain: Float64Array  # (N,)
    noise: float  # variance of a track along one axis

    @classmethod
    def compute(
        cls, landmarks: Landmarks, intrinsics: Intrinsics, T_world_camera: Float64Array
    ) -> Reprojection:
        """Project landmarks into a camera with this pose (4, 4)."""
        R = T_world_camera[:3, :3]
        baseline = (landmarks.origin - T_world_camera[:3, 3]) @ R
        # The point times its inverse depth, which stays finite for the farthest.
        point = baseline * landmarks.inverse_depth[:, None] + landmarks.ray @ R
        ahead = np.maximum(point[:, 2], 1e-6)
        expected = point[:, :2] / ahead[:, None]
        jacobian_inverse_depth = (baseline[:, :2] - expected * baseline[:, 2:]) / ahead[:, None]
        noise = PIXEL_ERROR**2 / (intrinsics.fx * intrinsics.fy)
        square = (jacobian_inverse_depth**2).sum(axis=1)
        return cls(
            normalized(landmarks.pixels, intrinsics) - expected,
            expected,
            jacobian_inverse_depth,
            ahead / landmarks.inverse_depth,
            landmarks.variance / (noise + landmarks.variance * square),
            noise,
        )

    def mahalanobis_sq(self) -> Float64Array:
        """Return the squared error of each landmark (N,) over what is usual for it."""
        along = (self.jacobian_inverse_depth * self.error).sum(axis=1)
        whole = (self.error**2).sum(axis=1)
        mahalanobis_sq: Float64Array = (whole - self.depth_gain * along**2) / self.noise
        return mahalanobis_sq

    def jacobian_pose(self) -> Float64Array:
        """Return the derivative (N, 2, 6) of the expected places by a motion of the scene: shift, then turn."""
        x, y = self.expected.T
        near, zero = 1.0 / self.depth, np.zeros(len(x))
        rows = (
            (near, zero, -x * near, -x * y, 1 + x * x, -y),
            (zero, near, -y * near, -(1 + y * y), x * y, x),
        )
        return np.stack([np.stack(row, axis=1) for row in rows], axis=1)


def estimate_pose(
    landmarks: Landmarks, intrinsics: Intrinsics, T_world_start: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Return T_world_camera (4, 4) that fits best, and each landmark's squared error (N,) over what is usual."""
    T_camera_world = se3_inverse(T_world_start)
    nearness = float(np.median(landmarks.inverse_depth)) if len(landmarks) else 0.0
    for _ in range(ITERATIONS):
        view = Reprojection.compute(landmarks, intrinsics, se3_inverse(T_camera_world))
        motion = _gauss_newton_step(view)
        if not np.isfinite(motion).all():
            return T_world_start, np.full(len(landmarks), np.inf)
        step = np.eye(4)
        step[:3, :3], step[:3, 3] = so3_exp(motion[3:]), motion[:3]
        T_camera_world = step @ T_camera_world
        if max(np.abs(motion[3:]).max(), np.abs(motion[:3]).max() * nearness) < _CONVERGED:
            break
    T_world_camera = orthonormalize(se3_inverse(T_camera_world))
    return T_world_camera, Reprojection.compute(landmarks, intrinsics, T_world_camera).mahalanobis_sq()


def _gauss_newton_step(view: Reprojection) -> Float64Array:
    weight = 1.0 / (1.0 + view.mahalanobis_sq() / ROBUST_SCALE**2) ** 2 / view.noise
    jacobian_pose = view.jacobian_pose()
    # An error that a wrong depth would explain says nothing about the camera.
    direction = view.jacobian_inverse_depth
    along = np.einsum("ni,nij->nj", direction, jacobian_pose)
    removed = weight * view.depth_gain
    flat = jacobian_pose.reshape(-1, 6)
    weights = np.repeat(weight, 2)[:, None]
    normal = (flat * weights).T @ flat - (along * removed[:, None]).T @ along
    right = (flat * weights).T @ view.error.ravel() - along.T @ (
        removed * (direction * view.error).sum(axis=1)
    )
    damped = normal + DAMPING * np.diag(np.diag(normal)) + 1e-9 * np.eye(6)
    try:
        motion: Float64Array = np.linalg.solve(damped, right)
    except np.linalg.LinAlgError:  # they do not tell where the camera is
        return np.full(6, np.nan)
    return motion


def update_depths(
    landmarks: Landmarks, intrinsics: Intrinsics, T_world_camera: Float64Array
) -> Landmarks:
    """Return the landmarks with depths corrected by one more view; those that end up behind a camera go.

    The camera is taken to be where it was found. That errs, so a view from nearly the same place says nothing: else
    the trembling of a camera that stands would pass for parallax, and every depth for the mean of all.
    """
    view = Reprojection.compute(landmarks, intrinsics, T_world_camera)
    parallax = np.linalg.norm(view.jacobian_inverse_depth, axis=1) * landmarks.inverse_depth
    told = np.where(parallax > MIN_PARALLAX_SIGMA * np.sqrt(view.noise), view.depth_gain, 0.0)
    along = (view.jacobian_inverse_depth * view.error).sum(axis=1)
    square = (view.jacobian_inverse_depth**2).sum(axis=1)
    better = replace(
        landmarks,
        inverse_depth=landmarks.inverse_depth + told * along,
        variance=landmarks.variance * (1.0 - told * square),
    )
    return better.select(better.inverse_depth > MIN_INVERSE_DEPTH)
