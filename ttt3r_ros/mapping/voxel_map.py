# SPDX-License-Identifier: Apache-2.0
"""Colored voxel map of bounded size; the cost per frame does not depend on the size of the map."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.geometry import transform
from ttt3r_ros.mapping.free_space import free_space_mask
from ttt3r_ros.mapping.voxel_hash import (
    EMPTY,
    VoxelHashTable,
    unique_keys,
    voxel_coordinates,
    voxel_keys,
)
from ttt3r_ros.state_dict import StateReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ttt3r_ros.types import BoolArray, Float32Array, Float64Array, Intrinsics, UInt8Array

_MAX_WEIGHT = np.float32(1000.0)  # bounded, so that an old voxel still adapts to new observations
_MAX_COUNTER = 2**53  # saved counters beyond it are damage
_VISITS_PER_FRAME = 1 << 14  # voxels checked by one call of carving or eviction, for any map size
_EVICTION_POOL = 8  # candidates per voxel to evict, of which the oldest ones go
_SLOTS_PER_COPY = 1 << 16  # fit into the processor's cache
_MISS_DECAY = np.float32(0.5)  # factor on the weight of a voxel in observed free space
# Lighter voxels are removed; new ones start at 1, so one miss removes none.
_MIN_WEIGHT = np.float32(0.5)


@dataclass(frozen=True)
class PointCloud:
    """N colored points."""

    points: Float32Array  # (N, 3)
    rgb: UInt8Array  # (N, 3)


class VoxelMap:
    """Confidence-weighted mean position and color per voxel. Thread-safe."""

    def __init__(self, voxel_size: float, max_voxels: int) -> None:
        self._voxel_size = voxel_size
        self._max_voxels = max_voxels
        self._lock = threading.Lock()
        self._version = 0
        self._table: VoxelHashTable
        self.clear()

    def clear(self) -> None:
        """Remove all voxels."""
        with self._lock:
            self._table = VoxelHashTable(self._max_voxels)
            self._frame_count = 0
            self._cursors = {"carve": 0, "evict": 0, "make_room": 0}  # slot at which each continues
            self._version += 1

    @property
    def voxel_size(self) -> float:
        """Return the edge length of a voxel [m]."""
        return self._voxel_size

    @property
    def max_voxels(self) -> int:
        """Return the maximum number of voxels."""
        return self._max_voxels

    @property
    def frame_count(self) -> int:
        """Return the number of integrated frames."""
        return self._frame_count

    @property
    def version(self) -> int:
        """Return a number that increases with every change of the map."""
        return self._version

    def __len__(self) -> int:
        return self._table.count

    def integrate(
        self, points: Float32Array, rgb: UInt8Array, weights: Float32Array, stamp_ns: int = 0
    ) -> None:
        """Integrate finite points (N, 3), colors (N, 3) and positive weights (N,) of one frame [ns]."""
        weights = np.minimum(weights, _MAX_WEIGHT)  # larger sums could overflow
        keys, inside = voxel_keys(points, self._voxel_size)
        if len(keys) < len(points):
            points, rgb, weights = points[inside], rgb[inside], weights[inside]
        keys, means, totals, _ = weighted_means(keys, points, rgb, weights)
        # A single frame may exceed the bound; then its voxels of largest weight are kept.
        if len(keys) > self._max_voxels:
            heaviest = np.argpartition(totals, -self._max_voxels)[-self._max_voxels :]
            keys, means, totals = keys[heaviest], means[heaviest], totals[heaviest]
        with self._lock:
            self._frame_count += 1
            self._version += 1
            self._make_room(keys)
            table = self._table
            slots = table.find_or_insert(keys)
            old = table.weight[slots]
            gain = (totals / (old + totals))[:, None]
            before = table.mean.take(slots, axis=0)
            table.write_means(slots, before + gain * (means - before))
            table.weight[slots] = np.minimum(old + totals, _MAX_WEIGHT)
            table.last_frame[slots] = self._frame_count
            table.stamp_ns[slots] = stamp_ns

    def carve_free_space(
        self,
        depth: Float32Array,
        intrinsics: Intrinsics,
        T_map_camera: Float64Array,
        valid: BoolArray | None = None,
    ) -> None:
        """Halve the weight of voxels in observed free space, and remove voxels of low weight.

        Pixels count where the depth (h, w) [m] is finite and ``valid`` (h, w). One call checks an eighth of the map,
        at most 16384 voxels.
        """
        with self._lock:
            table, slots = self._table, self._next_slots("carve")
            points = table.mean.take(slots, axis=0)[:, :3]
            margin = 2 * self._voxel_size
            missed = slots[free_space_mask(points, depth, margin, intrinsics, T_map_camera, valid)]
            table.weight[missed] *= _MISS_DECAY
            self._remove(missed[table.weight[missed] < _MIN_WEIGHT])

    def evict(
        self, center: Float64Array, max_radius: float = 0.0, now_ns: int = 0, max_age: float = 0.0
    ) -> None:
        """Remove voxels beyond a radius [m] around a point (3,) or not observed for an age [s]; 0: no limit.

        One call checks an eighth of the map, at most 16384 voxels.
        """
        with self._lock:
            table, slots = self._table, self._next_slots("evict")
            expired = np.zeros(len(slots), np.bool_)
            if max_radius:
                offset = table.mean.take(slots, axis=0)[:, :3] - center.astype(np.float32)
                expired |= np.einsum("ij,ij->i", offset, offset) > max_radius**2
            if max_age:
                expired |= now_ns - table.stamp_ns[slots] > max_age * 1e9
            self._remove(slots[expired])

    def evict_oldest(self, count: int) -> None:
        """Remove up to a number of voxels that the newest frame did not observe, approximately the oldest ones."""
        with self._lock:
            self._evict_oldest(count)

    def finish(self) -> None:
        """Shrink the memory to the voxels that exist, after the last frame was integrated."""
        with self._lock:
            slots = self._table.occupied_slots()
            keys, rows = self._table.keys[slots], self._table.rows(slots)
            self._max_voxels = max(1, len(keys))
            self._table = VoxelHashTable(self._max_voxels)
            self._table.insert(keys, rows)
            self._frame_count += 1  # no voxel was observed by the newest frame: all may be evicted
            self._version += 1

    def transform(self, T_map_map: Float64Array) -> None:
        """Move all voxels by a rigid motion (4, 4) and merge those that fall into the same cell."""
        with self._lock:
            rows = self._table.rows(self._table.occupied_slots())
            points = transform(T_map_map, rows["mean"][:, :3].astype(np.float64)).astype(np.float32)
            keys, inside = voxel_keys(points, self._voxel_size)
            rows = {name: row[inside] for name, row in rows.items()}
            rgb = rows["mean"][:, 3:]
            keys, means, totals, indices = weighted_means(keys, points[inside], rgb, rows["weight"])
            newest = {}
            for name in ("last_frame", "stamp_ns"):
                newest[name] = np.full(len(keys), np.iinfo(np.int64).min)
                np.maximum.at(newest[name], indices, rows[name])
            weight = np.minimum(totals, _MAX_WEIGHT)
            self._table = VoxelHashTable(self._max_voxels)
            self._table.insert(keys, {"weight": weight, "mean": means, **newest})
            self._version += 1

    def point_cloud(self) -> PointCloud:
        """Return a copy of the map as points."""
        with self._lock:
            table, count = self._table, 0
            cloud = PointCloud(
                np.empty((table.count, 3), np.float32), np.empty((table.count, 3), np.uint8)
            )
            for start in range(0, table.capacity, _SLOTS_PER_COPY):
                occupied = np.flatnonzero(table.keys[start : start + _SLOTS_PER_COPY] != EMPTY)
                means = table.mean[start + occupied]
                cloud.points[count : count + len(means)] = means[:, :3]
                cloud.rgb[count : count + len(means)] = np.rint(means[:, 3:])
                count += len(means)
        return cloud

    def means_and_weights(self) -> tuple[Float32Array, Float32Array]:
        """Return copies of the means (N, 6), position and color, and of the weights (N,)."""
        with self._lock:
            slots = self._table.occupied_slots()
            return self._table.mean[slots], self._table.weight[slots]

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return a copy of everything, for `load_state_dict`."""
        with self._lock:
            table, slots = self._table, self._table.occupied_slots()
            counters = [table.capacity, self._frame_count, *self._cursors.values()]
            return {
                "voxel_size": np.array(self._voxel_size, np.float64),
                "counters": np.array(counters, np.int64),
                "slots": slots.astype(np.int64),
                "keys": table.keys[slots],
                **table.rows(slots),
            }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace everything by a `state_dict`; of a map that is too large, keep the voxels observed last.

        Raises:
            SourceError: an entry is invalid or of another voxel size; nothing has changed.
        """
        table = VoxelHashTable(self._max_voxels)
        with StateReader(state, "voxel map") as read:
            size = read.number("voxel_size")
            read.require(
                size == self._voxel_size, f"voxel_size is {size} m; expected {self._voxel_size} m"
            )
            counters = read.array("counters", np.int64, (2 + len(self._cursors),)).tolist()
            in_range = min(counters) >= 0 and max(counters) <= _MAX_COUNTER
            read.require(in_range, "counters are out of range")
            capacity, frame_count, *cursors = counters
            keys = read.array("keys", np.int64, (None,))
            slots = read.array("slots", np.int64, keys.shape)
            rows = {
                name: read.array(name, column.dtype.type, (len(keys), *column.shape[1:]))
                for name, column in table.columns().items()
            }
            _validate_voxels(read, size, keys, rows, frame_count)
        if capacity == table.capacity and len(keys) <= self._max_voxels:
            # The same slots, because they decide which of equally old voxels is evicted first.
            read.require(((slots >= 0) & (slots < capacity)).all(), "slots are out of range")
            read.require(table.insert_at(slots, keys, rows), "slots do not match the keys")
        else:
            order = np.argsort(rows["last_frame"], kind="stable")
            newest = order[max(0, len(keys) - self._max_voxels) :]
            table.insert(keys[newest], {name: row[newest] for name, row in rows.items()})
        with self._lock:
            self._table, self._frame_count = table, frame_count
            self._cursors = dict(zip(self._cursors, cursors, strict=True))
            self._version += 1

    def _next_slots(self, task: str, max_count: int = _VISITS_PER_FRAME) -> NDArray[np.intp]:
        slots, self._cursors[task] = self._table.occupied_slots_from(self._cursors[task], max_count)
        return slots

    def _remove(self, slots: NDArray[np.intp]) -> None:
        if slots.size:
            self._table.remove(slots)
            self._version += 1

    def _make_room(self, keys: NDArray[np.int64]) -> None:
        """Evict old voxels if these keys exceed the bound, but none that the keys observe."""
        table = self._table
        if table.count + len(keys) <= self._max_voxels:
            return
        observed = table.find(keys)
        table.last_frame[observed] = self._frame_count
        surplus = table.count + len(keys) - len(observed) - self._max_voxels
        if surplus > 0:
            self._evict_oldest(surplus)

    def _evict_oldest(self, count: int) -> None:
        last_frame = self._table.last_frame
        candidates = self._eviction_candidates(max(_VISITS_PER_FRAME, _EVICTION_POOL * count))
        self._remove(candidates[np.argsort(last_frame[candidates], kind="stable")[:count]])

    def _eviction_candidates(self, count: int) -> NDArray[np.intp]:
        """Return about so many slots not observed by the newest frame, or all; hash order samples uniformly."""
        table, parts, missing, visited = self._table, [], count, 0
        while missing > 0 and visited < table.capacity:
            start = self._cursors["make_room"] % table.capacity
            slots = self._next_slots("make_room", missing)
            visited += self._cursors["make_room"] - start
            parts.append(slots[table.last_frame[slots] < self._frame_count])
            missing -= len(parts[-1])
        return np.concatenate(parts)


def weighted_means(
    keys: NDArray[np.int64], points: Float32Array, rgb: NDArray[Any], weights: Float32Array
) -> tuple[NDArray[np.int64], Float32Array, Float32Array, NDArray[np.intp]]:
    """Return distinct keys, their weighted means (M, 6), total weights (M,), and the index of each key (N,)."""
    unique, indices = unique_keys(keys)
    totals = np.bincount(indices, weights, len(unique))
    means = np.empty((len(unique), 6), np.float32)
    for axis, column in enumerate((*points.T, *rgb.T)):
        means[:, axis] = np.bincount(indices, weights * column, len(unique)) / totals
    return unique, means, totals.astype(np.float32), indices


def _validate_voxels(
    read: StateReader,
    voxel_size: float,
    keys: NDArray[np.int64],
    rows: Mapping[str, NDArray[Any]],
    frame_count: int,
) -> None:
    """Raise `SourceError` for rows that no map can contain."""
    distinct = len(np.unique(keys)) == len(keys)
    read.require((keys >= 0).all() and distinct, "keys are negative or not distinct")
    weight, rgb, last_frame = rows["weight"], np.rint(rows["mean"][:, 3:]), rows["last_frame"]
    read.require(((weight > 0) & (weight <= _MAX_WEIGHT)).all(), "weights are out of range")
    # Rounded, because a weighted mean in float32 may exceed 255 by a rounding error.
    read.require(((rgb >= 0) & (rgb <= 255)).all(), "colors are out of range")
    # A mean is in its voxel, up to rounding at the edge of the grid.
    offset = rows["mean"][:, :3] / np.float32(voxel_size) - voxel_coordinates(keys)
    read.require(((offset >= -1.0) & (offset <= 2.0)).all(), "means are outside of their voxels")
    read.require(((last_frame >= 0) & (last_frame <= frame_count)).all(), "last_frame is out of range")
