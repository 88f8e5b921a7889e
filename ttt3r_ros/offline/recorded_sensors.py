# SPDX-License-Identifier: Apache-2.0
"""What the robot around the camera says, from the transforms of a recording; the rules are those of `ros.robot`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.errors import ConfigError, SourceError, Ttt3rError
from ttt3r_ros.transforms import frame_ids as camera_frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from ttt3r_ros.config import Config
    from ttt3r_ros.io.sequence import ImageSequence
    from ttt3r_ros.types import Float32Array, Float64Array


class UnplacedError(Ttt3rError):
    """A robot's image cannot be placed: the mount of its camera is not known at that time."""


class RecordedSensors:
    """Answers at the stamp of an image; what is not known it says once, by ``complain``."""

    def __init__(self, config: Config, source: ImageSequence, complain: Callable[[str], None]) -> None:
        """Open what the source has beside its images.

        Raises:
            ConfigError: the settings want transforms or depths that the source does not have.
        """
        self._config = config
        self._complain = complain
        self._complaints: set[str] = set()
        self._transforms = _transforms_of(source)
        self._true_depth_m = getattr(source, "true_depth_m", None)
        if config.on_robot and self._transforms is None:
            msg = f"tf_mode is {config.tf_mode}, and the source has no transforms (/tf, /tf_static)"
            raise ConfigError(msg)
        if config.scale.source == "depth" and self._true_depth_m is None:
            msg = "scale.source is depth, and the source has no measured depth"
            raise ConfigError(msg)

    def camera_frame(self, header_frame: str) -> str:
        """Return the name of the camera's frame."""
        return camera_frames.camera_frame(self._config, header_frame)

    def optical_frame(self, header_frame: str) -> str:
        """Return the name of the frame that images, depths and points are stated in."""
        return camera_frames.optical_frame(self._config, header_frame)

    def body_frame(self, header_frame: str) -> str:
        """Return the frame that moves in odom or map: the robot's base, or the root of the camera's own tree."""
        return camera_frames.body_frame(self._config, header_frame, self._root_of)

    def _root_of(self, frame: str) -> str:
        if self._transforms is None:
            return frame
        return str(self._transforms.root_of(frame, below={self._config.map_frame}))

    def mount(self, header_frame: str, stamp_ns: int) -> Float64Array | None:
        """Return T_body_camera (4, 4) of the optical camera; None: the camera is the body.

        Raises:
            UnplacedError: the mount of a robot's camera is not known at that time.
        """
        if self._config.tf_mode == "none":
            return None
        camera, body = self.camera_frame(header_frame), self.body_frame(header_frame)
        T_camera_optical = camera_frames.T_camera_optical(self._config)
        if body == camera:
            return None if camera_frames.is_optical(self._config) else T_camera_optical
        T = self._lookup(body, camera, stamp_ns)
        if T is None:
            msg = f"no transform {body} -> {camera} at its stamp"
            raise UnplacedError(msg)
        return T @ T_camera_optical

    def odometry(self, stamp_ns: int) -> Float64Array | None:
        """Return T_odom_base (4, 4) of somebody else's odometry; None if it is not known at that time."""
        if self._config.tf_mode != "map_odom":
            return None
        odom, base = self._config.odom_frame, self._config.base_frame
        T = self._lookup(odom, base, stamp_ns)
        if T is None:
            self._complain_once(f"no transform {odom} -> {base} at {stamp_ns} (and maybe later)")
        return T

    def measured_depth(self, stamp_ns: int) -> Float32Array | None:
        """Return the measured depth (H, W) [m] of this image, NaN unknown; None if there is none, or it is damaged."""
        if self._config.scale.source != "depth" or self._true_depth_m is None:
            return None
        try:
            depth: Float32Array | None = self._true_depth_m(stamp_ns)
        except SourceError as error:
            self._complain(f"no depth for the scale: {error}")
            return None
        return None if depth is None else np.where(depth > 0, depth, np.float32(np.nan))

    def _lookup(self, parent: str, child: str, stamp_ns: int) -> Float64Array | None:
        T: Float64Array | None = (
            None if self._transforms is None else self._transforms.lookup(parent, child, stamp_ns)
        )
        return T

    def _complain_once(self, text: str) -> None:
        if text not in self._complaints:
            self._complaints.add(text)
            self._complain(text)


def _transforms_of(source: Any) -> Any:
    transforms = getattr(source, "transforms", None)
    return None if transforms is None else transforms()
