# SPDX-License-Identifier: Apache-2.0
"""Detect another node that sends the same transforms as this one, such as a second mapping node."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, TypeAlias

from ttt3r_ros.ros import messages

if TYPE_CHECKING:
    from geometry_msgs.msg import TransformStamped
    from rclpy.node import Node

    from ttt3r_ros.ros.throttled_warnings import ThrottledWarnings

_Key: TypeAlias = tuple[str, str, int]  # parent, child, stamp [ns]
_MAX_PENDING = 2000  # more than the depth of the subscription: an older one was received or lost


class SentTransforms:
    """Compares received transforms with those that this node has sent. rclpy does not report the sender.

    The node receives each of its own transforms at most once. Another one with the same frames is of another node,
    even if that node maps the same images with the same stamps.
    """

    def __init__(self, node: Node, warnings: ThrottledWarnings) -> None:
        self._node = node
        self._warnings = warnings
        self._lock = threading.Lock()
        self._edges: set[tuple[str, str]] = set()
        self._pending: OrderedDict[_Key, int] = OrderedDict()  # times sent

    def record(self, parent: str, child: str, stamp_ns: int) -> None:
        """Record a transform; call it before the transform is sent."""
        key = _key(parent, child, stamp_ns)
        with self._lock:
            self._edges.add(key[:2])
            self._pending[key] = self._pending.get(key, 0) + 1
            if len(self._pending) > _MAX_PENDING:
                self._pending.popitem(last=False)

    def receive(self, stamped: TransformStamped) -> None:
        """Warn once for each edge if this node has not sent the transform, but others with the same frames."""
        header = stamped.header
        key = _key(header.frame_id, stamped.child_frame_id, messages.stamp_to_ns(header.stamp))
        with self._lock:
            if key[:2] not in self._edges:
                return
            if times := self._pending.pop(key, 0):
                if times > 1:
                    self._pending[key] = times - 1
                return
        parent, child, _ = key
        self._warnings.warn_once(
            f"edge {parent} {child}",
            f"another node also sends the transform {parent} -> {child}; publishers of /tf: {self._publishers()};"
            " the pose jumps between two estimates: give each node a map_frame and odom_frame of its own, or set"
            " publish_tf: false in one of them",
        )

    def _publishers(self) -> str:
        infos = self._node.get_publishers_info_by_topic("/tf")
        return ", ".join(sorted({node_name(info) for info in infos}))


def node_name(info: object) -> str:
    """Return the full name of the node of a `TopicEndpointInfo`."""
    return f"{getattr(info, 'node_namespace', '').rstrip('/')}/{getattr(info, 'node_name', '')}"


def _key(parent: str, child: str, stamp_ns: int) -> _Key:
    return parent.lstrip("/"), child.lstrip("/"), stamp_ns
