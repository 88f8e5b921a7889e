# SPDX-License-Identifier: Apache-2.0
"""/tf and /tf_static as plain topics; tf2_msgs may be absent, and is then missed with one readable line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from ttt3r_ros.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node


def tf_message_type(topic: str) -> Any:
    """Return the type of /tf and /tf_static; raise `ConfigError` that names the topic without tf2_msgs."""
    try:
        from tf2_msgs.msg import TFMessage  # noqa: PLC0415
    except ImportError as error:
        msg = (
            f"cannot use {topic}: tf2_msgs is not importable ({error}); run 'pip install "
            "./packaging/tf2_msgs' or, on a ROS distribution, 'apt install ros-$ROS_DISTRO-tf2-ros-py'"
        )
        raise ConfigError(msg) from error
    return TFMessage


def tf_qos(depth: int, durability: DurabilityPolicy) -> QoSProfile:
    """Return the profile of a topic of transforms: reliable, the last ones kept."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=durability,
    )


def tf_publisher(
    node: Node, topic: str, depth: int, durability: DurabilityPolicy
) -> Callable[..., None]:
    """Return a function that publishes transforms on the topic."""
    TFMessage = tf_message_type(topic)
    publisher = node.create_publisher(TFMessage, topic, tf_qos(depth, durability))
    return lambda transforms: publisher.publish(TFMessage(transforms=transforms))
