# SPDX-License-Identifier: Apache-2.0
"""From results to messages. Optical frame for what a camera sees, the z-up map frame for where it was."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, TransformStamped, Twist, Vector3
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from ttt3r_ros.geometry import inverse, rotation_vector
from ttt3r_ros.ros import compat
from ttt3r_ros.types import Intrinsics

if TYPE_CHECKING:
    from ttt3r_ros.types import Float32Array, Float64Array, Update


def intrinsics_of(msg: CameraInfo) -> Intrinsics | None:
    """Return the calibration K in a CameraInfo; None where there is none (K[0] = 0) or it makes no sense."""
    used = [float(msg.k[index]) for index in (0, 2, 4, 5)]
    if not all(math.isfinite(value) for value in used) or min(used[0], used[2]) <= 0.0:
        return None
    if not msg.width or not msg.height:
        return None
    return Intrinsics(
        fx=msg.k[0],
        fy=msg.k[4],
        cx=msg.k[2],
        cy=msg.k[5],
        width=msg.width,
        height=msg.height,
        distortion_model=msg.distortion_model,
        distortion=tuple(msg.d),
    )


def header(stamp_ns: int, frame_id: str) -> Header:
    """Return a header with the stamp of the image."""
    return Header(stamp=compat.ns_to_stamp(stamp_ns), frame_id=frame_id)


def camera_info(intrinsics: Intrinsics, of: Header) -> CameraInfo:
    """Describe the camera of a depth image; same stamp, frame and size as that image."""
    fx, fy, cx, cy = intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy
    return CameraInfo(
        header=of,
        width=intrinsics.width,
        height=intrinsics.height,
        distortion_model=intrinsics.distortion_model or "plumb_bob",
        d=list(intrinsics.distortion) or [0.0] * 5,
        k=[fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def depth_of(update: Update, min_confidence: float) -> Float32Array:
    """Return depth along the optical axis [m] (h, w); NaN where unsure or behind the camera (REP-117)."""
    prediction = update.prediction
    depth = prediction.points_camera[..., 2]
    valid = (prediction.confidence >= min_confidence) & (depth > 0)
    return np.where(valid, depth, np.float32(np.nan))


def depth_image(update: Update, min_confidence: float, of: Header) -> Image:
    """Return the depth image, 32FC1 in metres (REP-118)."""
    return compat.float_image(depth_of(update, min_confidence), of.stamp, of.frame_id)


def confidence_image(update: Update, of: Header) -> Image:
    """Return the confidence image, 32FC1, 1 to infinity."""
    return compat.float_image(update.prediction.confidence, of.stamp, of.frame_id)


def depth_from_image(msg: Image) -> Float32Array:
    """Return the values (H, W) of a 32FC1 image as this package publishes it."""
    return np.frombuffer(msg.data, np.float32).reshape(msg.height, msg.width).copy()


def frame_cloud(update: Update, min_confidence: float, of: Header) -> PointCloud2:
    """Return the coloured points of one frame in the optical frame, without the unsure ones."""
    prediction = update.prediction
    valid = (prediction.confidence >= min_confidence) & (prediction.points_camera[..., 2] > 0)
    points, rgb = prediction.points_camera[valid], prediction.rgb[valid]
    return compat.cloud_from_arrays(points, rgb, of.stamp, of.frame_id)


def pose(T: Float64Array) -> Pose:
    """Return a rigid motion (4, 4) as a pose."""
    x, y, z, w = compat.quaternion_xyzw_from_matrix(T)
    return Pose(
        position=Point(x=float(T[0, 3]), y=float(T[1, 3]), z=float(T[2, 3])),
        orientation=Quaternion(x=x, y=y, z=z, w=w),
    )


def pose_stamped(T: Float64Array, of: Header) -> PoseStamped:
    """Return a stamped pose in the header's frame."""
    return PoseStamped(header=of, pose=pose(T))


def transform_stamped(T: Float64Array, of: Header, child_frame: str) -> TransformStamped:
    """Return the transform from the header's frame to its child."""
    placed = pose(T)
    message = TransformStamped(header=of, child_frame_id=child_frame)
    position = placed.position
    message.transform.translation = Vector3(x=position.x, y=position.y, z=position.z)
    message.transform.rotation = placed.orientation
    return message


_UNKNOWN = 1e3  # variance [m2, rad2] that no filter will take for knowledge; zero would mean perfect
_UNKNOWN_COVARIANCE = [_UNKNOWN if row == column else 0.0 for row in range(6) for column in range(6)]


def odometry(T: Float64Array, twist: Twist, of: Header, child_frame: str) -> Odometry:
    """Return odometry: pose in the header's frame, twist in the child's."""
    message = Odometry(header=of, child_frame_id=child_frame)
    message.pose.pose = pose(T)
    message.twist.twist = twist
    message.pose.covariance = _UNKNOWN_COVARIANCE
    message.twist.covariance = _UNKNOWN_COVARIANCE
    return message


def twist_between(T_before: Float64Array, T_after: Float64Array, seconds: float) -> Twist:
    """Return the mean velocity between two poses, in the frame of the moving camera; zero for no time."""
    if seconds <= 0.0:
        return Twist()
    motion = inverse(T_before) @ T_after
    linear = motion[:3, 3] / seconds
    angular = rotation_vector(motion[:3, :3]) / seconds
    return Twist(
        linear=Vector3(x=float(linear[0]), y=float(linear[1]), z=float(linear[2])),
        angular=Vector3(x=float(angular[0]), y=float(angular[1]), z=float(angular[2])),
    )
