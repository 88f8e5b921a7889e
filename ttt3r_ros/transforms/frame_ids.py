# SPDX-License-Identifier: Apache-2.0
"""How frames are named after the settings and the image's header: the same live and on a recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import T_BODY_OPTICAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from ttt3r_ros.config import Config
    from ttt3r_ros.types import Float64Array

FALLBACK_CAMERA_FRAME = "camera_optical_frame"  # for drivers that leave header.frame_id empty


def camera_frame(config: Config, header_frame: str) -> str:
    """Return the name of the camera's frame on /tf."""
    return config.camera_frame or header_frame.lstrip("/") or FALLBACK_CAMERA_FRAME


def optical_frame(config: Config, header_frame: str) -> str:
    """Return the name of the frame that images, depths and points are stated in."""
    frame = camera_frame(config, header_frame)
    return frame if is_optical(config) else f"{frame}_optical_frame"


def body_frame(config: Config, header_frame: str, root_of: Callable[[str], str]) -> str:
    """Return the frame that moves in odom or map: the robot's base, or the root of the camera's own tree."""
    if config.on_robot:
        return config.base_frame
    if config.tf_mode == "none":
        return optical_frame(config, header_frame)
    return root_of(camera_frame(config, header_frame))


def is_optical(config: Config) -> bool:
    """Tell whether the camera's frame is an optical one (z forward)."""
    return config.camera_frame_convention == "optical"


def T_camera_optical(config: Config) -> Float64Array:
    """Return the optical camera in the camera's frame (4, 4)."""
    return np.eye(4) if is_optical(config) else T_BODY_OPTICAL
