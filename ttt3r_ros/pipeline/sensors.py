# SPDX-License-Identifier: Apache-2.0
"""Sensor data at the stamp of a frame, in two steps around the network: the same rules in the node and offline."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ttt3r_ros.odometry.sensor_context import SensorContext
from ttt3r_ros.transforms.tree import TransformError

if TYPE_CHECKING:
    from ttt3r_ros.config import Config
    from ttt3r_ros.transforms.mount import CameraMount
    from ttt3r_ros.types import Float32Array, Float64Array, Frame


@dataclass(frozen=True)
class MountContext:
    """Data that a frame needs before inference, since without a mount a robot's frame is skipped."""

    T_base_camera: Float64Array | None = None  # (4, 4) optical camera in the body; None: the same frame
    up_camera: Float64Array | None = None  # (3,) unit vector against gravity, in the optical camera


class Sensors(ABC):
    """Mount, gravity, external odometry and measured depth as the parameters request them."""

    def __init__(self, config: Config, mount: CameraMount) -> None:
        self._config = config
        self.mount = mount

    def configure(self, config: Config) -> None:
        """Apply changed parameters."""
        self._config = self.mount.config = config

    def before_inference(self, frame: Frame, *, is_first: bool) -> MountContext:
        """Return the mount and, for the first frame of a map, the direction up.

        Raises:
            TransformError: the mount, or the gravity of ``level_source`` imu, is unknown at the stamp of the frame.
        """
        return MountContext(
            self.mount.T_base_camera(frame.camera_frame, frame.stamp_ns),
            self._up_camera(frame.camera_frame) if is_first else None,
        )

    def after_inference(self, frame: Frame, mount: MountContext) -> SensorContext:
        """Add external odometry and measured depth. They may be younger than the image and arrive during inference."""
        return SensorContext(
            T_base_camera=mount.T_base_camera,
            T_odom_base=self._external_odometry(frame.stamp_ns),
            up_camera=mount.up_camera,
            measured_depth=self._depth_for_scale(frame.stamp_ns),
        )

    def _external_odometry(self, stamp_ns: int) -> Float64Array | None:
        try:
            if self._config.tf_mode == "map_odom":
                return self.mount.T_ext_odom_base(stamp_ns)
            if self._config.scale.source == "odometry":
                return self._odometry_topic(stamp_ns)
        except TransformError as error:
            self._warn("odometry", f"no external odometry: {error}")
        return None

    def _depth_for_scale(self, stamp_ns: int) -> Float32Array | None:
        return self._measured_depth(stamp_ns) if self._config.scale.source == "depth" else None

    @abstractmethod
    def _up_camera(self, header_frame: str) -> Float64Array | None:
        """Return the measured direction against gravity (3,) in the optical camera, if there is an IMU."""

    @abstractmethod
    def _odometry_topic(self, stamp_ns: int) -> Float64Array | None:
        """Return T_ext_odom_base (4, 4) of odometry that is no transform, if there is any."""

    @abstractmethod
    def _measured_depth(self, stamp_ns: int) -> Float32Array | None:
        """Return the measured depth (H, W) [m] of this image, NaN unknown, if there is any."""

    @abstractmethod
    def _warn(self, kind: str, text: str) -> None:
        """Log a warning that may repeat with every frame."""
