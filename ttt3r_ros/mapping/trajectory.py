# SPDX-License-Identifier: Apache-2.0
"""Where the camera has been."""

from __future__ import annotations

import threading
from array import array
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ttt3r_ros.geometry import pose_matrix_xyzw, quat_xyzw_from_rotation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ttt3r_ros.types import Float64Array


class News(NamedTuple):
    """What a reader of a trajectory did not know."""

    beginnings: int  # how often it was emptied or replaced
    changes: int  # how often it was that, or moved
    start: int  # which pose of it the first one here is
    poses: Float64Array  # (N, 7) as `Trajectory.poses` returns them


class Trajectory:
    """Stamped camera poses in the map frame, 64 bytes each; one thread changes it, any may read meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stamps_ns = array("q")
        self._poses = array("d")  # x, y, z, qx, qy, qz, qw per pose
        self._beginnings = 0
        self._changes = 0

    def append(self, stamp_ns: int, T_map_camera: Float64Array) -> None:
        """Remember one pose (4, 4)."""
        row = _row(T_map_camera)
        with self._lock:
            self._stamps_ns.append(stamp_ns)
            self._poses.extend(row)

    def clear(self) -> None:
        """Forget all poses."""
        self.restore([], np.empty((0, 7)))

    def move(self, T_map_map: Float64Array) -> None:
        """Move all poses by a rigid motion (4, 4); a reader sees all of them moved, or none."""
        moved = array("d")
        for T_map_camera in pose_matrix_xyzw(self.poses()[1]):
            moved.extend(_row(T_map_map @ T_map_camera))
        with self._lock:
            self._poses = moved
            self._changes += 1

    def restore(self, stamps_ns: Sequence[int], poses: Float64Array) -> None:
        """Replace all poses by stamps [ns] and poses (N, 7) as `poses` returns them."""
        with self._lock:
            self._stamps_ns = array("q", stamps_ns)
            self._poses = array("d", poses.ravel())
            self._beginnings += 1
            self._changes += 1

    def __len__(self) -> int:
        return len(self._stamps_ns)

    @property
    def changes(self) -> int:
        """Return how often poses changed that were there before: they were moved, forgotten or replaced."""
        return self._changes

    def poses(self) -> tuple[list[int], Float64Array]:
        """Return the stamps [ns] and the poses (N, 7): x, y, z, qx, qy, qz, qw."""
        with self._lock:
            return list(self._stamps_ns), np.array(self._poses).reshape(-1, 7)

    def news(self, changes: int, known: int) -> News:
        """Return what is new to whoever read the first poses when there had been so many changes; else all."""
        with self._lock:
            start = known if changes == self._changes else 0
            poses = np.array(self._poses[7 * start :]).reshape(-1, 7)
            return News(self._beginnings, self._changes, start, poses)


def _row(T_map_camera: Float64Array) -> tuple[float, ...]:
    return (*T_map_camera[:3, 3], *quat_xyzw_from_rotation(T_map_camera[:3, :3]))
