# SPDX-License-Identifier: Apache-2.0
"""A path through the rendered room with true depths and inaccurate network poses, for tests of visual odometry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from motions import motion

from ttt3r_ros.geometry import se3_inverse, so3_log
from ttt3r_ros.odometry.visual_odometry import TrackedPose, VisualOdometry
from ttt3r_ros.synthetic.room import ProceduralRoom
from ttt3r_ros.types import Frame, ImageGeometry, Intrinsics, Prediction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ttt3r_ros.types import UInt8Array

FRAMES, WIDTH, HEIGHT = 16, 160, 120
# The camera moves 0.43 m and turns by 34 degrees. Largest errors measured with OpenCV 4.14: 8 mm and 0.18 degrees;
# those of the network: 81 mm and 3.1 degrees.
NEAR = 0.016, np.radians(0.4)
STANDING = [np.eye(4)] * FRAMES  # network poses without motion


@dataclass(frozen=True)
class Shot:
    """An image, its prediction, and its true pose relative to the first one."""

    prediction: Prediction
    intrinsics: Intrinsics
    T_true: np.ndarray

    @property
    def depth(self) -> np.ndarray:
        depth: np.ndarray = self.prediction.points_camera[..., 2]
        return depth

    def with_rgb(self, rgb: UInt8Array) -> Shot:
        return replace(self, prediction=replace(self.prediction, rgb=rgb))

    def with_depth(self, depth: np.ndarray) -> Shot:
        return replace(self, prediction=predict(self.prediction.rgb, depth, self.intrinsics))

    def with_focal(self, factor: float) -> Shot:
        """Return the same shot with another estimate of the focal length."""
        camera = self.intrinsics
        return replace(self, intrinsics=replace(camera, fx=camera.fx * factor, fy=camera.fy * factor))

    def crop(self, rows: int) -> Shot:
        """Return the upper rows."""
        camera = replace(self.intrinsics, height=rows)
        prediction = predict(self.prediction.rgb[:rows], self.depth[:rows], camera)
        return replace(self, intrinsics=camera, prediction=prediction)


def predict(rgb: UInt8Array, depth: np.ndarray, camera: Intrinsics) -> Prediction:
    height, width = depth.shape
    v, u = np.indices(depth.shape)
    rays = (u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(depth.shape)
    return Prediction(
        points_camera=(np.stack(rays, axis=-1) * depth[..., None]).astype(np.float32),
        confidence=np.full((height, width), 10.0, np.float32),
        T_segment_camera=np.eye(4),
        rgb=rgb,
        geometry=ImageGeometry(width, height, width, height, 0, 0, width, height),
    )


@lru_cache
def path_shots(field_of_view_deg: float = 65.0, first: int = 0, last: int = FRAMES) -> tuple[Shot, ...]:
    """Return shots of the path, with any lens."""
    room = ProceduralRoom(
        frames=FRAMES, width=WIDTH, height=HEIGHT, horizontal_fov_deg=field_of_view_deg
    )
    T_start_world, shots = se3_inverse(room.T_world_camera(0)), []
    for k in range(first, last):
        view = room.render(k)
        prediction = predict(view.rgb, view.depth_m, room.intrinsics)
        shots.append(Shot(prediction, room.intrinsics, T_start_world @ view.T_world_camera))
    return tuple(shots)


@lru_cache
def network_poses(seed: int = 1) -> tuple[np.ndarray, ...]:
    """Return network poses; the errors of each step of 3 cm and 2 degrees are 3.5 cm and 1 degree."""
    rng, poses = np.random.default_rng(seed), [np.eye(4)]
    for before, after in pairwise(path_shots()):
        error = motion(rng.normal(0.0, 0.01, 3), rng.normal(0.0, 0.02, 3))
        poses.append(poses[-1] @ se3_inverse(before.T_true) @ after.T_true @ error)
    return tuple(poses)


def frames_of_path(count: int, *, calibrated: bool = True) -> list[Frame]:
    return [
        Frame((k + 1) * 10**8, "camera", shot.prediction.rgb, shot.intrinsics if calibrated else None)
        for k, shot in enumerate(path_shots()[:count])
    ]


def track_shots(shots: Sequence[Shot], network: Sequence[np.ndarray] | None = None) -> list[TrackedPose]:
    odometry = VisualOdometry()
    return [
        odometry.step(shot.prediction, T_world_network, shot.intrinsics)
        for shot, T_world_network in zip(shots, network or network_poses(), strict=False)
    ]


@lru_cache
def track_path() -> tuple[TrackedPose, ...]:
    """Return the tracked poses of the unchanged path with inaccurate network poses."""
    return tuple(track_shots(path_shots()))


def poses_of(tracked: Sequence[TrackedPose]) -> list[np.ndarray]:
    return [entry.T_world_camera for entry in tracked]


def landmarks_of(tracked: Sequence[TrackedPose]) -> np.ndarray:
    return np.array([entry.landmarks for entry in tracked])


def errors(poses: Sequence[np.ndarray], first: int = 0) -> tuple[float, float]:
    """Return the largest errors [m, rad] of poses that start at an image of the path."""
    T_start = se3_inverse(poses[0])
    shots = path_shots()[first : first + len(poses)]
    true = [se3_inverse(shots[0].T_true) @ shot.T_true for shot in shots]
    T_errors = [se3_inverse(T_true) @ T_start @ T for T_true, T in zip(true, poses, strict=True)]
    moved = max(float(np.linalg.norm(T[:3, 3])) for T in T_errors)
    return moved, max(float(np.linalg.norm(so3_log(T[:3, :3]))) for T in T_errors)


def assert_near(poses: Sequence[np.ndarray], first: int = 0) -> None:
    (moved, turned), (far, wide) = errors(poses, first), NEAR
    assert (moved < far, turned < wide) == (True, True), (moved, np.degrees(turned))


def assert_steps_of_network(
    poses: Sequence[np.ndarray], frames: Sequence[int], network: Sequence[np.ndarray]
) -> None:
    """Require that the steps to some images are those of the network."""
    for k in frames:
        T_step = se3_inverse(network[k - 1]) @ network[k]
        np.testing.assert_allclose(poses[k], poses[k - 1] @ T_step, atol=1e-12)


def noise(seed: int) -> UInt8Array:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
