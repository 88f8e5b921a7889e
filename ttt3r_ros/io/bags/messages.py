# SPDX-License-Identifier: Apache-2.0
"""The node's messages with the message classes of rosbags; `io.message_builder` defines their fields."""

from __future__ import annotations

from typing import Any

from rosbags.typesys import Stores, get_typestore

from ttt3r_ros.geometry import quaternion_from_rotation
from ttt3r_ros.io.message_builder import Message, MessageBuilder

TYPE_STORE = get_typestore(Stores.ROS2_HUMBLE)  # the same fields as in later distributions


def _create(kind: str, /, **fields: Any) -> Message:
    package, name = kind.split("/")
    return TYPE_STORE.types[f"{package}/msg/{name}"](**fields)


builder = MessageBuilder(_create, lambda values: values, quaternion_from_rotation)


def serialize(message: Message) -> bytes | memoryview:
    """Return a message as CDR."""
    return TYPE_STORE.serialize_cdr(message, message.__msgtype__)
