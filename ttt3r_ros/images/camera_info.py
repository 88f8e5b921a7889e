# SPDX-License-Identifier: Apache-2.0
"""A camera as sensor_msgs/CameraInfo describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ttt3r_ros.types import Intrinsics


def calibration_fields(intrinsics: Intrinsics) -> dict[str, Any]:
    """Return the message's fields for one camera by itself: no rectifying rotation, no second camera."""
    fx, fy, cx, cy = intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy
    return {
        "width": intrinsics.width,
        "height": intrinsics.height,
        "distortion_model": intrinsics.distortion_model or "plumb_bob",
        "d": list(intrinsics.distortion) or [0.0] * 5,
        "k": [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
        "r": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        "p": [fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    }
