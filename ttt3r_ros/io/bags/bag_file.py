# SPDX-License-Identifier: Apache-2.0
"""The interface of one storage file of a bag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

CDR, ROS1 = "cdr", "ros1"  # encodings of messages


@dataclass(frozen=True, eq=False)
class Connection:
    """One channel of one file. A topic has one per publisher, file and offered QoS, which is of no interest."""

    topic: str
    msgtype: str  # "package/msg/Name" of ROS messages
    encoding: str  # of the messages
    definition: str = ""  # of the type, as text
    definition_format: str = ""  # "ros2msg", "ros2idl", "omgidl", "ros1msg"
    count: int = 0  # messages by the index of the file

    @property
    def is_ros(self) -> bool:
        """Return whether the messages are those of ROS 1 or 2."""
        return self.encoding in (CDR, ROS1)


Record = tuple[Connection, int, bytes]  # with the log time [ns]


class BagFile(Protocol):
    """One storage file."""

    connections: list[Connection]
    start_ns: int  # log time of the first message
    problem: str  # why the file is incomplete; empty: complete
    remark: str  # about a file that is read; empty: none

    def messages(self, connections: Collection[Connection]) -> Iterator[Record]:
        """Yield messages in the order of their log times; at equal times in the order of the file."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def normalized_type(msgtype: str) -> str:
    """Return "package/msg/Name" for "package/Name", the type name of ROS 1."""
    package, _, name = msgtype.partition("/")
    return f"{package}/msg/{name}" if name and "/" not in name else msgtype
