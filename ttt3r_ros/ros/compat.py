# SPDX-License-Identifier: Apache-2.0
"""The one place that knows which ROS Python packages exist here, and stands in for those that do not.

cv_bridge, sensor_msgs_py, tf_transformations and tf2_ros are used where they import and work; otherwise
OpenCV, NumPy, SciPy and a plain publisher do the same. ``TTT3R_ROS_COMPAT=plain`` in the environment at
import forces the latter.
"""

from __future__ import annotations

import array
import os
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from rclpy.qos import DurabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header

from ttt3r_ros.errors import ConfigError, ImageError
from ttt3r_ros.images import encodings as pixels
from ttt3r_ros.images.point_fields import POINT_DTYPE, POINT_FIELDS, packed_points
from ttt3r_ros.io.quaternions import one_sign, quaternion_xyzw, require_rotation, rotation_of, unit_xyzw
from ttt3r_ros.ros.tf_messages import tf_publisher

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from geometry_msgs.msg import TransformStamped
    from numpy.typing import NDArray
    from rclpy.node import Node

    from ttt3r_ros.types import Float32Array, Float64Array, UInt8Array

_COMPAT_VARIABLE = "TTT3R_ROS_COMPAT"

# cv_bridge knows no colors, or no conversion, for these on one supported distribution or another.
_NOT_FOR_CV_BRIDGE = {"8UC1", "8UC3", "8UC4", "16UC1", "nv12", "nv21", "uyvy", "yuyv"}


def _load_cv_bridge() -> Any:
    """Return a CvBridge that has converted one image correctly."""
    from cv_bridge import CvBridge  # noqa: PLC0415

    bridge = CvBridge()
    probe = Image(height=1, width=2, encoding="bgr8", step=6, data=array.array("B", [1, 2, 3, 4, 5, 6]))
    converted = np.asarray(bridge.imgmsg_to_cv2(probe, "rgb8"))
    if converted.tolist() != [[[3, 2, 1], [6, 5, 4]]]:
        msg = f"cv_bridge turned BGR 1 2 3, 4 5 6 into {converted.tolist()}"
        raise ValueError(msg)
    return bridge


def _load_create_cloud() -> Any:
    """Return create_cloud after it has packed one point correctly."""
    from sensor_msgs_py.point_cloud2 import create_cloud  # noqa: PLC0415

    point = np.array([(1.0, 2.0, 3.0, 4.0)], dtype=POINT_DTYPE)
    packed = create_cloud(Header(), _point_fields(), point)
    if packed.data.tobytes() != point.tobytes():
        msg = f"create_cloud packed {point.tobytes().hex()} as {packed.data.tobytes().hex()}"
        raise ValueError(msg)
    return create_cloud


def _load_tf_transformations() -> Any:
    """Return the module after it has converted the identity."""
    import tf_transformations  # noqa: PLC0415

    quat_xyzw = np.abs(tf_transformations.quaternion_from_matrix(np.eye(4)))
    if not np.allclose(quat_xyzw, [0.0, 0.0, 0.0, 1.0]):
        msg = f"tf_transformations turned the identity into {quat_xyzw.tolist()}"
        raise ValueError(msg)
    return tf_transformations


def _load_tf2_ros() -> Any:
    from tf2_ros import TransformBroadcaster as Genuine  # noqa: PLC0415

    return Genuine


def _choose(package: str, load: Callable[[], Any]) -> tuple[Any, str]:
    """Return what ``load`` gives and an empty string, or None and the reason for the stand-in."""
    choice = os.environ.get(_COMPAT_VARIABLE, "auto")
    if choice not in {"auto", "plain"}:
        msg = f"{_COMPAT_VARIABLE} is '{choice}'; expected 'auto' or 'plain'"
        raise ConfigError(msg)
    if choice == "plain":
        return None, f"{_COMPAT_VARIABLE}=plain"
    try:
        return load(), ""
    except ImportError as error:
        return None, f"{package} not importable: {error}"
    except Exception as error:  # a clash with NumPy's ABI raises anything (vision_opencv#535)
        return None, f"{package} not usable: {type(error).__name__}: {error}"


def _point_fields() -> list[PointField]:
    return [
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
        for index, name in enumerate(POINT_FIELDS)
    ]


_cv_bridge, _no_cv_bridge = _choose("cv_bridge", _load_cv_bridge)
_create_cloud, _no_create_cloud = _choose("sensor_msgs_py", _load_create_cloud)
_tf_transformations, _no_tf_transformations = _choose("tf_transformations", _load_tf_transformations)
_tf2_ros_broadcaster, _no_tf2_ros = _choose("tf2_ros", _load_tf2_ros)


