# SPDX-License-Identifier: Apache-2.0
"""Topic and message type of a camera's images by ``image_transport``, and the setting that fits another topic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sensor_msgs.msg import CompressedImage, Image

from ttt3r_ros.ros.publishers import camera_topic

if TYPE_CHECKING:
    from rclpy.node import Node

SUFFIX = "/compressed"
TRANSPORTS = {"sensor_msgs/msg/Image": "raw", "sensor_msgs/msg/CompressedImage": "compressed"}
_TYPES: dict[str, Any] = {"raw": Image, "compressed": CompressedImage}


def image_type(transport: str) -> Any:
    """Return the message type of a transport."""
    return _TYPES[transport]


def type_name(transport: str) -> str:
    """Return the name of the message type of a transport, as in the graph."""
    return next(name for name, other in TRANSPORTS.items() if other == transport)


def image_topic(node: Node, transport: str, camera: str) -> str:
    """Return the topic to which a camera's subscription is created.

    ROS remaps whole names, so remapping `image` does not change `image/compressed`. As in image_transport the
    compressed topic is that of the remapped base, unless it is remapped itself.
    """
    base = camera_topic("image", camera)
    if transport == "raw":
        return base
    if _is_remapped(node, base + SUFFIX) or not _is_remapped(node, base):
        return base + SUFFIX
    return node.resolve_topic_name(base).removesuffix(SUFFIX) + SUFFIX


def _is_remapped(node: Node, topic: str) -> bool:
    return bool(node.resolve_topic_name(topic) != node.resolve_topic_name(topic, only_expand=True))
