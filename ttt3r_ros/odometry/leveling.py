# SPDX-License-Identifier: Apache-2.0
"""Leveling: the up direction and the height of the floor, from the mount, gravity or a plane fitted to the points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.geometry import so3_exp
from ttt3r_ros.odometry.ground_plane import Floor, fit_floor
from ttt3r_ros.state_dict import StateReader, pack_optional

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ttt3r_ros.odometry.sensor_context import SensorContext
    from ttt3r_ros.odometry.session import FrameEstimate
    from ttt3r_ros.state_dict import StateDict
    from ttt3r_ros.types import Float64Array

_UP_IN_LEVEL_CAMERA: Float64Array = np.array([0.0, -1.0, 0.0])
_FIT_INTERVAL = 10  # frames between two fits of the floor unless every frame needs one
_MAX_FLOOR_Z = 1e10  # [m]; a saved height beyond it is damage
_HEIGHT_EMA = 0.2  # weight of a new height of the floor


class Leveling:
    """Detects the floor at intervals and tracks its height in the map.

    ``level_source`` is the setting of this name; ``on_robot``: the body is the base of a robot.
    """

    def __init__(self, level_source: str, *, on_robot: bool) -> None:
        self._level_source, self._on_robot = level_source, on_robot
        self.reset()

    def reset(self) -> None:
        """Discard floor and up direction."""
        self.floor_z: float | None = None  # height of the floor in the map [m]
        self._frames = 0
        self._is_leveled = self._level_source != "floor"
        self._up_camera = _UP_IN_LEVEL_CAMERA

    def detect_floor(
        self, estimate: FrameEstimate, context: SensorContext, *, required: bool
    ) -> Floor | None:
        """Return the floor under the camera in the network's unit; None if no fit is due or none succeeds."""
        due = required or not self._is_leveled or self._frames % _FIT_INTERVAL == 0
        self._frames += 1
        if self.floor_z is None and context.T_base_camera is not None and self._on_robot:
            self.floor_z = 0.0  # a robot's base stands on the floor, until a fit gives another height
        if not due:
            return None
        self._update_up(context)
        prediction = estimate.prediction
        confident = prediction.confidence >= np.median(prediction.confidence)
        return fit_floor(prediction.points_camera[confident], self._up_camera)

    def _update_up(self, context: SensorContext) -> None:
        if context.up_camera is not None:
            self._up_camera = context.up_camera
        elif context.T_base_camera is not None:
            self._up_camera = context.T_base_camera[2, :3]  # z axis of the body in the camera

    def initial_up(self, context: SensorContext, floor: Floor | None) -> Float64Array | None:
        """Return the up direction (3,) in the camera for the first frame of a map; None: use the mount."""
        if self._level_source == "floor" and floor is not None:
            self._is_leveled = True
            return floor.normal
        return context.up_camera if self._level_source in ("auto", "imu") else None

    def update(
        self, T_map_camera: Float64Array, floor: Floor | None, scale: float
    ) -> Float64Array | None:
        """Update the height of the floor; return the correction (4, 4) that levels the map, once, else None."""
        self._up_camera = T_map_camera[2, :3]
        if floor is None:
            return None
        T_level = None
        if not self._is_leveled:
            self._is_leveled = True
            T_level = _rotation_to_up(T_map_camera[:3, :3] @ floor.normal)
            T_map_camera = T_level @ T_map_camera
        detected_z = float(T_map_camera[2, 3]) - floor.height * scale
        if self.floor_z is None or T_level is not None:
            self.floor_z = detected_z
        else:
            self.floor_z += _HEIGHT_EMA * (detected_z - self.floor_z)
        return T_level

    def continue_map(self, other: Leveling) -> None:
        """Continue with the floor of a map that another session leveled."""
        self.floor_z = other.floor_z
        self._is_leveled = other._is_leveled or self._level_source != "floor"

    def state_dict(self) -> StateDict:
        """Return floor and up direction."""
        return {
            "floor_z": pack_optional(self.floor_z, np.float64, ()),
            "frames": self._frames,
            "is_leveled": self._is_leveled,
            "up_camera": self._up_camera.copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`.

        Raises:
            SourceError: an entry is invalid; nothing has changed.
        """
        with StateReader(state, "leveling") as read:
            floor_z = read.optional("floor_z", np.float64, ())
            read.require(
                floor_z is None or bool(abs(floor_z) <= _MAX_FLOOR_Z), f"floor_z is {floor_z} m"
            )
            frames, is_leveled = read.integer("frames"), read.boolean("is_leveled")
            up_camera = read.array("up_camera", np.float64, (3,))
            length = float(np.linalg.norm(up_camera))
            read.require(abs(length - 1.0) < 0.01, f"up_camera has length {length}; expected 1")
        self.floor_z = None if floor_z is None else float(floor_z)
        self._frames, self._is_leveled, self._up_camera = frames, is_leveled, up_camera


def _rotation_to_up(up_map: Float64Array) -> Float64Array:
    """Return the smallest rotation about the origin (4, 4) that aligns a unit vector with z."""
    axis = np.cross(up_map, [0.0, 0.0, 1.0])
    sine = float(np.linalg.norm(axis))
    angle = float(np.arctan2(sine, up_map[2]))
    T: Float64Array = np.eye(4)
    if sine > 1e-12:
        T[:3, :3] = so3_exp(axis / sine * angle)
    return T
