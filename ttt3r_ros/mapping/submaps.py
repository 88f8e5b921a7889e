# SPDX-License-Identifier: Apache-2.0
"""Submaps: parts of the voxel map, each in its own frame, so that a correction moves them without touching voxels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.geometry import is_identity, se3_inverse, transform
from ttt3r_ros.mapping.voxel_hash import voxel_keys
from ttt3r_ros.mapping.voxel_map import PointCloud, VoxelMap, weighted_means
from ttt3r_ros.state_dict import StateReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ttt3r_ros.state_dict import StateDict
    from ttt3r_ros.types import BoolArray, Float32Array, Float64Array, Intrinsics, UInt8Array


_MAX_ALLOCATION = 8  # memory of a loaded map, over that of a single submap with all voxels


@dataclass(frozen=True)
class Submap:
    """Voxels in the frame of a submap, and the current pose of that frame."""

    id: int
    T_map_submap: Float64Array  # (4, 4)
    voxels: VoxelMap

    def to_submap(self, T_map_camera: Float64Array) -> Float64Array:
        """Return a pose (4, 4) relative to the submap."""
        if is_identity(self.T_map_submap):
            return T_map_camera
        return se3_inverse(self.T_map_submap) @ T_map_camera

    def points_to_submap(self, points_map: Float32Array) -> Float32Array:
        """Return points (N, 3) in the submap's frame."""
        if is_identity(self.T_map_submap):
            return points_map
        return transform(se3_inverse(self.T_map_submap), points_map)


