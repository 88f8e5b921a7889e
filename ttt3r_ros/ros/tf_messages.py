# SPDX-License-Identifier: Apache-2.0
"""Publishers and message type of /tf and /tf_static; without tf2_msgs the error names the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ttt3r_ros.errors import ConfigError
from ttt3r_ros.ros import compat
from ttt3r_ros.ros.qos import STATIC_TF, TF

if TYPE_CHECKING:
    from collections.abc import Callable

    from geometry_msgs.msg import TransformStamped
    from rclpy.node import Node
    from rclpy.qos import QoSProfile


def tf_message_type(topic: str) -> Any:
    """Return tf2_msgs/TFMessage; raise `ConfigError` that names the topic if tf2_msgs is not installed."""
    try:
        from tf2_msgs.msg import TFMessage  # noqa: PLC0415
    except ImportError as error:
        msg = (
            f"cannot use {topic}: tf2_msgs is not importable ({error}); run 'pip install "
            "./packaging/tf2_msgs' or, on a ROS distribution, 'apt install ros-$ROS_DISTRO-tf2-ros-py'"
        )
        raise ConfigError(msg) from error
    return TFMessage


def transform_broadcaster(node: Node) -> Callable[[list[TransformStamped]], None]:
    """Return a function that publishes moving transforms on /tf: reliable, volatile, depth 100."""
    if compat.broadcaster_class is not None:
        send: Callable[[list[TransformStamped]], None] = compat.broadcaster_class(node).sendTransform
        return send
    return _tf_publisher(node, "/tf", TF)


class StaticTransformBroadcaster:
    """Publishes fixed transforms on /tf_static: reliable, transient local, depth 1.

    A late subscriber receives only the last message, so each message has the latest transform of every child. Not
    tf2_ros, whose broadcaster loses earlier children (Humble) or later changes (Jazzy).
    """

    def __init__(self, node: Node) -> None:
        self._publish = _tf_publisher(node, "/tf_static", STATIC_TF)
        self._latest: dict[str, TransformStamped] = {}

    def send(self, transforms: list[TransformStamped]) -> None:
        """Publish the transforms together with all earlier ones; one replaces another of the same child."""
        self._latest.update((transform.child_frame_id, transform) for transform in transforms)
        self._publish(list(self._latest.values()))


def _tf_publisher(
    node: Node, topic: str, profile: QoSProfile
) -> Callable[[list[TransformStamped]], None]:
    TFMessage = tf_message_type(topic)
    publisher = node.create_publisher(TFMessage, topic, profile)
    return lambda transforms: publisher.publish(TFMessage(transforms=transforms))
