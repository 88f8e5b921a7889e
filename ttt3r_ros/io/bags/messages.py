# SPDX-License-Identifier: Apache-2.0
"""From results to the messages of the live node (`ros.messages`), without ROS: rosbags knows their definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from rosbags.typesys import Stores, get_typestore

from ttt3r_ros.geometry import mean_velocity
from ttt3r_ros.images.camera_info import calibration_fields
from ttt3r_ros.images.point_fields import POINT_DTYPE, POINT_FIELDS, packed_points
from ttt3r_ros.io.quaternions import quaternion_xyzw

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from ttt3r_ros.mapping.occupancy_grid import OccupancyGrid
    from ttt3r_ros.transforms.edges import Edge
    from ttt3r_ros.types import Float32Array, Float64Array, Intrinsics, UInt8Array, Update

Message = Any  # rosbags makes the classes when it reads their definitions

# No field of the messages below has changed since.
_STORE = get_typestore(Stores.ROS2_HUMBLE)
_FLOAT32 = 7  # PointField.FLOAT32
_ENCODINGS = {"float32": "32FC1", "uint16": "16UC1"}


def serialized(message: Message) -> bytes | memoryview:
    """Return a message as CDR."""
    return _STORE.serialize_cdr(message, message.__msgtype__)


def definition_store() -> Any:
    """Return what knows the definitions of the messages."""
    return _STORE


def make_header(stamp_ns: int, frame_id: str) -> Message:
    """Return a header with the stamp of the image."""
    sec, nanosec = divmod(stamp_ns, 10**9)
    return _made("std_msgs/Header", _made("builtin_interfaces/Time", sec, nanosec), frame_id)


def pose_stamped(T: Float64Array, header: Message) -> Message:
    """Return a rigid motion (4, 4) as a pose in the header's frame."""
    return _made("geometry_msgs/PoseStamped", header, _pose(T))


def path(poses: Iterable[Message], header: Message) -> Message:
    """Return stamped poses as a path."""
    return _made("nav_msgs/Path", header, list(poses))


def transforms(edges: Iterable[Edge], stamp_ns: int) -> Message:
    """Return transforms of one time."""
    return _made("tf2_msgs/TFMessage", [_transform(edge, stamp_ns) for edge in edges])


def odometry(update: Update, seconds: float, edge: Edge, stamp_ns: int) -> Message:
    """Return where the body is, as an edge says, and the mean velocity of its last step, which took so long."""
    linear, angular = mean_velocity(update.T_step, seconds)
    twist = _made("geometry_msgs/Twist", _vector(linear), _vector(angular))
    placed = _pose(edge.T_parent_child)
    return _made(
        "nav_msgs/Odometry",
        make_header(stamp_ns, edge.parent),
        edge.child,
        _made("geometry_msgs/PoseWithCovariance", placed, update.pose_covariance.ravel()),
        _made("geometry_msgs/TwistWithCovariance", twist, update.twist_covariance.ravel()),
    )


def image(samples: NDArray[Any], header: Message) -> Message:
    """Return samples (H, W): float32 as 32FC1, uint16 as 16UC1."""
    height, width = samples.shape
    encoding = _ENCODINGS[samples.dtype.name]
    step = samples.itemsize * width
    return _made("sensor_msgs/Image", header, height, width, encoding, 0, step, _bytes_of(samples))


def camera_info(intrinsics: Intrinsics, header: Message) -> Message:
    """Describe the camera of an image of the same header."""
    fields = calibration_fields(intrinsics)
    for name in ("d", "k", "r", "p"):
        fields[name] = np.array(fields[name])
    region = _made("sensor_msgs/RegionOfInterest", 0, 0, 0, 0, False)  # noqa: FBT003
    return _named(
        "sensor_msgs/CameraInfo", header=header, binning_x=0, binning_y=0, roi=region, **fields
    )


def cloud(points: Float32Array, rgb: UInt8Array, header: Message) -> Message:
    """Return points (N, 3) with colors."""
    size = POINT_DTYPE.itemsize
    return _named(
        "sensor_msgs/PointCloud2",
        header=header,
        height=1,
        width=len(points),
        fields=[
            _made("sensor_msgs/PointField", name, 4 * index, _FLOAT32, 1)
            for index, name in enumerate(POINT_FIELDS)
        ],
        is_bigendian=False,
        point_step=size,
        row_step=size * len(points),
        data=_bytes_of(packed_points(points, rgb)),
        is_dense=True,
    )


def occupancy_grid(grid: OccupancyGrid, header: Message) -> Message:
    """Return a grid of -1 unknown, 0 free, 100 occupied."""
    height, width = grid.values.shape
    corner = np.eye(4)
    corner[:2, 3] = grid.origin_x, grid.origin_y
    info = _named(
        "nav_msgs/MapMetaData",
        map_load_time=header.stamp,
        resolution=grid.resolution,
        width=width,
        height=height,
        origin=_pose(corner),
    )
    return _made("nav_msgs/OccupancyGrid", header, info, grid.values.ravel())


def _transform(edge: Edge, stamp_ns: int) -> Message:
    T = edge.T_parent_child
    turn = _made("geometry_msgs/Quaternion", *quaternion_xyzw(T))
    placed = _made("geometry_msgs/Transform", _vector(T[:3, 3]), turn)
    return _made(
        "geometry_msgs/TransformStamped", make_header(stamp_ns, edge.parent), edge.child, placed
    )


def _pose(T: Float64Array) -> Message:
    position = _made("geometry_msgs/Point", *(float(value) for value in T[:3, 3]))
    turn = _made("geometry_msgs/Quaternion", *quaternion_xyzw(T))
    return _made("geometry_msgs/Pose", position, turn)


def _vector(values: Float64Array) -> Message:
    return _made("geometry_msgs/Vector3", *(float(value) for value in values))


def _bytes_of(values: NDArray[Any]) -> UInt8Array:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)


def _made(name: str, *values: Any) -> Message:
    package, _, kind = name.partition("/")
    return _STORE.types[f"{package}/msg/{kind}"](*values)


def _named(name: str, **values: Any) -> Message:
    package, _, kind = name.partition("/")
    return _STORE.types[f"{package}/msg/{kind}"](**values)
