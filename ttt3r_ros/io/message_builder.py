# SPDX-License-Identifier: Apache-2.0
"""Fields of every message that the node publishes, independent of the library of message classes.

`ros.messages` builds them with rclpy's classes, `io.bags.messages` with those of rosbags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.geometry import mean_velocity
from ttt3r_ros.images.camera_info import camera_info_fields
from ttt3r_ros.images.point_fields import POINT_DTYPE, POINT_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from ttt3r_ros.mapping.occupancy_grid import OccupancyGrid
    from ttt3r_ros.types import Float64Array, Intrinsics, Update

Message = Any  # an instance of a class that another library generates

_FLOAT32 = 7  # PointField.FLOAT32
_ENCODINGS = {"float32": "32FC1", "uint16": "16UC1", "uint8": "rgb8"}


class MessageBuilder:
    """Builds messages from results. `make_header` makes their headers."""

    def __init__(
        self,
        create: Callable[..., Message],
        to_sequence: Callable[[NDArray[Any]], Any],
        quaternion_from_rotation: Callable[[Float64Array], tuple[float, float, float, float]],
    ) -> None:
        """Set the functions of the message library.

        ``create("geometry_msgs/Point", x=…)`` returns a message; ``to_sequence`` returns a flat array as the value
        of a field of variable length; ``quaternion_from_rotation`` returns the quaternion of a transform (4, 4).
        """
        self._create = create
        self._to_sequence = to_sequence
        self._quaternion_xyzw = quaternion_from_rotation

    def stamp(self, stamp_ns: int) -> Message:
        """Return nanoseconds as a builtin_interfaces/Time."""
        sec, nanosec = divmod(stamp_ns, 10**9)
        return self._create("builtin_interfaces/Time", sec=sec, nanosec=nanosec)

    def make_header(self, stamp_ns: int, frame_id: str) -> Message:
        """Return a std_msgs/Header."""
        return self._create("std_msgs/Header", stamp=self.stamp(stamp_ns), frame_id=frame_id)

    # --- poses --------------------------------------------------------------------------------------

    def pose(self, T: Float64Array) -> Message:
        """Return a rigid transform (4, 4) as a geometry_msgs/Pose."""
        return self._create(
            "geometry_msgs/Pose", position=self._xyz("Point", T[:3, 3]), orientation=self._quaternion(T)
        )

    def pose_stamped(self, T: Float64Array, header: Message) -> Message:
        """Return a rigid transform (4, 4) as a geometry_msgs/PoseStamped in the header's frame."""
        return self._create("geometry_msgs/PoseStamped", header=header, pose=self.pose(T))

    def path(self, poses: Iterable[Message], header: Message) -> Message:
        """Return stamped poses as a nav_msgs/Path."""
        return self._create("nav_msgs/Path", header=header, poses=list(poses))

    def transform_stamped(self, T: Float64Array, header: Message, child_frame: str) -> Message:
        """Return T_header_child (4, 4) as a geometry_msgs/TransformStamped."""
        transform = self._create(
            "geometry_msgs/Transform",
            translation=self._xyz("Vector3", T[:3, 3]),
            rotation=self._quaternion(T),
        )
        return self._create(
            "geometry_msgs/TransformStamped",
            header=header,
            child_frame_id=child_frame,
            transform=transform,
        )

    def tf_message(self, transforms: Iterable[Message]) -> Message:
        """Return stamped transforms as a tf2_msgs/TFMessage."""
        return self._create("tf2_msgs/TFMessage", transforms=list(transforms))

    def twist(self, T_step: Float64Array, seconds: float) -> Message:
        """Return the mean velocity of a motion (4, 4) in the moving frame; zero for a duration of zero."""
        linear, angular = mean_velocity(T_step, seconds)
        return self._create(
            "geometry_msgs/Twist",
            linear=self._xyz("Vector3", linear),
            angular=self._xyz("Vector3", angular),
        )

    def odometry(
        self, update: Update, seconds: float, T: Float64Array, header: Message, child_frame: str
    ) -> Message:
        """Return a nav_msgs/Odometry: pose T_header_child (4, 4), mean velocity of the last step in the child frame."""
        return self._create(
            "nav_msgs/Odometry",
            header=header,
            child_frame_id=child_frame,
            pose=self._create(
                "geometry_msgs/PoseWithCovariance",
                pose=self.pose(T),
                covariance=update.pose_covariance.ravel(),
            ),
            twist=self._create(
                "geometry_msgs/TwistWithCovariance",
                twist=self.twist(update.T_step, seconds),
                covariance=update.twist_covariance.ravel(),
            ),
        )

    # --- images, clouds, grids ----------------------------------------------------------------------

    def image(self, samples: NDArray[Any], header: Message) -> Message:
        """Return samples as a sensor_msgs/Image: float32 (H, W) 32FC1, uint16 (H, W) 16UC1, uint8 (H, W, 3) rgb8."""
        height, width = samples.shape[:2]
        little_endian = samples.astype(samples.dtype.newbyteorder("<"), copy=False)
        return self._create(
            "sensor_msgs/Image",
            header=header,
            height=height,
            width=width,
            encoding=_ENCODINGS[samples.dtype.name],
            is_bigendian=0,
            step=samples.nbytes // height,
            data=self.to_bytes(little_endian),
        )

    def camera_info(self, intrinsics: Intrinsics, header: Message) -> Message:
        """Return the calibration of the image with the same header as a sensor_msgs/CameraInfo."""
        fields = camera_info_fields(intrinsics)
        region = self._create(
            "sensor_msgs/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        )
        fields["d"] = self._to_sequence(fields["d"])
        return self._create(
            "sensor_msgs/CameraInfo", header=header, binning_x=0, binning_y=0, roi=region, **fields
        )

    def point_fields(self) -> list[Message]:
        """Return the sensor_msgs/PointField of `images.point_fields`."""
        return [
            self._create(
                "sensor_msgs/PointField", name=name, offset=4 * index, datatype=_FLOAT32, count=1
            )
            for index, name in enumerate(POINT_FIELDS)
        ]

    def cloud(self, count: int, data: Any, header: Message) -> Message:
        """Return packed points, given as the value of a uint8[] field, as a dense sensor_msgs/PointCloud2."""
        size = POINT_DTYPE.itemsize
        return self._create(
            "sensor_msgs/PointCloud2",
            header=header,
            height=1,
            width=count,
            fields=self.point_fields(),
            is_bigendian=False,
            point_step=size,
            row_step=size * count,
            data=data,
            is_dense=True,
        )

    def occupancy_grid(self, grid: OccupancyGrid, header: Message) -> Message:
        """Return a nav_msgs/OccupancyGrid: -1 unknown, 0 free, 100 occupied."""
        height, width = grid.values.shape
        T_header_grid = np.eye(4)
        T_header_grid[:2, 3] = grid.origin_x, grid.origin_y
        info = self._create(
            "nav_msgs/MapMetaData",
            map_load_time=header.stamp,
            resolution=grid.resolution,
            width=width,
            height=height,
            origin=self.pose(T_header_grid),
        )
        data = self._to_sequence(grid.values.ravel())
        return self._create("nav_msgs/OccupancyGrid", header=header, info=info, data=data)

    def to_bytes(self, values: NDArray[Any]) -> Any:
        """Return the bytes of an array as the value of a uint8[] field."""
        return self._to_sequence(np.ascontiguousarray(values).reshape(-1).view(np.uint8))

    def _xyz(self, kind: str, values: Float64Array) -> Message:
        x, y, z = (float(value) for value in values)
        return self._create(f"geometry_msgs/{kind}", x=x, y=y, z=z)

    def _quaternion(self, T: Float64Array) -> Message:
        x, y, z, w = self._quaternion_xyzw(T)
        return self._create("geometry_msgs/Quaternion", x=x, y=y, z=z, w=w)
