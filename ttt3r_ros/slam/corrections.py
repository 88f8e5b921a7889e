# SPDX-License-Identifier: Apache-2.0
"""Corrections of the map: values that a back end submits, their queue, and their application between two frames.

A back end reads `Trajectory.keyframes`, optimizes in its own thread and submits a `MapCorrection` with the revision
that it read. Meanwhile the mapping thread may add keyframes and submaps. They move with the newest corrected one.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import require_pose, se3_inverse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ttt3r_ros.mapping.map_builder import MapBuilder
    from ttt3r_ros.mapping.trajectory import Trajectory
    from ttt3r_ros.odometry.leveling import Leveling
    from ttt3r_ros.odometry.pose_integrator import PoseIntegrator
    from ttt3r_ros.types import Float64Array


@dataclass(frozen=True)
class MapCorrection:
    """New rigid poses (4, 4) in the map, applied together between two frames.

    Either ``T_map_map`` moves all of them, or some get new poses. Keyframes newer than the newest listed one move
    rigidly with it, and so does odom: the next frame continues in the corrected map. Older ones that are not listed
    stay. The same holds for submaps.

    Raises:
        ValueError: a pose is not rigid, or poses by id have no revision or are combined with ``T_map_map``.
    """

    T_map_map: Float64Array | None = None  # moves keyframes, submaps and odom
    keyframe_poses: Mapping[int, Float64Array] = field(default_factory=dict)  # T_map_keyframe by id
    submap_poses: Mapping[int, Float64Array] = field(default_factory=dict)  # T_map_submap by id
    T_map_base: Float64Array | None = None  # relocalization: moves odom only
    revision: int | None = None  # `Trajectory.revision` of the corrected map; None: any

    def __post_init__(self) -> None:
        for name in ("T_map_map", "T_map_base"):
            if (T := getattr(self, name)) is not None:
                object.__setattr__(self, name, _read_only_pose(T))
        for name in ("keyframe_poses", "submap_poses"):
            poses = {key: _read_only_pose(T) for key, T in getattr(self, name).items()}
            object.__setattr__(self, name, MappingProxyType(poses))
        if self.keyframe_poses or self.submap_poses:
            if self.revision is None:
                msg = "poses by id have revision None; ids are valid in one revision only"
                raise ValueError(msg)
            if self.T_map_map is not None:
                msg = "T_map_map cannot be combined with keyframe_poses or submap_poses"
                raise ValueError(msg)


class CorrectionQueue:
    """Corrections that wait for the end of the current frame. Any thread submits, the mapping thread drains."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: list[MapCorrection] = []

    def submit(self, correction: MapCorrection) -> None:
        """Append a correction."""
        with self._lock:
            self._pending.append(correction)

    def drain(self) -> list[MapCorrection]:
        """Remove and return all corrections in order of submission."""
        with self._lock:
            pending, self._pending = self._pending, []
        return pending


@dataclass(frozen=True)
class CorrectableMap:
    """The parts of a reconstructor that a correction moves. Only the mapping thread calls its methods."""

    pose_integrator: PoseIntegrator
    trajectory: Trajectory
    map: MapBuilder
    leveling: Leveling

    def apply(self, correction: MapCorrection) -> bool:
        """Move trajectory, voxels, odom and floor, and clear the grid; False: the correction is out of date.

        Raises:
            KeyError: a keyframe or submap does not exist; nothing has changed.
        """
        if correction.revision not in (None, self.trajectory.revision):
            return False
        keyframe_poses = with_newer_poses(correction.keyframe_poses, self.trajectory.keyframe_poses)
        before = [submap.T_map_submap for submap in self.map.voxels.submaps]
        submap_poses = with_newer_poses(correction.submap_poses, before)
        T_map_odom = self.pose_integrator.T_map_odom
        if correction.T_map_map is not None:
            self.transform(correction.T_map_map)
        # The map before the trajectory: a reader of the new revision gets the new submap poses.
        if keyframe_poses or submap_poses:
            self.map.set_submap_poses(submap_poses)
        if keyframe_poses:
            T_before = self.trajectory.keyframe_poses[max(keyframe_poses)]
            self.trajectory.set_keyframe_poses(keyframe_poses)
            self.pose_integrator.correct(keyframe_poses[max(keyframe_poses)] @ se3_inverse(T_before))
        self._move_floor(self.pose_integrator.T_map_odom @ se3_inverse(T_map_odom))
        if correction.T_map_base is not None:
            self.pose_integrator.set_pose(correction.T_map_base)
        return True

    def transform(self, T_map_map: Float64Array) -> None:
        """Move odom, voxels and trajectory by a rigid motion (4, 4) and clear the grid."""
        self.pose_integrator.correct(T_map_map)
        self.map.transform(T_map_map)
        self.trajectory.transform(T_map_map)

    def _move_floor(self, T_map_map: Float64Array) -> None:
        T_map_base = self.pose_integrator.T_map_base
        if self.leveling.floor_z is not None and T_map_base is not None:
            before = se3_inverse(T_map_map) @ T_map_base
            self.leveling.floor_z += float(T_map_base[2, 3] - before[2, 3])


def with_newer_poses(
    corrected: Mapping[int, Float64Array], poses: Sequence[Float64Array] | Float64Array
) -> dict[int, Float64Array]:
    """Return corrected poses (4, 4) by id, and the newer ones of ``poses``, moved with the newest corrected one.

    Raises:
        KeyError: ``poses`` has no pose of a corrected id.
    """
    for unknown in (key for key in corrected if not 0 <= key < len(poses)):
        raise KeyError(unknown)
    if not corrected:
        return {}
    newest = max(corrected)
    T_map_map = corrected[newest] @ se3_inverse(poses[newest])
    newer = {key: T_map_map @ poses[key] for key in range(newest + 1, len(poses))}
    return {**corrected, **newer}


def _read_only_pose(T: Float64Array) -> Float64Array:
    """Return a read-only copy of a rigid pose (4, 4); raise ValueError if it is not one."""
    pose = np.array(T, np.float64)
    if pose.ndim != 2:
        msg = f"pose of a correction has shape {pose.shape}; expected (4, 4)"
        raise ValueError(msg)
    require_pose(pose)
    pose.flags.writeable = False
    return pose
