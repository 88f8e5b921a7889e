# SPDX-License-Identifier: Apache-2.0
"""Sensors of the robot: mounts and odometry on /tf, gravity, odometry and depth on topics."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from nav_msgs.msg import Odometry
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image, Imu

from ttt3r_ros.errors import ImageError
from ttt3r_ros.geometry import normalize_quaternion
from ttt3r_ros.pipeline.sensors import Sensors
from ttt3r_ros.ros import image_messages, messages
from ttt3r_ros.ros.sent_transforms import SentTransforms
from ttt3r_ros.ros.transform_buffer import TransformBuffer
from ttt3r_ros.ros.transform_listener import transform_listener
from ttt3r_ros.transforms.gravity_estimator import GravityEstimator
from ttt3r_ros.transforms.mount import CameraMount
from ttt3r_ros.transforms.tree import TransformError

if TYPE_CHECKING:
    from rclpy.node import Node

    from ttt3r_ros.config import Config
    from ttt3r_ros.ros.throttled_warnings import ThrottledWarnings
    from ttt3r_ros.types import Float32Array, Float64Array

_ODOM, _BASE = "odometry topic: odom", "odometry topic: base"  # in a buffer of their own
_MAX_DEPTHS = 15  # messages
_DEPTH_TOLERANCE_NS = 50_000_000
_MAX_FORCE, _MAX_TURN = 1e5, 1e5  # m/s2, rad/s; more than any IMU measures


class RobotSensors(Sensors):
    """Reads the robot's sensors at the stamp of an image; called by the worker, filled by the executor."""

    def __init__(self, node: Node, config: Config, warnings: ThrottledWarnings) -> None:
        self.sent_transforms = SentTransforms(node, warnings)
        self.transforms = transform_listener(node, warnings, self.sent_transforms.receive)
        # Maps of this node: the tree of a camera ends below them.
        self.map_frames: set[str] = {config.map_frame}
        super().__init__(config, CameraMount(config, self._lookup, self._root_of, self._wait_for_parent))
        self._warnings = warnings
        self._gravity = GravityEstimator()
        self._imu_frame = ""
        self._odometry = TransformBuffer()
        self._depths: deque[tuple[int, Float32Array]] = deque(maxlen=_MAX_DEPTHS)
        if config.level_source in ("auto", "imu"):
            node.create_subscription(Imu, "imu", self._on_imu, qos_profile_sensor_data)
        if config.scale.source == "odometry" and config.tf_mode != "map_odom":
            node.create_subscription(Odometry, "odometry", self._on_odometry, qos_profile_sensor_data)
        if config.scale.source == "depth":
            node.create_subscription(
                Image, "depth_registered/image_rect", self._on_depth, qos_profile_sensor_data
            )

    def clear(self) -> None:
        """Drop all data with a stamp, for example after a jump back in time."""
        self.transforms.clear()
        self._odometry.clear()
        self._depths.clear()
        self._gravity = GravityEstimator()

    # --- transforms ---------------------------------------------------------------------------------

    def _lookup(self, parent: str, child: str, stamp_ns: int) -> Float64Array:
        return self.transforms.lookup(parent, child, stamp_ns, self._config.transform_timeout)

    def _root_of(self, frame: str) -> str:
        return self.transforms.root_of(frame, below=self.map_frames)

    def _wait_for_parent(self, frame: str) -> None:
        self.transforms.wait_for(frame, self._config.transform_timeout)

    # --- data at a stamp ----------------------------------------------------------------------------

    def _odometry_topic(self, stamp_ns: int) -> Float64Array | None:
        return self._odometry.lookup(_ODOM, _BASE, stamp_ns, self._config.transform_timeout)

    def _up_camera(self, header_frame: str) -> Float64Array | None:
        """Return the direction against gravity (3,) in the optical camera; None if it is unknown.

        Raises:
            TransformError: it is unknown, and ``level_source`` is imu.
        """
        if self._config.level_source not in ("auto", "imu"):
            return None
        up_imu = self._gravity.up()
        if up_imu is None:
            if self._config.level_source == "imu":
                msg = "level_source is imu, and no usable message has arrived on topic imu"
                raise TransformError(msg)
            return None
        try:
            T = self.transforms.lookup(self.mount.camera_frame(header_frame), self._imu_frame, None)
        except TransformError as error:
            if self._config.level_source == "imu":
                msg = f"level_source is imu, and the mount of the imu is unknown: {error}"
                raise TransformError(msg) from error
            self._warnings.warn(f"the imu cannot level the map, its mount is unknown: {error}")
            return None
        return self.mount.T_camera_optical[:3, :3].T @ T[:3, :3] @ up_imu

    def _measured_depth(self, stamp_ns: int) -> Float32Array | None:
        near = min(self._depths, key=lambda entry: abs(entry[0] - stamp_ns), default=None)
        if near is None or abs(near[0] - stamp_ns) > _DEPTH_TOLERANCE_NS:
            self._warnings.warn(
                f"no message on topic depth_registered/image_rect within {_DEPTH_TOLERANCE_NS * 1e-9} s of the image"
            )
            return None
        return near[1]

    def _warn(self, kind: str, text: str) -> None:  # noqa: ARG002 - the warnings have kinds of their own
        self._warnings.warn(text)

    # --- messages -----------------------------------------------------------------------------------

    def _on_imu(self, msg: Imu) -> None:
        self._imu_frame = msg.header.frame_id.lstrip("/")
        force, turn = msg.linear_acceleration, msg.angular_velocity
        specific_force = np.array([force.x, force.y, force.z])
        if not (np.abs(specific_force) < _MAX_FORCE).all():  # also false for NaN
            reason = f"linear_acceleration is {specific_force.tolist()}, expected less than {_MAX_FORCE:g} m/s2"
            self._refuse("imu", msg.header.frame_id, reason)
            return
        self._gravity.add(
            messages.stamp_to_ns(msg.header.stamp),
            specific_force,
            np.array([turn.x, turn.y, turn.z]) if self._has_turn(msg) else None,
            self._imu_orientation(msg),
        )

    @staticmethod
    def _has_turn(msg: Imu) -> bool:
        turn = msg.angular_velocity
        # REP-145: -1 means absent. The comparison is also false for NaN.
        in_range = all(abs(value) < _MAX_TURN for value in (turn.x, turn.y, turn.z))
        return in_range and msg.angular_velocity_covariance[0] != -1.0

    def _imu_orientation(self, msg: Imu) -> Float64Array | None:
        """Return the orientation (4,) of an IMU, of any norm; None without a usable one."""
        q = msg.orientation
        quat_xyzw = np.array([q.x, q.y, q.z, q.w])
        # REP-145: -1 means absent. Drivers without an orientation leave it at zero.
        if msg.orientation_covariance[0] == -1.0 or not quat_xyzw.any():
            return None
        try:
            normalize_quaternion(quat_xyzw.tolist())
        except ValueError as error:
            self._refuse("imu", msg.header.frame_id, f"orientation: {error}")
            return None
        return quat_xyzw

    def _refuse(self, topic: str, frame: str, reason: str) -> None:
        self._warnings.warn(f"{topic}: message of '{frame}' refused: {reason}", kind=f"refused {topic}")

    def _on_odometry(self, msg: Odometry) -> None:
        try:
            T = messages.matrix_from_pose(msg.pose.pose)
        except ValueError as error:
            self._refuse("odometry", msg.header.frame_id, str(error))
            return
        self._odometry.add(_ODOM, _BASE, T, messages.stamp_to_ns(msg.header.stamp))

    def _on_depth(self, msg: Image) -> None:
        try:
            depth = image_messages.depth_from_image(msg)
        except ImageError as error:
            self._refuse("depth_registered/image_rect", msg.header.frame_id, str(error))
            return
        self._depths.append((messages.stamp_to_ns(msg.header.stamp), depth))
