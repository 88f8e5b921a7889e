# SPDX-License-Identifier: Apache-2.0
"""Pose integration: body poses that are continuous in odom, with all corrections between map and odom (REP-105).

The relative poses of successive frames, scaled and expressed in the body frame, are chained in ``odom``. A new map, a
late leveling or a pose set from outside moves ``odom`` in ``map`` instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.geometry import T_BODY_OPTICAL, orthonormalize, se3_inverse
from ttt3r_ros.state_dict import StateReader, pack_optional
from ttt3r_ros.transforms.gravity_estimator import level_camera_pose

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ttt3r_ros.state_dict import StateDict
    from ttt3r_ros.types import Float64Array

_ORTHONORMALIZE_INTERVAL = 256  # steps after which accumulated rounding errors are removed


@dataclass(frozen=True)
class BodyPose:
    """Poses of one frame in map and odom, all (4, 4). Without a known mount the body is the camera itself."""

    T_map_odom: Float64Array
    T_odom_base: Float64Array
    T_base_camera: Float64Array
    T_step: Float64Array  # motion of the body since the previous frame, in the body frame

    @property
    def T_map_base(self) -> Float64Array:
        """Return the pose of the body in the map."""
        return self.T_map_odom @ self.T_odom_base

    @property
    def T_map_camera(self) -> Float64Array:
        """Return the pose of the optical camera in the map."""
        return self.T_map_base @ self.T_base_camera


class PoseIntegrator:
    """Chains the relative poses of one camera."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Reset map and odom."""
        self.T_map_odom: Float64Array = np.eye(4)
        self._T_odom_base: Float64Array | None = None
        self._T_base_camera: Float64Array = np.eye(4)
        self.start_new_map()

    def start_new_map(self) -> None:
        """Let the next frame start a new map at the current body pose; odom continues."""
        self._T_world_camera: Float64Array | None = None
        self._steps = 0

    @property
    def awaits_first_frame(self) -> bool:
        """Return whether the next frame starts a map."""
        return self._T_world_camera is None

    @property
    def T_map_base(self) -> Float64Array | None:
        """Return the latest pose (4, 4) of the body in the map; None before the first frame."""
        return None if self._T_odom_base is None else self.T_map_odom @ self._T_odom_base

    def integrate(
        self,
        T_world_camera: Float64Array,
        scale: float,
        T_base_camera: Float64Array | None = None,
        up_camera: Float64Array | None = None,
    ) -> BodyPose:
        """Add the next frame: its pose in the network's world, the scale [m per unit] and the mount.

        Only the first frame of a map uses the up vector ``up_camera`` (3,); without it, the mount is taken as
        level, or the camera if the mount is unknown.
        """
        T_base_camera_previous = self._T_base_camera
        if T_base_camera is not None:
            self._T_base_camera = T_base_camera
        if self._T_world_camera is None:
            body_pose = self._place_first_frame(T_base_camera, up_camera)
        else:
            # With the mounts of both frames, so that a camera panning on the robot does not turn the body.
            T_step_camera = se3_inverse(self._T_world_camera) @ T_world_camera
            T_step_camera[:3, 3] *= scale
            body_pose = self._place_next_frame(
                T_base_camera_previous @ T_step_camera @ se3_inverse(self._T_base_camera)
            )
        self._T_world_camera = T_world_camera
        self._T_odom_base = body_pose.T_odom_base
        return body_pose

    def _place_first_frame(
        self, T_base_camera: Float64Array | None, up_camera: Float64Array | None
    ) -> BodyPose:
        T_map_base = initial_body_pose(T_base_camera, up_camera)
        if self._T_odom_base is None:
            self._T_odom_base, self.T_map_odom = T_map_base, np.eye(4)
        else:
            self.T_map_odom = T_map_base @ se3_inverse(self._T_odom_base)
        return BodyPose(self.T_map_odom, self._T_odom_base, self._T_base_camera, np.eye(4))

    def _place_next_frame(self, T_step: Float64Array) -> BodyPose:
        assert self._T_odom_base is not None
        T_odom_base = self._T_odom_base @ T_step
        self._steps += 1
        if self._steps % _ORTHONORMALIZE_INTERVAL == 0:
            T_odom_base = orthonormalize(T_odom_base)
        return BodyPose(self.T_map_odom, T_odom_base, self._T_base_camera, T_step)

    def correct(self, T_map_map: Float64Array) -> None:
        """Apply a map correction: move odom and all that is in it by a rigid motion (4, 4) of the map."""
        self.T_map_odom = T_map_map @ self.T_map_odom

    def set_pose(self, T_map_base: Float64Array) -> None:
        """Set the current pose (4, 4) of the body in the map; no effect before the first frame."""
        if self._T_odom_base is not None:
            self.T_map_odom = T_map_base @ se3_inverse(self._T_odom_base)

    def continue_map(self, other: PoseIntegrator, T_world_camera: Float64Array) -> None:
        """Continue at the body pose of another integrator, with this odom.

        ``T_world_camera`` (4, 4) is the pose in the network's world that the next frame moves from.
        """
        T_map_base = other.T_map_base
        assert T_map_base is not None
        if self._T_odom_base is None:
            self._T_odom_base = T_map_base
        self.set_pose(T_map_base)
        self._T_base_camera = other._T_base_camera
        self._T_world_camera = T_world_camera

    def state_dict(self) -> StateDict:
        """Return a copy of all poses."""
        return {
            "T_map_odom": self.T_map_odom.copy(),
            "T_odom_base": pack_optional(self._T_odom_base, np.float64, (4, 4)),
            "T_base_camera": self._T_base_camera.copy(),
            "T_world_camera": pack_optional(self._T_world_camera, np.float64, (4, 4)),
            "steps": self._steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`.

        Raises:
            SourceError: an entry is invalid; nothing has changed.
        """
        with StateReader(state, "pose_integrator") as read:
            T_map_odom = read.pose("T_map_odom")
            T_odom_base = read.optional_pose("T_odom_base")
            T_base_camera = read.pose("T_base_camera")
            T_world_camera = read.optional_pose("T_world_camera")
            steps = read.integer("steps")
            read.require(
                T_world_camera is None or T_odom_base is not None, "T_world_camera has no T_odom_base"
            )
        self.T_map_odom, self._T_odom_base = T_map_odom, T_odom_base
        self._T_base_camera, self._T_world_camera = T_base_camera, T_world_camera
        self._steps = steps


def initial_body_pose(
    T_base_camera: Float64Array | None, up_camera: Float64Array | None
) -> Float64Array:
    """Return T_map_base (4, 4) of the first frame: at the origin, z up, the optical axis toward x."""
    if up_camera is None:
        return T_BODY_OPTICAL if T_base_camera is None else np.eye(4)
    if T_base_camera is None:
        return level_camera_pose(up_camera)
    up_base = T_base_camera[:3, :3] @ up_camera
    return level_camera_pose(T_BODY_OPTICAL[:3, :3].T @ up_base) @ se3_inverse(T_BODY_OPTICAL)
