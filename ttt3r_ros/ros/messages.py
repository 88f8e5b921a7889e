# SPDX-License-Identifier: Apache-2.0
"""The node's messages as rclpy has them; `io.message_builder` defines their fields.

Images, depths and points are in the optical frame; poses, map and grid are in the z-up map frame.
"""

from __future__ import annotations

import array
from functools import cache, lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage

from ttt3r_ros.geometry import (
    canonical_quaternion,
    normalize_quaternion,
    quaternion_from_rotation,
    require_rotation,
    rotation_from_quaternion,
)
from ttt3r_ros.images.depth import color_of_depth, depth_intrinsics, encode_depth
from ttt3r_ros.images.point_fields import POINT_DTYPE, masked_points, pack_points
from ttt3r_ros.io.message_builder import MessageBuilder
from ttt3r_ros.ros import compat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builtin_interfaces.msg import Time
    from geometry_msgs.msg import Point, Pose, Quaternion, Transform, Vector3
    from numpy.typing import NDArray
    from sensor_msgs.msg import CameraInfo, Image, PointCloud2
    from std_msgs.msg import Header

    from ttt3r_ros.config import DepthConfig
    from ttt3r_ros.types import Float32Array, Float64Array, UInt8Array, Update


# A double has no micrometers beyond it, and products of larger values may overflow.
MAX_POSITION_M = 1e9


@cache
def _message_class(name: str) -> type[Any]:
    package, kind = name.split("/")
    message_class: type[Any] = getattr(import_module(f"{package}.msg"), kind)
    return message_class


def _create(kind: str, /, **fields: Any) -> Any:
    return _message_class(kind)(**fields)


def _to_sequence(values: NDArray[Any]) -> array.array[Any]:
    # The one type whose elements a setter does not check one by one.
    sequence = array.array(values.dtype.char)
    sequence.frombytes(np.ascontiguousarray(values).data.cast("B"))
    return sequence


@lru_cache(maxsize=16)  # several messages of a frame have the same pose
def _quaternion_xyzw(rotation: bytes) -> tuple[float, float, float, float]:
    return quaternion_from_matrix(np.frombuffer(rotation).reshape(3, 3))


def _quaternion_of_transform(T: Float64Array) -> tuple[float, float, float, float]:
    return _quaternion_xyzw(np.asarray(T, dtype=np.float64)[:3, :3].tobytes())


_builder = MessageBuilder(_create, _to_sequence, _quaternion_of_transform)

make_stamp = _builder.stamp
make_header = _builder.make_header
pose = _builder.pose
pose_stamped = _builder.pose_stamped
path = _builder.path
transform_stamped = _builder.transform_stamped
odometry = _builder.odometry
image = _builder.image
camera_info = _builder.camera_info
occupancy_grid = _builder.occupancy_grid


def stamp_to_ns(stamp: Time) -> int:
    """Return a stamp in nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


# --- rotations ---------------------------------------------------------------------------------------


def quaternion_from_matrix(matrix: Float64Array) -> tuple[float, float, float, float]:
    """Return the unit quaternion (x, y, z, w) of a rotation (3, 3) or transform (4, 4), with w >= 0.

    Where w is zero the first other component is positive.

    Raises:
        ValueError: the matrix is not a rotation.
    """
    if compat.tf_transformations is None:
        return quaternion_from_rotation(matrix)
    transform = np.eye(4)
    transform[:3, :3] = require_rotation(matrix)
    return canonical_quaternion(np.asarray(compat.tf_transformations.quaternion_from_matrix(transform)))


def matrix_from_quaternion(quat_xyzw: Sequence[float]) -> Float64Array:
    """Return the rotation (3, 3) of a quaternion of any length; raise ValueError on zero."""
    if compat.tf_transformations is None:
        return rotation_from_quaternion(quat_xyzw)
    unit = normalize_quaternion(quat_xyzw)
    return np.array(compat.tf_transformations.quaternion_matrix(unit)[:3, :3], dtype=np.float64)


def matrix_from_transform(transform: Transform) -> Float64Array:
    """Return a transform message as a matrix (4, 4); raise ValueError if it is no rigid transform."""
    return _matrix(transform.translation, transform.rotation)


def matrix_from_pose(msg: Pose) -> Float64Array:
    """Return a pose message as a matrix (4, 4); raise ValueError if it is no rigid transform."""
    return _matrix(msg.position, msg.orientation)


def _matrix(position: Point | Vector3, rotation: Quaternion) -> Float64Array:
    T: Float64Array = np.eye(4)
    T[:3, :3] = matrix_from_quaternion((rotation.x, rotation.y, rotation.z, rotation.w))
    T[:3, 3] = position.x, position.y, position.z
    if not (np.abs(T[:3, 3]) <= MAX_POSITION_M).all():  # also false for NaN
        msg = (
            f"expected a position of finite numbers up to {MAX_POSITION_M:g} m, got {T[:3, 3].tolist()}"
        )
        raise ValueError(msg)
    return T


# --- results of one frame ----------------------------------------------------------------------------


def depth_image(update: Update, depth: Float32Array, config: DepthConfig, header: Header) -> Image:
    """Return `masked_depth` as an image (REP-118): 32FC1 [m] or 16UC1 [mm], at the configured resolution."""
    return image(encode_depth(depth, update.prediction.geometry, config), header)


def depth_camera_info(update: Update, config: DepthConfig, header: Header) -> CameraInfo:
    """Return the calibration of the depth image."""
    return camera_info(depth_intrinsics(update, config), header)


def color_image(update: Update, config: DepthConfig, header: Header) -> Image:
    """Return the image that the network processed, rgb8, pixel for pixel the color of `depth_image`."""
    return image(color_of_depth(update, config), header)


def confidence_image(update: Update, header: Header) -> Image:
    """Return the confidence image: 32FC1, at least 1, at the network's resolution."""
    return image(update.prediction.confidence, header)


def frame_cloud(update: Update, depth: Float32Array, header: Header) -> PointCloud2:
    """Return the colored points of one frame in the optical frame, where `masked_depth` has a depth."""
    points, rgb = masked_points(update.prediction, depth)
    data = array.array("B", b"\0") * (POINT_DTYPE.itemsize * len(points))
    # Packed into the message itself: a full cloud is 3 MB, and another copy costs as much as packing.
    pack_points(points, rgb, out=np.frombuffer(data, dtype=POINT_DTYPE))
    return _builder.cloud(len(points), data, header)


def cloud(points: Float32Array, rgb: UInt8Array, header: Header) -> PointCloud2:
    """Return finite points (N, 3) [m] and their colors as a cloud with the fields x, y, z, rgb."""
    packed = pack_points(points, rgb)
    if compat.create_cloud is not None and packed.size:  # create_cloud fails on an empty cloud
        genuine: PointCloud2 = compat.create_cloud(header, _builder.point_fields(), packed)
        genuine.is_dense = True
        return genuine
    return _builder.cloud(len(packed), _builder.to_bytes(packed), header)


def jpeg_image(rgb: UInt8Array, header: Header, quality: int = 90) -> CompressedImage:
    """Return (H, W, 3) RGB as JPEG of a quality of 0 to 100."""
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return CompressedImage(header=header, format="jpeg", data=_builder.to_bytes(jpeg))
