# SPDX-License-Identifier: Apache-2.0
"""From results to messages. Optical frame for what a camera sees, the z-up map frame for where it was."""

from __future__ import annotations

import array
import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from geometry_msgs.msg import (
    Point,
    Pose,
    PoseStamped,
    Quaternion,
    Transform,
    TransformStamped,
    Twist,
    Vector3,
)
from nav_msgs.msg import OccupancyGrid, Odometry
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from ttt3r_ros.geometry import mean_velocity
from ttt3r_ros.images.camera_info import calibration_fields
from ttt3r_ros.images.depth import decode_depth, depth_intrinsics, sent_depth
from ttt3r_ros.images.point_fields import POINT_DTYPE, packed_points, sure_points
from ttt3r_ros.ros import compat
from ttt3r_ros.types import Intrinsics

if TYPE_CHECKING:
    from ttt3r_ros.config import DepthConfig
    from ttt3r_ros.mapping.occupancy_grid import OccupancyGrid as Grid
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


def make_header(stamp_ns: int, frame_id: str) -> Header:
    """Return a header with the stamp of the image."""
    return Header(stamp=compat.ns_to_stamp(stamp_ns), frame_id=frame_id)


def camera_info(intrinsics: Intrinsics, header: Header) -> CameraInfo:
    """Describe the camera of a depth image; same stamp, frame and size as that image."""
    return CameraInfo(header=header, **calibration_fields(intrinsics))


def depth_image(update: Update, depth: Float32Array, config: DepthConfig, header: Header) -> Image:
    """Return `sure_depth` as an image (REP-118): 32FC1 in meters or 16UC1 in millimeters, at either resolution."""
    samples = sent_depth(depth, update.prediction.geometry, config)
    if samples.dtype == np.uint16:
        return compat.millimeter_image(samples, header.stamp, header.frame_id)
    return compat.float_image(samples, header.stamp, header.frame_id)


def depth_camera_info(update: Update, config: DepthConfig, header: Header) -> CameraInfo:
    """Describe the camera of that depth image."""
    return camera_info(depth_intrinsics(update, config), header)


def confidence_image(update: Update, header: Header) -> Image:
    """Return the confidence image, 32FC1, 1 to infinity, at the network's resolution."""
    return compat.float_image(update.prediction.confidence, header.stamp, header.frame_id)


def depth_from_image(msg: Image) -> Float32Array:
    """Return depth (H, W) [m], NaN unknown, of a 32FC1 image in meters or a 16UC1 image in millimeters.

    Raises:
        ImageError: it is another encoding, or its data do not fit its size.
    """
    return decode_depth(compat.raw_image(msg))


def frame_cloud(update: Update, depth: Float32Array, header: Header) -> PointCloud2:
    """Return the colored points of one frame in the optical frame, where `sure_depth` has a depth."""
    points, rgb = sure_points(update.prediction, depth)
    cloud = compat.cloud_from_arrays(points[:0], rgb[:0], header.stamp, header.frame_id)
    cloud.width = len(points)
    cloud.row_step = cloud.point_step * cloud.width
    cloud.data = array.array("B", b"\0") * cloud.row_step
    # Packed into the message itself: a full cloud is 3 MB, and another copy costs as much as packing.
    packed_points(points, rgb, out=np.frombuffer(cloud.data, dtype=POINT_DTYPE))
    return cloud


@lru_cache(maxsize=16)  # one place is stated in several messages of a frame
def _quaternion_xyzw(rotation: bytes) -> tuple[float, float, float, float]:
    return compat.quaternion_xyzw_from_matrix(np.frombuffer(rotation).reshape(3, 3))


def pose(T: Float64Array) -> Pose:
    """Return a rigid motion (4, 4) as a pose."""
    x, y, z, w = _quaternion_xyzw(np.asarray(T, dtype=np.float64)[:3, :3].tobytes())
    return Pose(
        position=Point(x=float(T[0, 3]), y=float(T[1, 3]), z=float(T[2, 3])),
        orientation=Quaternion(x=x, y=y, z=z, w=w),
    )


def matrix_from_transform(transform: Transform) -> Float64Array:
    """Return the rigid motion (4, 4) of a transform; raise ValueError on a quaternion of zeros."""
    return _matrix(transform.translation, transform.rotation)


def matrix_from_pose(placed: Pose) -> Float64Array:
    """Return the rigid motion (4, 4) of a pose; raise ValueError on a quaternion of zeros."""
    return _matrix(placed.position, placed.orientation)


def _matrix(position: Point | Vector3, turn: Quaternion) -> Float64Array:
    T: Float64Array = np.eye(4)
    T[:3, :3] = compat.matrix_from_quaternion_xyzw((turn.x, turn.y, turn.z, turn.w))
    T[:3, 3] = position.x, position.y, position.z
    return T


def pose_stamped(T: Float64Array, header: Header) -> PoseStamped:
    """Return a stamped pose in the header's frame."""
    return PoseStamped(header=header, pose=pose(T))


def transform_stamped(T: Float64Array, header: Header, child_frame: str) -> TransformStamped:
    """Return the transform from the header's frame to its child."""
    placed = pose(T)
    message = TransformStamped(header=header, child_frame_id=child_frame)
    position = placed.position
    message.transform.translation = Vector3(x=position.x, y=position.y, z=position.z)
    message.transform.rotation = placed.orientation
    return message


def odometry(
    update: Update, seconds: float, T: Float64Array, header: Header, child_frame: str
) -> Odometry:
    """Return odometry: the pose T (4, 4) in the header's frame, the mean velocity of the last step in the child's."""
    message = Odometry(header=header, child_frame_id=child_frame)
    message.pose.pose = pose(T)
    message.pose.covariance = update.pose_covariance.ravel().tolist()
    message.twist.twist = twist(update.T_step, seconds)
    message.twist.covariance = update.twist_covariance.ravel().tolist()
    return message


def twist(T_step: Float64Array, seconds: float) -> Twist:
    """Return the mean velocity of a motion (4, 4), in the frame of what moves; zero for no time."""
    linear, angular = mean_velocity(T_step, seconds)
    return Twist(
        linear=Vector3(x=float(linear[0]), y=float(linear[1]), z=float(linear[2])),
        angular=Vector3(x=float(angular[0]), y=float(angular[1]), z=float(angular[2])),
    )


def occupancy_grid(grid: Grid, header: Header) -> OccupancyGrid:
    """Return a grid of -1 unknown, 0 free, 100 occupied in the header's frame."""
    message = OccupancyGrid(header=header)
    message.info.map_load_time = header.stamp
    message.info.resolution = grid.resolution
    message.info.height, message.info.width = grid.values.shape
    message.info.origin.position.x, message.info.origin.position.y = grid.origin_x, grid.origin_y
    message.data = array.array("b", grid.values.tobytes())
    return message
