# SPDX-License-Identifier: Apache-2.0
"""Which way is up, and where the floor is: from the mount, gravity, or a plane fitted to what the camera sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import so3_exp
from ttt3r_ros.odometry.ground_plane import Floor, fit_floor

if TYPE_CHECKING:
    from ttt3r_ros.odometry.sensor_context import SensorContext
    from ttt3r_ros.odometry.session import FrameEstimate
    from ttt3r_ros.types import Float64Array

_UP_OF_A_LEVEL_CAMERA: Float64Array = np.array([0.0, -1.0, 0.0])
_LOOK_EVERY = 10  # frames between two fits while nobody needs them sooner
_FOLLOW = 0.2  # weight of a new height of the floor


class Leveling:
    """Finds the floor now and then; remembers its height in the map. ``on_robot``: the body is a robot's base."""

    def __init__(self, level_source: str, *, on_robot: bool) -> None:
        self._level_source, self._on_robot = level_source, on_robot
        self.reset()

    def reset(self) -> None:
        """Forget the floor."""
        self.floor_z: float | None = None  # height of the floor in the map [m]
        self._frames = 0
        self._leveled = self._level_source != "floor"
        self._up_camera = _UP_OF_A_LEVEL_CAMERA

    def detect_floor(
        self, estimate: FrameEstimate, context: SensorContext, *, required: bool
    ) -> Floor | None:
        """Return the floor under the camera in the network's units, where it is due to be looked for and seen."""
        due = required or not self._leveled or self._frames % _LOOK_EVERY == 0
        self._frames += 1
        if self.floor_z is None and context.T_base_camera is not None and self._on_robot:
            self.floor_z = 0.0  # the body on_robot on it, until it is seen elsewhere
        if not due:
            return None
        prediction = estimate.prediction
        sure = prediction.confidence >= np.median(prediction.confidence)
        up = context.up_camera
        if up is None and context.T_base_camera is not None:
            up = context.T_base_camera[2, :3]  # the body's z, seen from the camera
        self._up_camera = self._up_camera if up is None else up
        return fit_floor(prediction.points_camera[sure], self._up_camera)

    def initial_up(self, context: SensorContext, floor: Floor | None) -> Float64Array | None:
        """Return which way is up in the camera (3,) for a map that begins with this frame; None: as the mount is."""
        if self._level_source == "floor" and floor is not None:
            self._leveled = True
            return floor.normal
        return context.up_camera if self._level_source in ("auto", "imu") else None

    def update(
        self, T_map_camera: Float64Array, floor: Floor | None, scale: float
    ) -> Float64Array | None:
        """Return what makes the map level (4, 4), once, if the floor was found only now; note the floor's height."""
        self._up_camera = T_map_camera[2, :3]
        if floor is None:
            return None
        T_level = None
        if not self._leveled:
            self._leveled = True
            T_level = _rotation_to_up(T_map_camera[:3, :3] @ floor.normal)
            T_map_camera = T_level @ T_map_camera
        seen_z = float(T_map_camera[2, 3]) - floor.height * scale
        known = self.floor_z
        self.floor_z = (
            seen_z if known is None or T_level is not None else known + _FOLLOW * (seen_z - known)
        )
        return T_level


def _rotation_to_up(up_map: Float64Array) -> Float64Array:
    """Return the smallest turn about the origin (4, 4) after which a unit vector points along z."""
    axis = np.cross(up_map, [0.0, 0.0, 1.0])
    sine = float(np.linalg.norm(axis))
    angle = float(np.arctan2(sine, up_map[2]))
    T: Float64Array = np.eye(4)
    if sine > 1e-12:
        T[:3, :3] = so3_exp(axis / sine * angle)
    return T
