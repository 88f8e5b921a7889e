# SPDX-License-Identifier: Apache-2.0
"""Reads bags and composes their transforms."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rosbags.highlevel import AnyReader

from ttt3r_ros.geometry import pose_matrix, se3_inverse

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Names:
    """A camera's frames."""

    camera: str = "camera_optical_frame"
    optical: str = "camera_optical_frame"
    body: str = "camera_optical_frame"

    def camera_frame(self, _header_frame: str) -> str:
        return self.camera

    def optical_frame(self, _header_frame: str) -> str:
        return self.optical

    def body_frame(self, _header_frame: str) -> str:
        return self.body


@dataclass(frozen=True)
class Played:
    """Contents of a bag."""

    messages: dict[str, list[Any]]  # by topic
    raw: dict[str, list[bytes]]
    log_ns: dict[str, list[int]]
    connections: dict[str, Any]

    def transforms(self, topic: str = "/tf") -> list[Any]:
        return [one for message in self.messages.get(topic, []) for one in message.transforms]


def play_bag(path: Path) -> Played:
    messages, raw, log_ns = defaultdict(list), defaultdict(list), defaultdict(list)
    with AnyReader([path]) as reader:
        for connection, stamp_ns, data in reader.messages():
            messages[connection.topic].append(reader.deserialize(data, connection.msgtype))
            raw[connection.topic].append(bytes(data))
            log_ns[connection.topic].append(stamp_ns)
        connections = {connection.topic: connection for connection in reader.connections}
    return Played(dict(messages), dict(raw), dict(log_ns), connections)


def stamp_ns(message: Any) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def matrix(placed: Any) -> np.ndarray:
    """Return a Pose or a Transform as (4, 4)."""
    where = placed.position if hasattr(placed, "position") else placed.translation
    q = placed.orientation if hasattr(placed, "orientation") else placed.rotation
    assert np.linalg.norm((q.w, q.x, q.y, q.z)) > 0.999999
    return pose_matrix(np.array([where.x, where.y, where.z, q.w, q.x, q.y, q.z]))


def tree_at(bag: Played, at_ns: int) -> dict[str, tuple[str, np.ndarray]]:
    """Return parent and T_parent_child of each frame, of transforms with that stamp or fixed ones."""
    fixed = bag.transforms("/tf_static")
    moving = [one for one in bag.transforms() if stamp_ns(one) == at_ns]
    found: dict[str, tuple[str, np.ndarray]] = {}
    for one in fixed + moving:
        assert one.child_frame_id not in found, f"{one.child_frame_id} has two parents"
        found[one.child_frame_id] = one.header.frame_id, matrix(one.transform)
    return found


def roots(tree: dict[str, tuple[str, np.ndarray]]) -> set[str]:
    return {parent for parent, _ in tree.values()} - set(tree)


def lookup(tree: dict[str, tuple[str, np.ndarray]], parent: str, child: str) -> np.ndarray:
    """Return T_parent_child by way of their root."""

    def from_root(name: str) -> np.ndarray:
        if name not in tree:
            return np.eye(4)
        above, T = tree[name]
        return from_root(above) @ T

    return se3_inverse(from_root(parent)) @ from_root(child)
