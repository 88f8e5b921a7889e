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
    from collections.abc import Callable
    from typing import Any

    from geometry_msgs.msg import TransformStamped
    from rclpy.node import Node

    from ttt3r_ros.ros.throttled_warnings import ThrottledWarnings
    from ttt3r_ros.types import Float64Array


_MAX_NAME = 80  # characters of a frame name in a warning


def transform_listener(
    node: Node,
    warnings: ThrottledWarnings,
    on_moving: Callable[[TransformStamped], None] = lambda _: None,
) -> TransformBuffer:
    """Return a buffer that subscriptions of the node fill; raise `ConfigError` without tf2_msgs.

    ``on_moving`` is called with each valid transform of /tf, also with those that this node has sent.
    """
    buffer = TransformBuffer()
    message_type = tf_message_type("/tf")

    def add(topic: str, message: Any) -> None:
        for stamped in message.transforms:
            parent, child = (
                name.lstrip("/") for name in (stamped.header.frame_id, stamped.child_frame_id)
            )
            try:
                T = _valid_transform(parent, child, stamped)
            except ValueError as error:
                text = f"{topic}: transform '{parent[:_MAX_NAME]}' -> '{child[:_MAX_NAME]}' refused: {error}"
                warnings.warn(text, kind=f"refused {topic}")
                continue
            is_static = topic == "/tf_static"
            buffer.add(
                parent, child, T, None if is_static else messages.stamp_to_ns(stamped.header.stamp)
            )
            if not is_static:
                on_moving(stamped)

    for topic, profile in (("/tf", TF), ("/tf_static", STATIC_TF_SUBSCRIPTION)):
        node.create_subscription(message_type, topic, partial(add, topic), profile)
    return buffer


def _valid_transform(parent: str, child: str, stamped: TransformStamped) -> Float64Array:
    """Return the transform (4, 4); raise ValueError on empty or equal frame names and on values that are no pose."""
    if not parent or not child or parent == child:
        msg = "expected two different frame names"
        raise ValueError(msg)
    return messages.matrix_from_transform(stamped.transform)
