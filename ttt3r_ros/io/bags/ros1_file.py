# SPDX-License-Identifier: Apache-2.0
"""One bag file of ROS 1, read by rosbags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rosbags.rosbag1 import Reader

from ttt3r_ros.io.bags.bag_file import ROS1, Connection

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from ttt3r_ros.io.bags.bag_file import Record


class Ros1File:
    """A bag of format 2.0 with an index."""

    problem = remark = ""

    def __init__(self, path: Path) -> None:
        """Open a file; raises `rosbags.rosbag1.ReaderError`."""
        self._reader: Any = Reader(path)
        self._reader.open()
        self._originals = {
            Connection(c.topic, c.msgtype, ROS1, c.msgdef.data, "ros1msg", c.msgcount): c
            for c in self._reader.connections
        }
        self._by_id = {original.id: connection for connection, original in self._originals.items()}
        self.connections = list(self._originals)
        self.start_ns = int(self._reader.start_time)

    def messages(self, connections: Collection[Connection]) -> Iterator[Record]:
        """Yield messages in the order of log time; raises `rosbags.rosbag1.ReaderError`."""
        originals = [self._originals[connection] for connection in connections]
        if originals:  # an empty list would select all
            for original, log_ns, data in self._reader.messages(connections=originals):
                yield self._by_id[original.id], log_ns, bytes(data)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()
