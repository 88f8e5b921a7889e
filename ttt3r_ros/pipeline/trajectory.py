# SPDX-License-Identifier: Apache-2.0
"""Where the camera has been."""

from __future__ import annotations

import threading
from array import array
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import pose_matrix_xyzw, quat_xyzw_from_rotation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ttt3r_ros.types import Float64Array


class Trajectory:
    """Stamped camera poses in the map frame, 64 bytes each; may be read while another thread appends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stamps_ns = array("q")
        self._poses = array("d")  # x, y, z, qx, qy, qz, qw per pose

    def append(self, stamp_ns: int, T_map_camera: Float64Array) -> None:
        """Remember one pose (4, 4)."""
        quat_xyzw = quat_xyzw_from_rotation(T_map_camera[:3, :3])
        with self._lock:
            self._stamps_ns.append(stamp_ns)
            self._poses.extend((*T_map_camera[:3, 3], *quat_xyzw))

    def clear(self) -> None:
        """Forget all poses."""
        with self._lock:
            del self._stamps_ns[:], self._poses[:]

    def move(self, T_map_map: Float64Array) -> None:
        """Move all poses by a rigid motion (4, 4)."""
        stamps_ns, poses = self.poses()
        self.clear()
        for stamp_ns, T_map_camera in zip(stamps_ns, pose_matrix_xyzw(poses), strict=True):
            self.append(stamp_ns, T_map_map @ T_map_camera)

    def restore(self, stamps_ns: Sequence[int], poses: Float64Array) -> None:
        """Replace all poses by stamps [ns] and poses (N, 7) as `poses` returns them."""
        with self._lock:
            self._stamps_ns = array("q", stamps_ns)
            self._poses = array("d", poses.ravel())

    def __len__(self) -> int:
        return len(self._stamps_ns)

    def poses(self) -> tuple[list[int], Float64Array]:
        """Return the stamps [ns] and the poses (N, 7): x, y, z, qx, qy, qz, qw."""
        with self._lock:
            return list(self._stamps_ns), np.array(self._poses).reshape(-1, 7)
