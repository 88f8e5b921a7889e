# SPDX-License-Identifier: Apache-2.0
"""Publishers of the node's outputs. Messages without a subscriber are not computed."""

from __future__ import annotations

from collections import deque
from functools import cache
from typing import TYPE_CHECKING, Any

from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import OccupancyGrid, Odometry, Path
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from ttt3r_ros.images.depth import masked_depth
from ttt3r_ros.ros import messages
from ttt3r_ros.ros.qos import LATCHED, STREAM, overridable
from ttt3r_ros.transforms.edges import body_edge

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node
    from rclpy.publisher import Publisher

    from ttt3r_ros.config import Config
    from ttt3r_ros.mapping.map_builder import MapBuilder
    from ttt3r_ros.ros.robot_sensors import RobotSensors
    from ttt3r_ros.types import Update


def camera_topic(topic: str, camera: str) -> str:
    """Return the topic of a named camera: ``~/points`` becomes ``~/front/points``."""
    if not camera:
        return topic
    return f"~/{camera}/{topic[2:]}" if topic.startswith("~/") else f"{camera}/{topic}"


class CameraOutputs:
    """Depth, confidence and points of a camera in its optical frame; used only on the worker thread."""

    def __init__(self, node: Node, config: Config, robot: RobotSensors, camera: str) -> None:
        self.config = config
        self._robot = robot
        self._depth = _publisher(node, Image, "~/depth/image", camera)
        self._depth_info = _publisher(node, CameraInfo, "~/depth/camera_info", camera)
        self._color = _publisher(node, Image, "~/color/image", camera)
        self._color_info = _publisher(node, CameraInfo, "~/color/camera_info", camera)
        self._confidence = _publisher(node, Image, "~/confidence/image", camera)
        self._points = _publisher(node, PointCloud2, "~/points", camera)

    def publish(self, update: Update) -> None:
        """Publish all outputs that have a subscriber, with the stamp of the image."""
        config = self.config
        depth = cache(lambda: masked_depth(update, config.min_confidence))  # for image and points
        frame = self._robot.mount.optical_frame(update.frame.camera_frame)
        header = messages.make_header(update.frame.stamp_ns, frame)
        _publish_if_subscribed(
            self._depth, lambda: messages.depth_image(update, depth(), config.depth, header)
        )
        _publish_if_subscribed(
            self._depth_info, lambda: messages.depth_camera_info(update, config.depth, header)
        )
        _publish_if_subscribed(self._color, lambda: messages.color_image(update, config.depth, header))
        _publish_if_subscribed(
            self._color_info, lambda: messages.depth_camera_info(update, config.depth, header)
        )
        _publish_if_subscribed(self._confidence, lambda: messages.confidence_image(update, header))
        _publish_if_subscribed(self._points, lambda: messages.frame_cloud(update, depth(), header))


class BodyOutputs:
    """Pose, odometry and path of the body in the map or in odom."""

    def __init__(
        self, node: Node, config: Config, robot: RobotSensors, camera: str, map_frame: str
    ) -> None:
        self._config = config
        self._robot = robot
        self._map_frame = map_frame
        self._pose = _publisher(node, PoseStamped, "~/pose", camera)
        self._odom = _publisher(node, Odometry, "~/odom", camera)
        self._path = _publisher(node, Path, "~/path", camera)
        self._poses: deque[PoseStamped] = deque(maxlen=config.path_max_poses)
        self._published_pose: PoseStamped | None = None  # the newest in the last path
        self._previous_ns: int | None = None

    def reset(self) -> None:
        """Clear the path."""
        self._poses.clear()
        self._previous_ns = None

    def publish(self, update: Update) -> None:
        """Publish pose and odometry with the stamp of the image, if they have subscribers; on the worker thread."""
        stamp_ns = update.frame.stamp_ns
        header = messages.make_header(stamp_ns, self._map_frame)
        stamped = messages.pose_stamped(update.T_map_base, header)
        self._poses.append(stamped)
        _publish_if_subscribed(self._pose, lambda: stamped)
        _publish_if_subscribed(self._odom, lambda: self._odometry(update))
        self._previous_ns = stamp_ns

    def publish_path(self) -> None:
        """Publish the path if it has a subscriber and a new pose; called by a timer.

        Not with every frame: rclpy converts a message field by field, 3 ms for 1000 poses.
        """
        poses = tuple(self._poses)  # at once: the worker appends meanwhile
        if not poses or poses[-1] is self._published_pose or not self._path.get_subscription_count():
            return
        self._published_pose = poses[-1]
        self._path.publish(messages.path(poses, poses[-1].header))

    def _odometry(self, update: Update) -> Odometry:
        stamp_ns = update.frame.stamp_ns
        seconds = 0.0 if self._previous_ns is None else (stamp_ns - self._previous_ns) * 1e-9
        body = self._robot.mount.body_frame(update.frame.camera_frame)
        frame, _, T = body_edge(self._config, update, self._map_frame, body)
        return messages.odometry(update, seconds, T, messages.make_header(stamp_ns, frame), body)


class MapOutputs:
    """Publishes map and grid if they have changed and have a subscriber; called by a timer."""

    def __init__(self, node: Node, map_builder: MapBuilder, camera: str, map_frame: str) -> None:
        self._cloud = _publisher(node, PointCloud2, "~/map_cloud", camera, latched=True)
        self._grid = _publisher(node, OccupancyGrid, "~/map", camera, latched=True)
        self._map_frame = map_frame
        self._map = map_builder
        self._published = {"cloud": -1, "grid": -1}

    def publish(self, stamp_ns: int) -> None:
        """Publish the current map and grid with the stamp of the newest frame."""
        header = messages.make_header(stamp_ns, self._map_frame)
        if self._is_due("cloud", self._cloud, self._map.voxels.version):
            cloud = self._map.voxels.point_cloud()
            self._cloud.publish(messages.cloud(cloud.points, cloud.rgb, header))
        grid = (
            self._map.grid.to_grid()
            if self._is_due("grid", self._grid, self._map.grid.version)
            else None
        )
        if grid is not None:
            self._grid.publish(messages.occupancy_grid(grid, header))

    def _is_due(self, output: str, publisher: Publisher, version: int) -> bool:
        if version == self._published[output] or not publisher.get_subscription_count():
            return False
        self._published[output] = version
        return True


def _publisher(
    node: Node, kind: type[Any], topic: str, camera: str, *, latched: bool = False
) -> Publisher:
    return node.create_publisher(
        kind,
        camera_topic(topic, camera),
        LATCHED if latched else STREAM,
        qos_overriding_options=overridable(),
    )


def _publish_if_subscribed(publisher: Publisher, make: Callable[[], Any]) -> None:
    if publisher.get_subscription_count():
        publisher.publish(make())
