# SPDX-License-Identifier: Apache-2.0
"""Where the body is: never a jump in odom, every correction between map and odom (REP-105).

The network, or what is tracked over its depths, says how the camera moved from frame to frame. Those steps,
scaled and seen from the body, are chained in the frame ``odom``; a new start, a leveled floor or a pose given by
hand moves ``odom`` in ``map`` instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import T_BODY_OPTICAL, orthonormalize, se3_inverse
from ttt3r_ros.transforms.gravity_estimator import leveled

if TYPE_CHECKING:
    from ttt3r_ros.types import Float64Array

_RENEW_EVERY = 256  # products of rotations, before they are made rotations again


@dataclass(frozen=True)
class BodyPose:
    """One frame in map and odom; all (4, 4). Without a known mount the body is the camera itself."""

    T_map_odom: Float64Array
    T_odom_base: Float64Array
    T_base_camera: Float64Array
    T_step: Float64Array  # of the body since the frame before, in the body's own frame

    @property
    def T_map_base(self) -> Float64Array:
        """Return the body in the map."""
        return self.T_map_odom @ self.T_odom_base

    @property
    def T_map_camera(self) -> Float64Array:
        """Return the optical camera in the map."""
        return self.T_map_base @ self.T_base_camera


class PoseIntegrator:
    """Chains the steps of one camera."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start over: odom, too, begins anew."""
        self.T_map_odom: Float64Array = np.eye(4)
        self._T_odom_base: Float64Array | None = None
        self._T_base_camera: Float64Array = np.eye(4)
        self.start_new_map()

    def start_new_map(self) -> None:
        """Let the next frame open a new map where the body stands; odom goes on."""
        self._T_world_camera: Float64Array | None = None  # the next frame is the first of its world
        self._count = 0

    @property
    def awaits_first_frame(self) -> bool:
        """Tell whether the next frame opens a map."""
        return self._T_world_camera is None

    @property
    def T_base_camera(self) -> Float64Array:
        """Return the mount at the last frame (4, 4)."""
        return self._T_base_camera

    @property
    def T_map_base(self) -> Float64Array | None:
        """Return where the body was last; None before the first frame."""
        return None if self._T_odom_base is None else self.T_map_odom @ self._T_odom_base

    def integrate(
        self,
        T_world_camera: Float64Array,
        scale: float,
        T_base_camera: Float64Array | None = None,
        up_camera: Float64Array | None = None,
    ) -> BodyPose:
        """Take the next frame: its pose in the network's world, meters per unit of it, the mount, where up is.

        Only the first frame of a map uses ``up_camera`` (3,); without it, the mount or else the camera is level.
        """
        T_base_camera_before = self._T_base_camera
        if T_base_camera is not None:
            self._T_base_camera = T_base_camera
        if self._T_world_camera is None:
            body_pose = self._place_first_frame(T_base_camera, up_camera)
        else:
            # Seen from the mounts then and now: a camera that turns on its mast does not turn the body.
            T_step_camera = se3_inverse(self._T_world_camera) @ T_world_camera
            T_step_camera[:3, 3] *= scale
            body_pose = self._integrate_step(
                T_base_camera_before @ T_step_camera @ se3_inverse(self._T_base_camera)
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

    def _integrate_step(self, T_step: Float64Array) -> BodyPose:
        assert self._T_odom_base is not None
        T_odom_base = self._T_odom_base @ T_step
        self._count += 1
        if self._count % _RENEW_EVERY == 0:
            T_odom_base = orthonormalize(T_odom_base)
        return BodyPose(self.T_map_odom, T_odom_base, self._T_base_camera, T_step)

    def correct(self, T_map_map: Float64Array) -> None:
        """Move everything in the map by a rigid motion (4, 4): late leveling."""
        self.T_map_odom = T_map_map @ self.T_map_odom

    def set_pose(self, T_map_base: Float64Array) -> None:
        """Believe that the body is here in the map (4, 4); before the first frame this does nothing."""
        if self._T_odom_base is not None:
            self.T_map_odom = T_map_base @ se3_inverse(self._T_odom_base)

    def restore(
        self, T_map_base: Float64Array, T_base_camera: Float64Array, T_world_camera: Float64Array
    ) -> None:
        """Go on from a saved session: the body stands here in the map, the network's camera there in its world."""
        if self._T_odom_base is None:
            self._T_odom_base = T_map_base
        self.T_map_odom = T_map_base @ se3_inverse(self._T_odom_base)
        self._T_base_camera = T_base_camera
        self._T_world_camera = T_world_camera


def initial_body_pose(
    T_base_camera: Float64Array | None, up_camera: Float64Array | None
) -> Float64Array:
    """Return T_map_base (4, 4) of the first frame: at the origin, looking along x, z up."""
    if up_camera is None:
        return T_BODY_OPTICAL if T_base_camera is None else np.eye(4)
    if T_base_camera is None:
        return leveled(up_camera)
    up_base = T_base_camera[:3, :3] @ up_camera
    return leveled(T_BODY_OPTICAL[:3, :3].T @ up_base) @ se3_inverse(T_BODY_OPTICAL)
