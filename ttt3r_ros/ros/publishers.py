# SPDX-License-Identifier: Apache-2.0
"""The node's outputs; what nobody subscribes to is not computed."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from geometry_msgs.msg import PoseStamped, Twist
from nav_msgs.msg import Odometry, Path
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from ttt3r_ros.ros import compat, messages
from ttt3r_ros.ros.qos import LATCHED, STREAM

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node
    from rclpy.publisher import Publisher

    from ttt3r_ros.config import Config
    from ttt3r_ros.pipeline.voxel_map import VoxelMap
    from ttt3r_ros.types import Float64Array, Update

FALLBACK_CAMERA_FRAME = "camera_optical_frame"  # for drivers that leave header.frame_id empty


class FramePublishers:
    """Publishes what one frame brought; called by the worker thread only."""

    def __init__(self, node: Node, config: Config) -> None:
        self._config = config
        self._depth = node.create_publisher(Image, "~/depth/image", STREAM)
        self._depth_info = node.create_publisher(CameraInfo, "~/depth/camera_info", STREAM)
        self._confidence = node.create_publisher(Image, "~/confidence/image", STREAM)
        self._points = node.create_publisher(PointCloud2, "~/points", STREAM)
        self._pose = node.create_publisher(PoseStamped, "~/pose", STREAM)
        self._odom = node.create_publisher(Odometry, "~/odom", STREAM)
        self._path = node.create_publisher(Path, "~/path", STREAM)
        self._broadcaster = compat.TransformBroadcaster(node) if config.publish_tf else None
        self._poses: deque[PoseStamped] = deque(maxlen=config.path_max_poses)
        self._previous: tuple[int, Float64Array] | None = None

    def restart(self) -> None:
        """Forget the path."""
        self._poses.clear()
        self._previous = None

    def publish(self, update: Update) -> None:
        """Publish everything that has a subscriber, all with the stamp of the image."""
        self._publish_motion(update)
        self._publish_geometry(update)

    def _publish_motion(self, update: Update) -> None:
        frame, T = update.frame, update.T_map_camera
        camera_frame = self.camera_frame(update)
        of = messages.header(frame.stamp_ns, self._config.map_frame)
        stamped = messages.pose_stamped(T, of)
        self._poses.append(stamped)
        if self._broadcaster is not None:
            self._broadcaster.send([messages.transform_stamped(T, of, camera_frame)])
        _if_wanted(self._pose, lambda: stamped)
        _if_wanted(self._odom, lambda: messages.odometry(T, self._twist(update), of, camera_frame))
        _if_wanted(self._path, lambda: Path(header=of, poses=list(self._poses)))
        self._previous = (frame.stamp_ns, T)

    def _publish_geometry(self, update: Update) -> None:
        sure = self._config.min_confidence
        of = messages.header(update.frame.stamp_ns, self.camera_frame(update))
        _if_wanted(self._depth, lambda: messages.depth_image(update, sure, of))
        _if_wanted(self._depth_info, lambda: messages.camera_info(update.intrinsics, of))
        _if_wanted(self._confidence, lambda: messages.confidence_image(update, of))
        _if_wanted(self._points, lambda: messages.frame_cloud(update, sure, of))

    def camera_frame(self, update: Update) -> str:
        """Return the name of the camera's optical frame."""
        return self._config.camera_frame or update.frame.camera_frame or FALLBACK_CAMERA_FRAME

    def _twist(self, update: Update) -> Twist:
        if self._previous is None:
            return Twist()
        stamp_ns, T_map_previous = self._previous
        seconds = (update.frame.stamp_ns - stamp_ns) * 1e-9
        return messages.twist_between(T_map_previous, update.T_map_camera, seconds)


class MapPublisher:
    """Publishes the map, when it has changed and somebody listens; called by a timer."""

    def __init__(self, node: Node, map_frame: str, voxel_map: VoxelMap) -> None:
        self._publisher = node.create_publisher(PointCloud2, "~/map_cloud", LATCHED)
        self._map_frame = map_frame
        self._map = voxel_map
        self._published_version = -1

    def publish(self, stamp_ns: int) -> None:
        """Publish the map as of the newest frame fused, unless that was done before."""
        version = self._map.version
        if version == self._published_version or not self._publisher.get_subscription_count():
            return
        cloud = self._map.point_cloud()
        stamp = compat.ns_to_stamp(stamp_ns)
        self._publisher.publish(
            compat.cloud_from_arrays(cloud.points, cloud.rgb, stamp, self._map_frame)
        )
        self._published_version = version


def _if_wanted(publisher: Publisher, make: Callable[[], Any]) -> None:
    if publisher.get_subscription_count():
        publisher.publish(make())
