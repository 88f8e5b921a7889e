# SPDX-License-Identifier: Apache-2.0
"""Trajectory of the camera."""

from __future__ import annotations

import threading
from array import array
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ttt3r_ros.geometry import pose_matrix_xyzw, quat_xyzw_from_rotation
from ttt3r_ros.state_dict import saved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ttt3r_ros.types import Float64Array


class TrajectoryDelta(NamedTuple):
    """Poses of a trajectory that a reader has not read yet."""

    epoch: int  # how often the trajectory was cleared or loaded
    revision: int  # how often earlier poses changed: cleared, loaded or transformed
    start: int  # index of the first pose below in the trajectory
    poses: Float64Array  # (N, 7) as returned by `Trajectory.poses`


class Trajectory:
    """Stamped camera poses in the map frame, 64 bytes each. One thread writes, any thread reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stamps_ns = array("q")
        self._poses = array("d")  # x, y, z, qx, qy, qz, qw per pose
        self._epoch = 0
        self._revision = 0

    def append(self, stamp_ns: int, T_map_camera: Float64Array) -> None:
        """Append one pose (4, 4)."""
        row = _row(T_map_camera)
        with self._lock:
            self._stamps_ns.append(stamp_ns)
            self._poses.extend(row)

    def clear(self) -> None:
        """Remove all poses."""
        self._replace(array("q"), array("d"))

    def transform(self, T_map_map: Float64Array) -> None:
        """Move all poses by a rigid motion (4, 4); a reader gets all of them moved or none."""
        moved = array("d")
        for T_map_camera in pose_matrix_xyzw(self.poses()[1]):
            moved.extend(_row(T_map_map @ T_map_camera))
        with self._lock:
            self._poses = moved
            self._revision += 1

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return a copy of everything, for `load_state_dict`."""
        stamps_ns, poses = self.poses()
        return {"stamps_ns": np.array(stamps_ns, np.int64), "poses": poses}

    def load_state_dict(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace everything by a `state_dict`.

        Raises:
            SourceError: an array is missing or invalid; nothing has changed.
        """
        stamps_ns = saved(arrays, "stamps_ns", np.int64, (None,))
        poses = saved(arrays, "poses", np.float64, (len(stamps_ns), 7))
        self._replace(array("q", stamps_ns), array("d", poses.ravel()))

    def __len__(self) -> int:
        return len(self._stamps_ns)

    @property
    def revision(self) -> int:
        """Return how often earlier poses changed: cleared, loaded or transformed."""
        return self._revision

    def poses(self) -> tuple[list[int], Float64Array]:
        """Return the stamps [ns] and the poses (N, 7): x, y, z, qx, qy, qz, qw."""
        with self._lock:
            return list(self._stamps_ns), np.array(self._poses).reshape(-1, 7)

    def delta(self, revision: int, count: int) -> TrajectoryDelta:
        """Return what is new to a reader that has the first `count` poses of a revision; all, if it is outdated."""
        with self._lock:
            start = count if revision == self._revision else 0
            poses = np.array(self._poses[7 * start :]).reshape(-1, 7)
            return TrajectoryDelta(self._epoch, self._revision, start, poses)

    def _replace(self, stamps_ns: array[int], poses: array[float]) -> None:
        with self._lock:
            self._stamps_ns, self._poses = stamps_ns, poses
            self._epoch += 1
            self._revision += 1


def _row(T_map_camera: Float64Array) -> tuple[float, ...]:
    return (*T_map_camera[:3, 3], *quat_xyzw_from_rotation(T_map_camera[:3, :3]))
