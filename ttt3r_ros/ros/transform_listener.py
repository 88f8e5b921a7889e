# SPDX-License-Identifier: Apache-2.0
"""Fill a `TransformBuffer` from /tf and /tf_static."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ttt3r_ros.ros import messages
from ttt3r_ros.ros.qos import STATIC_TF_SUBSCRIPTION, TF
from ttt3r_ros.ros.tf_messages import tf_message_type
from ttt3r_ros.ros.transform_buffer import TransformBuffer

if TYPE_CHECKING:
    from typing import Any

    from rclpy.node import Node


def transform_listener(node: Node) -> TransformBuffer:
    """Return a buffer that subscriptions of the node fill; raise `ConfigError` without tf2_msgs."""
    buffer = TransformBuffer()
    message_type = tf_message_type("/tf")
    for topic, profile in (("/tf", TF), ("/tf_static", STATIC_TF_SUBSCRIPTION)):
        callback = partial(_add_transforms, buffer, static=topic == "/tf_static")
        node.create_subscription(message_type, topic, callback, profile)
    return buffer


def _add_transforms(buffer: TransformBuffer, message: Any, *, static: bool) -> None:
    for stamped in message.transforms:
        stamp_ns = None if static else messages.stamp_to_ns(stamped.header.stamp)
        try:
            T = messages.matrix_from_transform(stamped.transform)
        except ValueError:  # a quaternion of zeros: the publisher left the field empty
            continue
        buffer.add(stamped.header.frame_id.lstrip("/"), stamped.child_frame_id.lstrip("/"), T, stamp_ns)