class SubmapCollection:
    """Voxel map of one or more submaps. Frames go into the newest submap, the active one; readers get all merged.

    A new collection has one submap with the identity pose, whose voxels are those of the map. The maximum number of
    voxels applies to all submaps together. One thread writes, any thread reads.
    """

    def __init__(self, voxel_size: float, max_voxels: int) -> None:
        self._voxel_size, self._max_voxels = voxel_size, max_voxels
        self._epoch = self._past_versions = 0
        self._eviction_turn = 0  # finished submap that `evict` checks next
        self._submaps: tuple[Submap, ...] = ()  # replaced, so that readers need no lock
        self.clear()

    def clear(self) -> None:
        """Remove all voxels and all submaps but a first one with the identity pose."""
        self._replace((Submap(0, np.eye(4), VoxelMap(self._voxel_size, self._max_voxels)),))

    # --- writing ------------------------------------------------------------------------------------

    def integrate(
        self, points_map: Float32Array, rgb: UInt8Array, weights: Float32Array, stamp_ns: int = 0
    ) -> None:
        """Integrate points of one frame into the active submap; see `VoxelMap.integrate`."""
        self.active.voxels.integrate(self.active.points_to_submap(points_map), rgb, weights, stamp_ns)
        self._evict_surplus()

    def carve_free_space(
        self,
        depth: Float32Array,
        intrinsics: Intrinsics,
        T_map_camera: Float64Array,
        valid: BoolArray | None = None,
    ) -> None:
        """Carve the active submap; see `VoxelMap.carve_free_space`."""
        T_submap_camera = self.active.to_submap(T_map_camera)
        self.active.voxels.carve_free_space(depth, intrinsics, T_submap_camera, valid)

    def evict(
        self, center_map: Float64Array, max_radius: float = 0.0, now_ns: int = 0, max_age: float = 0.0
    ) -> None:
        """Evict from the active submap and, in turn, from one other; see `VoxelMap.evict`."""
        visited = [self.active]
        if finished := self._submaps[:-1]:
            visited.append(finished[self._eviction_turn % len(finished)])
            self._eviction_turn += 1
        for submap in visited:
            center = center_map
            if not is_identity(submap.T_map_submap):
                center = transform(se3_inverse(submap.T_map_submap), center_map)
            submap.voxels.evict(center, max_radius, now_ns, max_age)

    # --- submaps ------------------------------------------------------------------------------------

    @property
    def submaps(self) -> tuple[Submap, ...]:
        """Return all submaps, the active one last; a submap's id is its index."""
        return self._submaps

    @property
    def active(self) -> Submap:
        """Return the submap into which frames are integrated."""
        return self._submaps[-1]

    def start_submap(self, T_map_submap: Float64Array) -> int:
        """Finish the active submap, start the next one with a pose (4, 4), and return its id."""
        self.active.voxels.finish()
        submap = Submap(len(self._submaps), T_map_submap, VoxelMap(self._voxel_size, self._max_voxels))
        self._submaps = (*self._submaps, submap)
        return submap.id

    def set_submap_poses(self, poses: Mapping[int, Float64Array]) -> None:
        """Set T_map_submap (4, 4) by submap id; the voxels move with their submaps.

        Raises:
            KeyError: there is no submap with such an id; nothing has changed.
        """
        submaps = list(self._submaps)
        for submap_id, T_map_submap in poses.items():
            if not 0 <= submap_id < len(submaps):
                raise KeyError(submap_id)
            submaps[submap_id] = replace(submaps[submap_id], T_map_submap=T_map_submap)
        self._submaps = tuple(submaps)
        self._past_versions += 1  # last: a reader of the new version gets the new poses

    def transform(self, T_map_map: Float64Array) -> None:
        """Move everything by a rigid motion (4, 4).

        A single submap in the map frame is resampled, so that it stays there and reading it needs no merge.
        """
        if len(self._submaps) == 1 and is_identity(self.active.T_map_submap):
            self.active.voxels.transform(T_map_map)
            return
        self.set_submap_poses({s.id: T_map_map @ s.T_map_submap for s in self._submaps})

    # --- reading ------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """Return how often the map was cleared or loaded."""
        return self._epoch

    @property
    def version(self) -> int:
        """Return a number that increases with every change of the map."""
        return self._past_versions + sum(submap.voxels.version for submap in self._submaps)

    @property
    def frame_count(self) -> int:
        """Return the number of frames integrated into the active submap."""
        return self.active.voxels.frame_count

    def __len__(self) -> int:
        """Return the number of voxels of all submaps; merged ones may be fewer."""
        return sum(len(submap.voxels) for submap in self._submaps)

    def point_cloud(self) -> PointCloud:
        """Return a copy of the map as points, one per voxel of the map frame."""
        submaps = self._submaps
        if len(submaps) == 1 and is_identity(submaps[0].T_map_submap):
            return submaps[0].voxels.point_cloud()
        return _merge(submaps, self._voxel_size)

    # --- saving -------------------------------------------------------------------------------------

    def state_dict(self) -> StateDict:
        """Return a copy of everything, for `load_state_dict`."""
        submaps = self._submaps
        return {
            "T_map_submap": np.array([submap.T_map_submap for submap in submaps], np.float64),
            "max_voxels": np.array([submap.voxels.max_voxels for submap in submaps], np.int64),
            "eviction_turn": self._eviction_turn,
            **{str(submap.id): submap.voxels.state_dict() for submap in submaps},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace everything by a `state_dict`; of a map that is too large, keep the newest voxels.

        Raises:
            SourceError: an entry is invalid or of another voxel size; nothing has changed.
        """
        with StateReader(state, "voxels") as read:
            poses = read.poses("T_map_submap")
            bounds = read.array("max_voxels", np.int64, (len(poses),))
            turn = read.integer("eviction_turn")
            groups = [read.group(str(index)) for index in range(len(poses))]
            read.require(len(poses) > 0, "there is no submap")
            read.require((bounds > 0).all(), "max_voxels is out of range")
            bounds = np.minimum(bounds, self._max_voxels)
            bounds[-1] = self._max_voxels
            # Each submap allocates its bound. One that was evicted from has a bound above its voxels.
            read.require(
                bounds.sum() <= _MAX_ALLOCATION * self._max_voxels + len(bounds),
                f"max_voxels of {len(bounds)} submaps are {bounds.sum()} in total",
            )
        submaps = []
        for index, (T_map_submap, bound) in enumerate(zip(poses, bounds.tolist(), strict=True)):
            voxels = VoxelMap(self._voxel_size, bound)
            voxels.load_state_dict(groups[index])
            submaps.append(Submap(index, T_map_submap, voxels))
        self._eviction_turn = turn
        self._replace(tuple(submaps))
        self._evict_surplus()

    def _evict_surplus(self) -> None:
        """Evict voxels of finished submaps, the oldest first, until the maximum number holds."""
        for submap in self._submaps[:-1]:
            surplus = len(self) - self._max_voxels
            if surplus <= 0:
                break
            submap.voxels.evict_oldest(surplus)

    def _replace(self, submaps: tuple[Submap, ...]) -> None:
        version = self.version + 1
        self._submaps = submaps
        self._past_versions = version  # last: a reader of the new version gets the new submaps
        self._epoch += 1


def _merge(submaps: tuple[Submap, ...], voxel_size: float) -> PointCloud:
    """Return the weighted means of all submaps' voxels per voxel of the map frame."""
    parts = [(submap.T_map_submap, *submap.voxels.means_and_weights()) for submap in submaps]
    points = np.concatenate([transform(T, means[:, :3]) for T, means, _ in parts])
    rgb = np.concatenate([means[:, 3:] for _, means, _ in parts])
    weights = np.concatenate([weights for _, _, weights in parts])
    keys, inside = voxel_keys(points, voxel_size)
    _, means, _, _ = weighted_means(keys, points[inside], rgb[inside], weights[inside])
    return PointCloud(means[:, :3].copy(), np.rint(means[:, 3:]).astype(np.uint8))
