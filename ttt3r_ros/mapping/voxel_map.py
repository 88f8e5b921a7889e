# SPDX-License-Identifier: Apache-2.0
"""A colored point map on a voxel grid, of bounded size, at a cost per frame that does not grow with the map."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.geometry import transform
from ttt3r_ros.mapping.free_space import free_space_mask
from ttt3r_ros.mapping.voxel_hash import EMPTY, VoxelHashTable, unique_keys, voxel_keys
from ttt3r_ros.state_dict import require, saved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ttt3r_ros.types import BoolArray, Float32Array, Float64Array, Intrinsics, UInt8Array

_MAX_WEIGHT = np.float32(1000.0)  # an old voxel still follows new evidence
# Voxels that one frame looks at to clear, forget or evict some: bounded, however large the map.
_LOOKS = 1 << 14
_CHOICE = 8  # times as many voxels as have to go are looked at to find the oldest
_CHUNK = 1 << 16  # slots copied at once: they fit into the processor's cache
_WORN = np.float32(0.5)  # what is left of the weight of a voxel that is seen through
_GONE = np.float32(0.5)  # lighter ones go; what was fused weighs 1 or more, so never at first sight


@dataclass(frozen=True)
class PointCloud:
    """Points with colors, N each."""

    points: Float32Array  # (N, 3)
    rgb: UInt8Array  # (N, 3)


class VoxelMap:
    """Confidence-weighted mean position and color per voxel. All methods may be called from any thread."""

    def __init__(self, voxel_size: float, max_voxels: int) -> None:
        self._voxel_size = voxel_size
        self._max_voxels = max_voxels
        self._lock = threading.Lock()
        self._version = 0
        self._epoch = 0
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._table = VoxelHashTable(self._max_voxels)
            self._clock = 0
            self._turns = {"wear": 0, "forget": 0, "evict": 0}  # the slot at which each goes on
            self._version += 1
            self._epoch += 1

    @property
    def frame_count(self) -> int:
        """Return how many frames were fused."""
        return self._clock

    @property
    def version(self) -> int:
        """Return a number that changes whenever the map does."""
        return self._version

    @property
    def epoch(self) -> int:
        """Return how often the map was emptied or replaced."""
        return self._epoch

    def __len__(self) -> int:
        return self._table.count

    def integrate(
        self, points: Float32Array, rgb: UInt8Array, weights: Float32Array, stamp_ns: int = 0
    ) -> None:
        """Fuse finite points (N, 3), colors (N, 3) and positive weights (N,), all seen at one time [ns]."""
        weights = np.minimum(weights, _MAX_WEIGHT)  # sums of larger ones could overflow
        keys, inside = voxel_keys(points, self._voxel_size)
        if len(keys) < len(points):
            points, rgb, weights = points[inside], rgb[inside], weights[inside]
        keys, means, totals, _ = _weighted_means(keys, points, rgb, weights)
        # One frame may by itself exceed the bound; its heaviest voxels then are the map.
        if len(keys) > self._max_voxels:
            best = np.argpartition(totals, -self._max_voxels)[-self._max_voxels :]
            keys, means, totals = keys[best], means[best], totals[best]
        with self._lock:
            self._clock += 1
            self._version += 1
            self._make_room(keys)
            table = self._table
            slots = table.find_or_insert(keys)
            old = table.weight[slots]
            share = (totals / (old + totals))[:, None]
            before = table.mean.take(slots, axis=0)
            table.write_means(slots, before + share * (means - before))
            table.weight[slots] = np.minimum(old + totals, _MAX_WEIGHT)
            table.seen[slots] = self._clock
            table.stamp_ns[slots] = stamp_ns

    def carve_free_space(
        self,
        depth: Float32Array,
        intrinsics: Intrinsics,
        T_map_camera: Float64Array,
        sure: BoolArray | None = None,
    ) -> None:
        """Halve the weight of voxels clearly before a measured depth (h, w) [m], NaN unknown; light ones go.

        Only depths that are ``sure`` (h, w) count. One call looks at an eighth of the map, at 16384 voxels at most.
        """
        with self._lock:
            table, slots = self._table, self._next_slice("wear")
            points = table.mean.take(slots, axis=0)[:, :3]
            margin = 2 * self._voxel_size
            gone = free_space_mask(points, depth, margin, intrinsics, T_map_camera, sure)
            worn = slots[gone]
            table.weight[worn] *= _WORN
            self._remove(worn[table.weight[worn] < _GONE])

    def evict(
        self, center: Float64Array, max_radius: float = 0.0, now_ns: int = 0, max_age: float = 0.0
    ) -> None:
        """Drop voxels farther from a point (3,) than a radius [m], or unseen for an age [s]; 0: no limit.

        One call looks at an eighth of the map, at 16384 voxels at most.
        """
        with self._lock:
            table, slots = self._table, self._next_slice("forget")
            gone = np.zeros(len(slots), np.bool_)
            if max_radius:
                away = table.mean.take(slots, axis=0)[:, :3] - center.astype(np.float32)
                gone |= np.einsum("ij,ij->i", away, away) > max_radius**2
            if max_age:
                gone |= now_ns - table.stamp_ns[slots] > max_age * 1e9
            self._remove(slots[gone])

    def transform(self, T_map_map: Float64Array) -> None:
        """Move everything by a rigid motion (4, 4); voxels that meet become one."""
        with self._lock:
            rows = self._table.rows(self._table.occupied_slots())
            points = transform(T_map_map, rows["mean"][:, :3].astype(np.float64)).astype(np.float32)
            keys, inside = voxel_keys(points, self._voxel_size)
            rows = {name: row[inside] for name, row in rows.items()}
            rgb = rows["mean"][:, 3:]
            keys, means, totals, which = _weighted_means(keys, points[inside], rgb, rows["weight"])
            newest = {}
            for name in ("seen", "stamp_ns"):
                newest[name] = np.full(len(keys), np.iinfo(np.int64).min)
                np.maximum.at(newest[name], which, rows[name])
            weight = np.minimum(totals, _MAX_WEIGHT)
            self._table = VoxelHashTable(self._max_voxels)
            self._table.insert(keys, {"weight": weight, "mean": means, **newest})
            self._version += 1

    def point_cloud(self) -> PointCloud:
        """Return a copy of the map."""
        with self._lock:
            table, at = self._table, 0
            cloud = PointCloud(
                np.empty((table.count, 3), np.float32), np.empty((table.count, 3), np.uint8)
            )
            for start in range(0, table.capacity, _CHUNK):
                means = table.mean[start + np.flatnonzero(table.keys[start : start + _CHUNK] != EMPTY)]
                cloud.points[at : at + len(means)] = means[:, :3]
                cloud.rgb[at : at + len(means)] = np.rint(means[:, 3:])
                at += len(means)
        return cloud

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return a copy of everything, for `restore`."""
        with self._lock:
            table, used = self._table, self._table.occupied_slots()
            counters = [table.capacity, self._clock, *self._turns.values()]
            return {
                "voxel_size": np.array(self._voxel_size, np.float64),
                "counters": np.array(counters, np.int64),
                "slots": used.astype(np.int64),
                "keys": table.keys[used],
                **table.rows(used),
            }

    def load_state_dict(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Become the map whose `arrays` these are; of one too large, the part that was seen last.

        Raises:
            SourceError: they are damaged or their voxels have another size; nothing has changed.
        """
        size = saved(arrays, "voxel_size", np.float64, ())
        require(size == self._voxel_size, f"its voxels are {size} m, here they are {self._voxel_size} m")
        counters = saved(arrays, "counters", np.int64, (2 + len(self._turns),)).tolist()
        capacity, clock, *turns = counters
        keys = saved(arrays, "keys", np.int64, (None,))
        slots = saved(arrays, "slots", np.int64, keys.shape)
        table = VoxelHashTable(self._max_voxels)
        rows = {
            name: saved(arrays, name, column.dtype.type, (len(keys), *column.shape[1:]))
            for name, column in table.columns().items()
        }
        require(min(counters) >= 0, "counters are negative")
        _require_voxels(keys, rows, clock)
        if capacity == table.capacity and len(keys) <= self._max_voxels:
            # The very slots, for they decide which of equally old voxels goes first.
            require(((slots >= 0) & (slots < capacity)).all(), "slots are out of range")
            require(table.insert_at(slots, keys, rows), "slots and keys do not fit together")
        else:
            newest = np.argsort(rows["seen"], kind="stable")[max(0, len(keys) - self._max_voxels) :]
            table.insert(keys[newest], {name: row[newest] for name, row in rows.items()})
        with self._lock:
            self._table, self._clock = table, clock
            self._turns = dict(zip(self._turns, turns, strict=True))
            self._version += 1
            self._epoch += 1

    def _next_slice(self, task: str, most: int = _LOOKS) -> NDArray[np.intp]:
        slots, self._turns[task] = self._table.occupied_slots_from(self._turns[task], most)
        return slots

    def _remove(self, slots: NDArray[np.intp]) -> None:
        if slots.size:
            self._table.remove(slots)
            self._version += 1

    def _make_room(self, wanted: NDArray[np.int64]) -> None:
        """Evict voxels unseen for long if these keys do not fit, but none that is in view."""
        table = self._table
        if table.count + len(wanted) <= self._max_voxels:
            return
        known = table.find(wanted)
        table.seen[known] = self._clock
        surplus = table.count + len(wanted) - len(known) - self._max_voxels
        if surplus > 0:
            idle = self._idle(max(_LOOKS, _CHOICE * surplus))
            self._remove(idle[np.argsort(table.seen[idle], kind="stable")[:surplus]])

    def _idle(self, enough: int) -> NDArray[np.intp]:
        """Return so many voxels that are not in view, or all; by their hashes they are a fair sample of the map."""
        table, found, missing, passed = self._table, [], enough, 0
        while missing > 0 and passed < table.capacity:
            start = self._turns["evict"] % table.capacity
            slots = self._next_slice("evict", missing)
            passed += self._turns["evict"] - start
            found.append(slots[table.seen[slots] < self._clock])
            missing -= len(found[-1])
        return np.concatenate(found)


def _weighted_means(
    keys: NDArray[np.int64], points: Float32Array, rgb: NDArray[Any], weights: Float32Array
) -> tuple[NDArray[np.int64], Float32Array, Float32Array, NDArray[np.intp]]:
    """Return distinct keys, their weighted means (M, 6) and total weights (M,), and which of them each was (N,)."""
    unique, which = unique_keys(keys)
    totals = np.bincount(which, weights, len(unique))
    means = np.empty((len(unique), 6), np.float32)
    for axis, column in enumerate((*points.T, *rgb.T)):
        means[:, axis] = np.bincount(which, weights * column, len(unique)) / totals
    return unique, means, totals.astype(np.float32), which


def _require_voxels(keys: NDArray[np.int64], rows: Mapping[str, NDArray[Any]], clock: int) -> None:
    """Raise `SourceError` for rows that no map can have held."""
    require((keys >= 0).all() and len(np.unique(keys)) == len(keys), "keys are not those of voxels")
    weight, rgb, seen = rows["weight"], rows["mean"][:, 3:], rows["seen"]
    require(((weight > 0) & (weight <= _MAX_WEIGHT)).all(), "weights are out of range")
    require(((rgb >= 0) & (rgb <= 255)).all(), "colors are out of range")
    require(((seen >= 0) & (seen <= clock)).all(), "voxels were seen after the last frame")
