# SPDX-License-Identifier: Apache-2.0
"""A coloured point map on a voxel grid, of bounded size, at a cost per frame that does not grow with the map."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.geometry import transform
from ttt3r_ros.pipeline.free_space import free_depth, seen_through
from ttt3r_ros.pipeline.saved_arrays import require, saved
from ttt3r_ros.pipeline.voxel_table import VoxelTable, keys_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ttt3r_ros.types import Float32Array, Float64Array, Intrinsics, UInt8Array

_MAX_WEIGHT = np.float32(1000.0)  # an old voxel still follows new evidence
_EVICTED = 0.25  # share of the map that goes at once when it is full, so that it rarely has to
_WORN = np.float32(0.5)  # what is left of the weight of a voxel that is seen through
_GONE = np.float32(0.5)  # lighter ones go; what was fused weighs 1 or more, so never at first sight


@dataclass(frozen=True)
class PointCloud:
    """Points with colours, N each."""

    points: Float32Array  # (N, 3)
    rgb: UInt8Array  # (N, 3)


class VoxelMap:
    """Confidence-weighted mean position and colour per voxel. All methods may be called from any thread."""

    def __init__(self, voxel_size: float, max_voxels: int) -> None:
        self._voxel_size = voxel_size
        self._max_voxels = max_voxels
        self._lock = threading.Lock()
        self._version = 0
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._table = VoxelTable(self._max_voxels)
            self._clock = 0
            self._turns = {"wear": 0, "forget": 0}  # whose slice of the map is next
            self._version += 1

    @property
    def version(self) -> int:
        """Return a number that changes whenever the map does."""
        return self._version

    def __len__(self) -> int:
        return self._table.count

    def integrate(
        self, points: Float32Array, rgb: UInt8Array, weights: Float32Array, stamp_ns: int = 0
    ) -> None:
        """Fuse finite points (N, 3), colours (N, 3) and positive weights (N,), all seen at one time [ns]."""
        weights = np.minimum(weights, _MAX_WEIGHT)  # sums of larger ones could overflow
        keys, inside = keys_of(points, self._voxel_size)
        keys, means, totals, _ = _fused(keys, points[inside], rgb[inside], weights[inside])
        # One frame may by itself exceed the bound; its heaviest voxels then are the map.
        if len(keys) > self._max_voxels:
            best = np.argpartition(totals, -self._max_voxels)[-self._max_voxels :]
            keys, means, totals = keys[best], means[best], totals[best]
        with self._lock:
            self._clock += 1
            self._version += 1
            self._make_room(keys)
            table = self._table
            slots = table.claim(keys)
            old = table.weight[slots]
            share = (totals / (old + totals))[:, None]
            table.mean[slots] += share * (means - table.mean[slots])
            table.weight[slots] = np.minimum(old + totals, _MAX_WEIGHT)
            table.seen[slots] = self._clock
            table.stamp_ns[slots] = stamp_ns

    def wear_down_seen_through(
        self, depth: Float32Array, intrinsics: Intrinsics, T_map_camera: Float64Array
    ) -> None:
        """Halve the weight of voxels clearly before a measured depth (h, w) [m], NaN unknown; light ones go.

        One call looks at an eighth of the map.
        """
        free = free_depth(depth, 2 * self._voxel_size)
        with self._lock:
            table, slots = self._table, self._next_slice("wear")
            points = table.mean.take(slots, axis=0)[:, :3]
            worn = slots[seen_through(points, free, intrinsics, T_map_camera)]
            table.weight[worn] *= _WORN
            self._remove(worn[table.weight[worn] < _GONE])

    def forget(
        self, centre: Float64Array, max_radius: float = 0.0, now_ns: int = 0, max_age: float = 0.0
    ) -> None:
        """Drop voxels farther from a point (3,) than a radius [m], or unseen for an age [s]; 0: no limit.

        One call looks at an eighth of the map.
        """
        with self._lock:
            table, slots = self._table, self._next_slice("forget")
            gone = np.zeros(len(slots), np.bool_)
            if max_radius:
                away = table.mean.take(slots, axis=0)[:, :3] - centre.astype(np.float32)
                gone |= np.einsum("ij,ij->i", away, away) > max_radius**2
            if max_age:
                gone |= now_ns - table.stamp_ns[slots] > max_age * 1e9
            self._remove(slots[gone])

    def move(self, T_map_map: Float64Array) -> None:
        """Move everything by a rigid motion (4, 4); voxels that meet become one."""
        with self._lock:
            rows = self._table.rows(self._table.used())
            points = transform(T_map_map, rows["mean"][:, :3].astype(np.float64)).astype(np.float32)
            keys, inside = keys_of(points, self._voxel_size)
            rows = {name: row[inside] for name, row in rows.items()}
            rgb = rows["mean"][:, 3:]
            keys, means, totals, which = _fused(keys, points[inside], rgb, rows["weight"])
            newest = {}
            for name in ("seen", "stamp_ns"):
                newest[name] = np.full(len(keys), np.iinfo(np.int64).min)
                np.maximum.at(newest[name], which, rows[name])
            weight = np.minimum(totals, _MAX_WEIGHT)
            self._table = VoxelTable(self._max_voxels)
            self._table.put(keys, {"weight": weight, "mean": means, **newest})
            self._version += 1

    def point_cloud(self) -> PointCloud:
        """Return a copy of the map."""
        with self._lock:
            means = self._table.mean[self._table.used()]
        return PointCloud(means[:, :3].copy(), np.rint(means[:, 3:]).astype(np.uint8))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return a copy of everything, for `restore`."""
        with self._lock:
            table, used = self._table, self._table.used()
            counters = [table.capacity, self._clock, *self._turns.values()]
            return {
                "voxel_size": np.array(self._voxel_size, np.float64),
                "counters": np.array(counters, np.int64),
                "slots": used.astype(np.int64),
                "keys": table.keys[used],
                **table.rows(used),
            }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Become the map whose `arrays` these are; of one too large, the part that was seen last.

        Raises:
            SourceError: they are damaged or their voxels have another size; nothing has changed.
        """
        size = saved(arrays, "voxel_size", np.float64, ())
        require(size == self._voxel_size, f"its voxels are {size} m, here they are {self._voxel_size} m")
        capacity, clock, wear, forget = saved(arrays, "counters", np.int64, (4,)).tolist()
        keys = saved(arrays, "keys", np.int64, (None,))
        slots = saved(arrays, "slots", np.int64, keys.shape)
        table = VoxelTable(self._max_voxels)
        rows = {
            name: saved(arrays, name, column.dtype.type, (len(keys), *column.shape[1:]))
            for name, column in table.columns().items()
        }
        require(min(capacity, clock, wear, forget) >= 0, "counters are negative")
        _require_voxels(keys, rows, clock)
        if capacity == table.capacity and len(keys) <= self._max_voxels:
            # The very slots, for they decide which of equally old voxels goes first.
            require(((slots >= 0) & (slots < capacity)).all(), "slots are out of range")
            require(table.put_at(slots, keys, rows), "slots and keys do not fit together")
        else:
            newest = np.argsort(rows["seen"], kind="stable")[max(0, len(keys) - self._max_voxels) :]
            table.put(keys[newest], {name: row[newest] for name, row in rows.items()})
        with self._lock:
            self._table, self._clock = table, clock
            self._turns = {"wear": wear, "forget": forget}
            self._version += 1

    def _next_slice(self, task: str) -> NDArray[np.intp]:
        slots = self._table.used_in_slice(self._turns[task])
        self._turns[task] += 1
        return slots

    def _remove(self, slots: NDArray[np.intp]) -> None:
        if slots.size:
            self._table.remove(slots)
            self._version += 1

    def _make_room(self, wanted: NDArray[np.int64]) -> None:
        """Evict the voxels unseen for longest if these keys do not fit, but none that is in view."""
        table = self._table
        if table.count + len(wanted) <= self._max_voxels:
            return
        known = table.find(wanted)
        table.seen[known] = self._clock
        new = len(wanted) - len(known)
        if table.count + new <= self._max_voxels:
            return
        used = table.used()
        keep = max(len(known), min(int((1 - _EVICTED) * self._max_voxels), self._max_voxels - new))
        kept = used[np.argsort(table.seen[used], kind="stable")[len(used) - min(keep, len(used)) :]]
        self._table = VoxelTable(self._max_voxels)
        self._table.put(table.keys[kept], table.rows(kept))


def _fused(
    keys: NDArray[np.int64], points: Float32Array, rgb: NDArray[Any], weights: Float32Array
) -> tuple[NDArray[np.int64], Float32Array, Float32Array, NDArray[np.intp]]:
    """Return distinct keys, their weighted means (M, 6) and total weights (M,), and which of them each was (N,)."""
    unique, inverse = np.unique(keys, return_inverse=True)
    totals = np.bincount(inverse, weights, len(unique))
    columns = [
        np.bincount(inverse, weights * column, len(unique)) / totals
        for column in np.concatenate((points, rgb), axis=1, dtype=np.float64).T
    ]
    means = np.stack(columns, axis=1).astype(np.float32)
    return unique, means, totals.astype(np.float32), inverse


def _require_voxels(keys: NDArray[np.int64], rows: Mapping[str, NDArray[Any]], clock: int) -> None:
    """Raise `SourceError` for rows that no map can have held."""
    require((keys >= 0).all() and len(np.unique(keys)) == len(keys), "keys are not those of voxels")
    weight, rgb, seen = rows["weight"], rows["mean"][:, 3:], rows["seen"]
    require(((weight > 0) & (weight <= _MAX_WEIGHT)).all(), "weights are out of range")
    require(((rgb >= 0) & (rgb <= 255)).all(), "colours are out of range")
    require(((seen >= 0) & (seen <= clock)).all(), "voxels were seen after the last frame")
