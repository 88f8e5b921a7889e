# SPDX-License-Identifier: Apache-2.0
"""Conversion from and to sensor_msgs/CameraInfo, and the rule which of its matrices describes an image topic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.images.calibration import Calibration

if TYPE_CHECKING:
    from ttt3r_ros.types import Intrinsics

# Words in the names of image topics.
_RECTIFIED = {"rect", "rectified", "undistorted", "undistort"}
_RAW = {"raw", "distorted", "unrectified"}
_TRANSPORTS = {"compressed", "theora", "ffmpeg", "zstd"}


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


def calibration_from_camera_info(msg: Any) -> Calibration:
    """Return the calibration of a CameraInfo of ROS 1 or 2; `Calibration.intrinsics` checks it."""
    k, d, p = (msg.k, msg.d, msg.p) if hasattr(msg, "k") else (msg.K, msg.D, msg.P)  # ROS 1: capitals
    roi = msg.roi
    projection = _pinhole(p, (0, 5, 2, 6))
    return Calibration(
        _pinhole(k, (0, 4, 2, 5)),
        int(msg.width),
        int(msg.height),
        str(msg.distortion_model),
        tuple(float(value) for value in d),
        projection if any(projection) else None,
        (int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height)),
        (int(msg.binning_x) or 1, int(msg.binning_y) or 1),
    )


def shows_rectified_images(images_rectified: str, topic: str) -> bool:
    """Return whether images of a resolved topic are rectified; the setting is on, off or auto.

    auto decides by the names of image_proc and camera drivers: image_rect, image_rect_color, rect/image,
    image_rect/compressed.
    """
    if images_rectified != "auto":
        return images_rectified == "on"
    parts = [set(part.lower().split("_")) for part in topic.split("/") if part]
    while parts and parts[-1] & _TRANSPORTS:
        parts.pop()
    if not parts or (not parts[-1] & _RECTIFIED and parts[-1] & _RAW):
        return False
    return any(part & _RECTIFIED and "not" not in part for part in parts[-2:])


def _pinhole(matrix: Any, places: tuple[int, int, int, int]) -> tuple[float, float, float, float]:
    fx, fy, cx, cy = (float(matrix[place]) for place in places)
    return fx, fy, cx, cy
