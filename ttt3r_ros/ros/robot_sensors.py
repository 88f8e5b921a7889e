# SPDX-License-Identifier: Apache-2.0
"""What the robot around the camera says: mounts and odometry on /tf, gravity, odometry and depth on topics."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from nav_msgs.msg import Odometry
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image, Imu

from ttt3r_ros.errors import ImageError
from ttt3r_ros.ros import image_messages, messages
from ttt3r_ros.ros.transform_buffer import TransformBuffer
from ttt3r_ros.ros.transform_listener import transform_listener
from ttt3r_ros.transforms import frame_ids as camera_frames
from ttt3r_ros.transforms.gravity_estimator import GravityEstimator
from ttt3r_ros.transforms.tree import TransformError

if TYPE_CHECKING:
    from rclpy.node import Node

    from ttt3r_ros.config import Config
    from ttt3r_ros.ros.throttled_warnings import ThrottledWarnings
    from ttt3r_ros.types import Float32Array, Float64Array

_ODOM, _BASE = "odometry topic: odom", "odometry topic: base"  # in a buffer of their own
_DEPTHS = 15
_DEPTH_TOLERANCE_NS = 50_000_000


class RobotSensors:
    """Answers, at the stamp of an image; called by the worker, filled by the executor."""

    def __init__(self, node: Node, config: Config, warnings: ThrottledWarnings) -> None:
        self.config = config
        self._warnings = warnings
        self.transforms = transform_listener(node)
        self._gravity = GravityEstimator()
        self._imu_frame = ""
        self._odometry = TransformBuffer()
        self._depths: deque[tuple[int, Float32Array]] = deque(maxlen=_DEPTHS)
        self.map_frames: set[str] = {config.map_frame}  # ours: a camera's tree ends below them
        self._waited_for: set[str] = set()  # cameras whose tree was given time to appear
        if config.level_source in ("auto", "imu"):
            node.create_subscription(Imu, "imu", self._take_imu, qos_profile_sensor_data)
        if config.scale.source == "odometry" and config.tf_mode != "map_odom":
            node.create_subscription(Odometry, "odometry", self._take_odometry, qos_profile_sensor_data)
        if config.scale.source == "depth":
            node.create_subscription(
                Image, "depth_registered/image_rect", self._take_depth, qos_profile_sensor_data
            )

    def clear(self) -> None:
        """Forget what has a time, as when time went back."""
        self.transforms.clear()
        self._odometry.clear()
        self._depths.clear()
        self._gravity = GravityEstimator()

    # --- frames -------------------------------------------------------------------------------------

    def camera_frame(self, header_frame: str) -> str:
        """Return the name of the camera's frame on /tf."""
        return camera_frames.camera_frame(self.config, header_frame)

    def optical_frame(self, header_frame: str) -> str:
        """Return the name of the frame that images, depths and points are stated in."""
        return camera_frames.optical_frame(self.config, header_frame)

    def body_frame(self, header_frame: str) -> str:
        """Return the frame that moves in odom or map: the robot's base, or the root of the camera's own tree."""
        root_of = partial(self.transforms.root_of, below=self.map_frames)
        return camera_frames.body_frame(self.config, header_frame, root_of)

    # --- answers ------------------------------------------------------------------------------------

    def mount(self, header_frame: str, stamp_ns: int) -> Float64Array | None:
        """Return T_body_camera (4, 4) of the optical camera; None: the camera is the body.

        Raises:
            TransformError: the mount of a robot's camera is not known at that time.
        """
        camera, body = self.camera_frame(header_frame), self.body_frame(header_frame)
        T_camera_optical = camera_frames.T_camera_optical(self.config)
        if self.config.tf_mode == "none":
            return None
        if self.config.tf_mode == "camera":
            body = self._given_time(camera, body, header_frame)
            if body == camera:
                return None if camera_frames.is_optical(self.config) else T_camera_optical
        try:
            T = self.transforms.lookup(body, camera, stamp_ns, self.config.transform_timeout)
        except TransformError as error:
            msg = f"waiting for the transform {body} -> {camera}: {error}"
            raise TransformError(msg) from error
        return T @ T_camera_optical

    def _given_time(self, camera: str, body: str, header_frame: str) -> str:
        """Let a camera's tree appear before the first image is placed without it."""
        if body != camera or camera in self._waited_for:
            return body
        self._waited_for.add(camera)
        self.transforms.wait_for(camera, self.config.transform_timeout)
        return self.body_frame(header_frame)

    def odometry(self, stamp_ns: int) -> Float64Array | None:
        """Return T_odom_base (4, 4) of somebody else's odometry, None with a warning if it is not known."""
        config = self.config
        try:
            if config.tf_mode == "map_odom":
                return self.transforms.lookup(
                    config.odom_frame, config.base_frame, stamp_ns, config.transform_timeout
                )
            if config.scale.source == "odometry":
                return self._odometry.lookup(_ODOM, _BASE, stamp_ns, config.transform_timeout)
        except TransformError as error:
            topic = "" if config.tf_mode == "map_odom" else " on topic odometry"
            self._warnings.warn(f"waiting for odometry{topic}: {error}")
        return None

    def up(self, header_frame: str) -> Float64Array | None:
        """Return the direction against gravity (3,) in the optical camera; None if it is not known.

        Raises:
            TransformError: it is asked for, and no IMU tells it or where it is mounted.
        """
        if self.config.level_source not in ("auto", "imu"):
            return None
        up_imu = self._gravity.up()
        if up_imu is None:
            if self.config.level_source == "imu":
                msg = (
                    "waiting for gravity on topic imu (level_source is imu): nothing usable has arrived"
                )
                raise TransformError(msg)
            return None
        try:
            T = self.transforms.lookup(self.camera_frame(header_frame), self._imu_frame, None)
        except TransformError as error:
            if self.config.level_source == "imu":
                msg = f"waiting for the mount of the imu: {error}"
                raise TransformError(msg) from error
            self._warnings.warn(f"the imu does not level the map: {error}")
            return None
        return camera_frames.T_camera_optical(self.config)[:3, :3].T @ T[:3, :3] @ up_imu

    def measured_depth(self, stamp_ns: int) -> Float32Array | None:
        """Return the measured depth (H, W) [m] nearest in time, NaN unknown; None if none is near."""
        if self.config.scale.source != "depth":
            return None
        near = min(self._depths, key=lambda entry: abs(entry[0] - stamp_ns), default=None)
        if near is None or abs(near[0] - stamp_ns) > _DEPTH_TOLERANCE_NS:
            self._warnings.warn(
                "waiting for depth on topic depth_registered/image_rect near the image's time"
            )
            return None
        return near[1]

    # --- messages -----------------------------------------------------------------------------------

    def _take_imu(self, msg: Imu) -> None:
        self._imu_frame = msg.header.frame_id.lstrip("/")
        force, turn, orientation = msg.linear_acceleration, msg.angular_velocity, msg.orientation
        absent = msg.orientation_covariance[0] == -1.0  # REP-145
        quat_xyzw = np.array([orientation.x, orientation.y, orientation.z, orientation.w])
        self._gravity.add(
            messages.stamp_to_ns(msg.header.stamp),
            np.array([force.x, force.y, force.z]),
            None if msg.angular_velocity_covariance[0] == -1.0 else np.array([turn.x, turn.y, turn.z]),
            None if absent or not quat_xyzw.any() else quat_xyzw,
        )

    def _take_odometry(self, msg: Odometry) -> None:
        try:
            T = messages.matrix_from_pose(msg.pose.pose)
        except ValueError as error:
            self._warnings.warn(f"odometry refused: {error}")
            return
        self._odometry.add(_ODOM, _BASE, T, messages.stamp_to_ns(msg.header.stamp))

    def _take_depth(self, msg: Image) -> None:
        try:
            depth = image_messages.depth_from_image(msg)
        except ImageError as error:
            self._warnings.warn(f"measured depth refused: {error}")
            return
        self._depths.append((messages.stamp_to_ns(msg.header.stamp), depth))