def providers() -> dict[str, str]:
    """Return what serves each purpose and, for a stand-in, why."""
    return {
        "images": _provider("cv_bridge", "OpenCV", _no_cv_bridge),
        "clouds": _provider("sensor_msgs_py", "NumPy", _no_create_cloud),
        "rotations": _provider("tf_transformations", "SciPy", _no_tf_transformations),
        "transforms": _provider("tf2_ros", "own publisher", _no_tf2_ros),
    }


def _provider(package: str, stand_in: str, reason: str) -> str:
    return f"{stand_in} ({reason})" if reason else package


def describe_providers() -> str:
    """Return `providers` as one line for the log."""
    return "; ".join(f"{purpose}: {provider}" for purpose, provider in providers().items())


def raw_image(msg: Image) -> pixels.RawImage:
    """Return what a message says of its pixels; a view of its data."""
    return pixels.RawImage(
        encoding=msg.encoding,
        width=msg.width,
        height=msg.height,
        step=msg.step,
        big_endian=bool(msg.is_bigendian),
        data=np.frombuffer(msg.data, dtype=np.uint8),
    )


def image_to_rgb(msg: Image) -> UInt8Array:
    """Return (H, W, 3) RGB of a color, gray, YUV or Bayer image; raise `ImageError` on any other.

    Samples of 16 bits are scaled by 255/65535 and rounded. The result may be a read-only view of the
    message. 8UC3 and 8UC4 are taken as BGR and BGRA, OpenCV's convention; 8UC1 and 16UC1 as gray.
    """
    raw = raw_image(msg)
    layout = pixels.check_image(raw)
    if _cv_bridge is not None and _suits_cv_bridge(raw, layout):
        return _rgb_from_cv_bridge(msg)
    return pixels.decode_image(raw, layout)


def _suits_cv_bridge(raw: pixels.RawImage, layout: pixels.Layout) -> bool:
    """Say whether cv_bridge decodes this image correctly.

    It shears rows padded by a fraction of a pixel, and fails on big-endian images under NumPy 2.
    """
    is_packed = raw.step == layout.row_bytes(raw.width)
    return raw.encoding not in _NOT_FOR_CV_BRIDGE and is_packed and not raw.big_endian


def _rgb_from_cv_bridge(msg: Image) -> UInt8Array:
    try:
        rgb = _cv_bridge.imgmsg_to_cv2(msg, "rgb8")
    except Exception as error:
        text = f"cv_bridge cannot convert '{msg.encoding}' {msg.width}x{msg.height} to rgb8: {error}"
        raise ImageError(text) from error
    return np.ascontiguousarray(rgb, dtype=np.uint8)


def compressed_to_rgb(msg: CompressedImage) -> UInt8Array:
    """Return (H, W, 3) RGB of a whole JPEG or PNG; raise `ImageError` on anything else or less.

    Always by OpenCV: cv_bridge calls the same decoder, but leaves 16 bits at 16.
    """
    return pixels.decode_compressed(msg.format, np.frombuffer(msg.data, dtype=np.uint8))


def _message_bytes(values: NDArray[Any]) -> array.array[int]:
    """Return the values' bytes as the one type of which setters do not check every element."""
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(values).view(np.uint8).data)
    return data


def _image(values: NDArray[Any], encoding: str, stamp: Time, frame_id: str) -> Image:
    height, width = values.shape[:2]
    msg = Image(
        header=Header(stamp=stamp, frame_id=frame_id), height=height, width=width, encoding=encoding
    )
    msg.step = values.nbytes // height
    msg.data = _message_bytes(values)
    return msg


def rgb_to_image(rgb: UInt8Array, stamp: Time, frame_id: str) -> Image:
    """Return (H, W, 3) RGB as an rgb8 image."""
    return _image(rgb, "rgb8", stamp, frame_id)


def float_image(values: Float32Array, stamp: Time, frame_id: str) -> Image:
    """Return (H, W) values, such as depths in meters, as a 32FC1 image."""
    return _image(values.astype("<f4", copy=False), "32FC1", stamp, frame_id)


def millimeter_image(values: NDArray[np.uint16], stamp: Time, frame_id: str) -> Image:
    """Return (H, W) millimeters as a 16UC1 image."""
    return _image(values.astype("<u2", copy=False), "16UC1", stamp, frame_id)


