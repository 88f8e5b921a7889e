# SPDX-License-Identifier: Apache-2.0
"""Deserialization of messages, with the definitions of the bag or, where those are missing or unknown, of ROS."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

from ttt3r_ros.io.bags.bag_file import ROS1

if TYPE_CHECKING:
    from ttt3r_ros.io.bags.bag_file import Connection

_SEPARATOR = "=" * 80 + "\n"


class MessageDecoder:
    """Deserializes messages of any connection."""

    def __init__(self) -> None:
        self._stores: dict[tuple[str, str, str], Any] = {}

    def deserialize(self, connection: Connection, raw: bytes) -> Any:
        """Return a message; damaged bytes raise errors of many types."""
        key = connection.msgtype, connection.encoding, connection.definition
        if key not in self._stores:
            self._stores[key] = _type_store(connection)
        store = self._stores[key]
        if connection.encoding == ROS1:
            return store.deserialize_ros1(raw, connection.msgtype)
        return store.deserialize_cdr(raw, connection.msgtype)


@cache
def _standard_types(encoding: str) -> Any:
    return get_typestore(Stores.ROS1_NOETIC if encoding == ROS1 else Stores.ROS2_HUMBLE)


def _type_store(connection: Connection) -> Any:
    """Return the types for one connection: its own definition if it has all fields of the standard type."""
    standard = _standard_types(connection.encoding)
    try:
        store = get_typestore(Stores.EMPTY)
        store.register(_parse(connection))
        store.generate_msgdef(connection.msgtype)  # fails if a type inside it is unknown
        fields = {name for name, _ in store.fielddefs[connection.msgtype][1]}
    except Exception:
        return standard
    known = standard.fielddefs.get(connection.msgtype, ((), ()))
    return store if {name for name, _ in known[1]} <= fields else standard


def _parse(connection: Connection) -> Any:
    text = connection.definition
    if connection.definition_format in ("ros2msg", "ros1msg"):
        return get_types_from_msg(text, connection.msgtype)
    if not text.startswith(f"{_SEPARATOR}IDL: "):
        return get_types_from_idl(text)
    types: dict[str, Any] = {}
    for part in text.split(_SEPARATOR)[1:]:
        types.update(get_types_from_idl(part.split("\n", 1)[1]))
    return types
