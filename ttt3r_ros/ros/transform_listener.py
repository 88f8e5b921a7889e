# SPDX-License-Identifier: Apache-2.0
"""Fills a `TransformBuffer` from /tf and /tf_static."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rclpy.qos import DurabilityPolicy

from ttt3r_ros.ros import messages
from ttt3r_ros.ros.tf_messages import tf_message_type, tf_qos
from ttt3r_ros.ros.transform_buffer import TransformBuffer

if TYPE_CHECKING:
    from typing import Any

    from rclpy.node import Node


def transform_listener(node: Node) -> TransformBuffer:
    """Return a buffer that the node's executor keeps filled; raise `ConfigError` without tf2_msgs."""
    buffer = TransformBuffer()
    message_type = tf_message_type("/tf")
    for topic, durability in (
        ("/tf", DurabilityPolicy.VOLATILE),
        ("/tf_static", DurabilityPolicy.TRANSIENT_LOCAL),
    ):
        take = partial(_take, buffer, static=topic == "/tf_static")
        node.create_subscription(message_type, topic, take, tf_qos(100, durability))
    return buffer


def _take(buffer: TransformBuffer, message: Any, *, static: bool) -> None:
    for stamped in message.transforms:
        stamp_ns = None if static else messages.stamp_to_ns(stamped.header.stamp)
        try:
            T = messages.matrix_from_transform(stamped.transform)
        except ValueError:  # a quaternion of zeros: somebody left the message unfilled
            continue
        buffer.add(stamped.header.frame_id.lstrip("/"), stamped.child_frame_id.lstrip("/"), T, stamp_ns)
