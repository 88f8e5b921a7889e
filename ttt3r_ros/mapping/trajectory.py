# SPDX-License-Identifier: Apache-2.0
"""Trajectory of the camera."""

from __future__ import annotations

import threading
from array import array
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ttt3r_ros.geometry import is_identity, pose_matrix_xyzw, pose_row_xyzw, se3_inverse
from ttt3r_ros.state_dict import StateReader

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
    """Stamped camera poses, each stored relative to a keyframe (72 bytes). One thread writes, any thread reads.

    Poses in the map frame are composed on read with the current keyframe poses. A correction of the map changes
    keyframe poses only. Without corrections there is one keyframe with the identity pose.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._epoch = self._revision = -1
        self._keyframe_poses: Float64Array  # T_map_keyframe (K, 4, 4); replaced and never written to
        self.clear()

    def append(self, stamp_ns: int, T_map_camera: Float64Array) -> None:
        """Append one pose (4, 4), relative to the newest keyframe."""
        T_map_keyframe = self._keyframe_poses[-1]
        row = pose_row_xyzw(
            T_map_camera if is_identity(T_map_keyframe) else se3_inverse(T_map_keyframe) @ T_map_camera
        )
        with self._lock:
            self._stamps_ns.append(stamp_ns)
            self._keyframe_ids.append(len(self._keyframe_poses) - 1)
            self._poses.extend(row)

    def clear(self) -> None:
        """Remove all poses and all keyframes but a first one with the identity pose."""
        self._replace(array("q"), array("q"), array("d"), np.eye(4)[None])

    # --- keyframes ----------------------------------------------------------------------------------

    @property
    def keyframe_poses(self) -> Float64Array:
        """Return a copy of T_map_keyframe (K, 4, 4); a keyframe's id is its index."""
        return self._keyframe_poses.copy()

    def keyframes(self) -> tuple[int, Float64Array]:
        """Return the revision and a copy of T_map_keyframe (K, 4, 4) in that revision."""
        with self._lock:
            return self._revision, self._keyframe_poses.copy()

    def add_keyframe(self, T_map_keyframe: Float64Array) -> int:
        """Store the poses that follow relative to a new keyframe (4, 4); return its id."""
        with self._lock:
            self._keyframe_poses = np.concatenate((self._keyframe_poses, T_map_keyframe[None]))
            return len(self._keyframe_poses) - 1

    def set_keyframe_poses(self, poses: Mapping[int, Float64Array]) -> None:
        """Set T_map_keyframe (4, 4) by keyframe id; the camera poses move with their keyframes.

        Raises:
            KeyError: there is no keyframe with such an id; nothing has changed.
        """
        corrected = self._keyframe_poses.copy()
        for keyframe_id, T_map_keyframe in poses.items():
            if not 0 <= keyframe_id < len(corrected):
                raise KeyError(keyframe_id)
            corrected[keyframe_id] = T_map_keyframe
        with self._lock:
            self._keyframe_poses = corrected
            self._revision += 1

    def transform(self, T_map_map: Float64Array) -> None:
        """Move all poses by a rigid motion (4, 4); a reader gets all of them moved or none."""
        corrected = T_map_map @ self._keyframe_poses
        if is_identity(self._keyframe_poses[-1]):  # poses in the map frame stay in the map frame
            corrected = np.concatenate((corrected, np.eye(4)[None]))
        with self._lock:
            self._keyframe_poses = corrected
            self._revision += 1

    # --- reading ------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._stamps_ns)

    @property
    def epoch(self) -> int:
        """Return how often the trajectory was cleared or loaded."""
        return self._epoch

    @property
    def revision(self) -> int:
        """Return how often earlier poses changed: cleared, loaded, transformed or moved with a keyframe."""
        return self._revision

    def poses(self) -> tuple[list[int], Float64Array]:
        """Return the stamps [ns] and the poses (N, 7) in the map: x, y, z, qx, qy, qz, qw."""
        with self._lock:
            stamps_ns, stored = list(self._stamps_ns), self._read_stored(0)
        return stamps_ns, _compose(*stored)

    def delta(self, revision: int, count: int) -> TrajectoryDelta:
        """Return the poses after the first `count` ones of a revision; all poses if the revision is outdated."""
        with self._lock:
            start = count if revision == self._revision else 0
            current, stored = (self._epoch, self._revision), self._read_stored(start)
        return TrajectoryDelta(*current, start, _compose(*stored))

    # --- saving -------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return a copy of everything, for `load_state_dict`."""
        with self._lock:
            poses, keyframe_ids, keyframe_poses = self._read_stored(0)
            return {
                "stamps_ns": np.array(self._stamps_ns, np.int64),
                "keyframe_ids": keyframe_ids,
                "poses": poses,
                "keyframe_poses": keyframe_poses.copy(),
            }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace everything by a `state_dict`.

        Raises:
            SourceError: an array is missing or invalid; nothing has changed.
        """
        with StateReader(state, "trajectory") as read:
            stamps_ns = read.array("stamps_ns", np.int64, (None,))
            keyframe_ids = read.array("keyframe_ids", np.int64, stamps_ns.shape)
            poses = read.array("poses", np.float64, (len(stamps_ns), 7))
            keyframe_poses = read.poses("keyframe_poses")
            count = len(keyframe_poses)
            lengths = np.linalg.norm(poses[:, 3:], axis=1)
            read.require((np.abs(lengths - 1.0) < 1e-6).all(), "poses have quaternions of other lengths")
            read.require((np.abs(poses[:, :3]) <= 1e10).all(), "poses have positions beyond 1e10 m")
            read.require(count > 0, "there is no keyframe")
            read.require(
                ((keyframe_ids >= 0) & (keyframe_ids < count)).all(),
                f"keyframe_ids are not below {count}",
            )
        self._replace(
            array("q", stamps_ns), array("q", keyframe_ids), array("d", poses.ravel()), keyframe_poses
        )

    def _replace(
        self,
        stamps_ns: array[int],
        keyframe_ids: array[int],
        poses: array[float],
        keyframe_poses: Float64Array,
    ) -> None:
        with self._lock:
            self._stamps_ns, self._keyframe_ids, self._poses = stamps_ns, keyframe_ids, poses
            self._keyframe_poses = keyframe_poses
            self._epoch += 1
            self._revision += 1

    def _read_stored(self, start: int) -> tuple[Float64Array, NDArray[np.int64], Float64Array]:
        """Return relative poses (N, 7) from an index on, their keyframe ids (N,) and all keyframe poses."""
        poses = np.array(self._poses[7 * start :]).reshape(-1, 7)
        return poses, np.array(self._keyframe_ids[start:], np.int64), self._keyframe_poses


def _compose(
    poses: Float64Array, keyframe_ids: NDArray[np.int64], keyframe_poses: Float64Array
) -> Float64Array:
    """Return poses (N, 7) in the map; those of keyframes with the identity pose are returned as stored."""
    moved = (keyframe_poses != np.eye(4)).any(axis=(1, 2))[keyframe_ids]
    if moved.any():
        poses[moved] = pose_row_xyzw(
            keyframe_poses[keyframe_ids[moved]] @ pose_matrix_xyzw(poses[moved])
        )
    return poses
