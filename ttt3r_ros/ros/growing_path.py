# SPDX-License-Identifier: Apache-2.0
"""A path that gains a pose with every frame, kept as the bytes that are sent.

rclpy converts a message field by field: 5 ms for a thousand poses of which one is new. CDR aligns a field by its
distance from the beginning of the message and a pose ends in doubles, so that from the second pose on each begins at
a multiple of eight bytes, as in a message of its own: its bytes are the same in both.
"""

from __future__ import annotations

import struct
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from nav_msgs.msg import Path
from rclpy.serialization import serialize_message

if TYPE_CHECKING:
    from geometry_msgs.msg import PoseStamped
    from std_msgs.msg import Header

_ENCAPSULATION = 4  # bytes before the message itself; positions count from behind them
_COUNT = struct.Struct("=I")  # CDR is in the byte order of the sender


class GrowingPath:
    """The newest poses, at most ``max_poses``."""

    def __init__(self, max_poses: int) -> None:
        self._poses: deque[PoseStamped] = deque(maxlen=max_poses)
        self._bytes: deque[bytes] = deque(maxlen=max_poses)  # of each, without its encapsulation

    def __len__(self) -> int:
        return len(self._poses)

    def clear(self) -> None:
        """Forget all poses."""
        self._poses.clear()
        self._bytes.clear()

    def append(self, stamped: PoseStamped) -> None:
        """Add a pose, which must not change any more; the oldest goes if there are too many."""
        self._poses.append(stamped)
        self._bytes.append(serialize_message(stamped)[_ENCAPSULATION:])

    def serialized(self, header: Header) -> bytes:
        """Return the nav_msgs/Path of all poses as a publisher takes it."""
        nothing = serialize_message(Path(header=header))
        if not self._poses:
            return bytes(nothing)
        # Only the first pose may begin elsewhere, so the middleware itself writes it.
        begun = serialize_message(Path(header=header, poses=[self._poses[0]]))
        count_at = len(nothing) - _COUNT.size  # the last field of a path without poses
        count = _COUNT.pack(len(self._poses))
        others = islice(self._bytes, 1, None)
        return b"".join((begun[:count_at], count, begun[count_at + _COUNT.size :], *others))