def rgb_to_compressed(rgb: UInt8Array, stamp: Time, frame_id: str, quality: int = 90) -> CompressedImage:
    """Return (H, W, 3) RGB as JPEG; ``quality`` is 0 to 100."""
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    msg = CompressedImage(header=Header(stamp=stamp, frame_id=frame_id), format="jpeg")
    msg.data = _message_bytes(jpeg)
    return msg


def cloud_from_arrays(points: Float32Array, rgb: UInt8Array, stamp: Time, frame_id: str) -> PointCloud2:
    """Return points (m) and their colors as a cloud with fields x, y, z and packed rgb.

    Arrays (N, 3) give an unorganized cloud, marked dense: its points must be finite. Arrays (H, W, 3)
    give an organized one, in which NaN marks a pixel without a point.
    """
    if points.shape != rgb.shape or points.ndim not in {2, 3} or points.shape[-1] != 3:
        msg = f"points {points.shape} and rgb {rgb.shape}: expected both (N, 3) or both (H, W, 3)"
        raise ValueError(msg)
    packed = packed_points(points, rgb)
    cloud = _flat_cloud(packed.reshape(-1), Header(stamp=stamp, frame_id=frame_id))
    cloud.height, cloud.width = packed.shape if packed.ndim == 2 else (1, packed.size)
    cloud.row_step = cloud.point_step * cloud.width
    cloud.is_dense = packed.ndim == 1
    return cloud


def _flat_cloud(packed: NDArray[Any], header: Header) -> PointCloud2:
    # create_cloud fails on an empty cloud, and swaps height and width of an organized one.
    if _create_cloud is not None and packed.size:
        cloud: PointCloud2 = _create_cloud(header, _point_fields(), packed)
        return cloud
    cloud = PointCloud2(header=header, fields=_point_fields(), point_step=POINT_DTYPE.itemsize)
    cloud.data = _message_bytes(packed)
    return cloud


def quaternion_xyzw_from_matrix(matrix: Float64Array) -> tuple[float, float, float, float]:
    """Return the unit quaternion of a rotation (3, 3) or transform (4, 4), with w >= 0.

    Where w is zero the first component that is not is positive. Raise ValueError on what is no rotation.
    """
    if _tf_transformations is None:
        return quaternion_xyzw(matrix)
    transform = np.eye(4)
    transform[:3, :3] = require_rotation(matrix)
    return one_sign(np.asarray(_tf_transformations.quaternion_from_matrix(transform)))


def matrix_from_quaternion_xyzw(quat_xyzw: Sequence[float]) -> Float64Array:
    """Return the rotation (3, 3) of a quaternion of any length but zero; raise ValueError on zero."""
    if _tf_transformations is None:
        return rotation_of(quat_xyzw)
    unit = unit_xyzw(quat_xyzw)
    return np.array(_tf_transformations.quaternion_matrix(unit)[:3, :3], dtype=np.float64)


class TransformBroadcaster:
    """Publishes moving transforms on /tf: reliable, volatile, depth 100."""

    def __init__(self, node: Node) -> None:
        if _tf2_ros_broadcaster is not None:
            self._publish = _tf2_ros_broadcaster(node).sendTransform
        else:
            self._publish = tf_publisher(node, "/tf", 100, DurabilityPolicy.VOLATILE)

    def send(self, transforms: list[TransformStamped]) -> None:
        """Publish the transforms in one message."""
        self._publish(transforms)


class StaticTransformBroadcaster:
    """Publishes fixed transforms on /tf_static: reliable, transient local, depth 1.

    A late subscriber gets the last message alone, so each one holds the latest transform of every child.
    tf2_ros is not used: its own forgets earlier children (Humble) or drops later changes (Jazzy).
    """

    def __init__(self, node: Node) -> None:
        self._publish = tf_publisher(node, "/tf_static", 1, DurabilityPolicy.TRANSIENT_LOCAL)
        self._latest: dict[str, TransformStamped] = {}

    def send(self, transforms: list[TransformStamped]) -> None:
        """Publish the transforms together with all earlier ones, replacing those of the same child."""
        self._latest.update((transform.child_frame_id, transform) for transform in transforms)
        self._publish(list(self._latest.values()))


def stamp_to_ns(stamp: Time) -> int:
    """Return the stamp in nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def ns_to_stamp(stamp_ns: int) -> Time:
    """Return nanoseconds as a stamp."""
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    return Time(sec=sec, nanosec=nanosec)
