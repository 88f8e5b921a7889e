# SPDX-License-Identifier: Apache-2.0
"""Conversion between `Intrinsics` and the fields of sensor_msgs/CameraInfo."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ttt3r_ros.types import Intrinsics


def camera_info_fields(intrinsics: Intrinsics) -> dict[str, Any]:
    """Return the calibration fields of a monocular camera: R is the identity, P is K without distortion."""
    fx, fy, cx, cy = intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy
    return {
        "width": intrinsics.width,
        "height": intrinsics.height,
        "distortion_model": intrinsics.distortion_model or "plumb_bob",
        "d": np.array(intrinsics.distortion or (0.0,) * 5),
        "k": np.array([fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]),
        "r": np.eye(3).ravel(),
        "p": np.array([fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]),
    }


def intrinsics_from_camera_info(msg: Any) -> Intrinsics | None:
    """Return the calibration of a CameraInfo of ROS 1 or 2; None: uncalibrated (K[0] = 0) or invalid."""
    k, d = (msg.k, msg.d) if hasattr(msg, "k") else (msg.K, msg.D)  # ROS 1 has capital names
    fx, cx, fy, cy = (float(k[index]) for index in (0, 2, 4, 5))
    is_finite = all(math.isfinite(value) for value in (fx, cx, fy, cy))
    if not is_finite or min(fx, fy, msg.width, msg.height) <= 0:
        return None
    distortion = tuple(float(value) for value in d)
    return Intrinsics(fx, fy, cx, cy, msg.width, msg.height, msg.distortion_model, distortion)
