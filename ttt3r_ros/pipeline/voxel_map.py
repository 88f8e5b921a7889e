# SPDX-License-Identifier: Apache-2.0
"""A coloured point map on a voxel grid, of bounded size, at a cost per frame that does not grow with the map."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.types import Float32Array, UInt8Array

_EMPTY = np.int64(-1)
_BITS = 21  # per axis: two million voxels, 100 km at 5 cm
_HALF = 1 << (_BITS - 1)
_MAX_WEIGHT = np.float32(1000.0)  # an old voxel still follows new evidence
_EVICTED = 0.25  # share of the map that goes at once when it is full, so that it rarely has to


@dataclass(frozen=True)
class PointCloud:
    """Points with colours, N each."""

    points: Float32Array  # (N, 3)
    rgb: UInt8Array  # (N, 3)


class VoxelMap:
    """Confidence-weighted mean position and colour per voxel, in an open-addressed hash table.

    All methods may be called from any thread.
    """

    def __init__(self, voxel_size: float, max_voxels: int) -> None:
        self._voxel_size = voxel_size
        self._max_voxels = max_voxels
        self._capacity = 1 << (2 * max_voxels - 1).bit_length()  # at most half full: short probes
        self._lock = threading.Lock()
        self._version = 0
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._keys = np.full(self._capacity, _EMPTY, np.int64)
            self._weight = np.zeros(self._capacity, np.float32)
            self._mean = np.zeros((self._capacity, 6), np.float32)  # x, y, z, r, g, b
            self._seen = np.zeros(self._capacity, np.int64)
            self._count = 0
            self._clock = 0
            self._version += 1

    @property
    def version(self) -> int:
        """Return a number that changes whenever the map does."""
        return self._version

    def __len__(self) -> int:
        return self._count

    def integrate(self, points: Float32Array, rgb: UInt8Array, weights: Float32Array) -> None:
        """Fuse finite points (N, 3), their colours (N, 3) and positive weights (N,)."""
        weights = np.minimum(weights, _MAX_WEIGHT)  # sums of larger ones could overflow
        keys, means, totals = self._voxels_of(points, rgb, weights)
        # One frame may by itself exceed the bound; its heaviest voxels then are the map.
        if len(keys) > self._max_voxels:
            best = np.argpartition(totals, -self._max_voxels)[-self._max_voxels :]
            keys, means, totals = keys[best], means[best], totals[best]
        with self._lock:
            self._clock += 1
            self._version += 1
            self._make_room(keys)
            slots = self._slots_for(keys)
            old = self._weight[slots]
            share = (totals / (old + totals))[:, None]
            self._mean[slots] += share * (means - self._mean[slots])
            self._weight[slots] = np.minimum(old + totals, _MAX_WEIGHT)
            self._seen[slots] = self._clock

    def point_cloud(self) -> PointCloud:
        """Return a copy of the map."""
        with self._lock:
            means = self._mean[self._keys != _EMPTY]
        return PointCloud(means[:, :3].copy(), np.rint(means[:, 3:]).astype(np.uint8))

    def _voxels_of(
        self, points: Float32Array, rgb: UInt8Array, weights: Float32Array
    ) -> tuple[NDArray[np.int64], Float32Array, Float32Array]:
        at = np.floor(points / np.float32(self._voxel_size))
        inside = ((at >= -_HALF) & (at < _HALF)).all(axis=1)
        points, rgb, weights = points[inside], rgb[inside], weights[inside]
        cells = at[inside].astype(np.int64) + _HALF
        keys = (cells[:, 0] << (2 * _BITS)) | (cells[:, 1] << _BITS) | cells[:, 2]
        unique, inverse = np.unique(keys, return_inverse=True)
        totals = np.bincount(inverse, weights, len(unique))
        columns = [
            np.bincount(inverse, weights * column, len(unique)) / totals
            for column in np.concatenate((points, rgb), axis=1, dtype=np.float64).T
        ]
        return unique, np.stack(columns, axis=1).astype(np.float32), totals.astype(np.float32)

    def _make_room(self, wanted: NDArray[np.int64]) -> None:
        """Evict the voxels unseen for longest if these keys do not fit, but none that is in view."""
        if self._count + len(wanted) <= self._max_voxels:
            return
        known = self._slots_of(wanted)
        self._seen[known] = self._clock
        new = len(wanted) - len(known)
        if self._count + new <= self._max_voxels:
            return
        used = np.flatnonzero(self._keys != _EMPTY)
        keep = max(len(known), min(int((1 - _EVICTED) * self._max_voxels), self._max_voxels - new))
        kept = used[np.argsort(self._seen[used], kind="stable")[len(used) - min(keep, len(used)) :]]
        keys = self._keys[kept]
        weight, mean, seen = self._weight[kept], self._mean[kept], self._seen[kept]
        self._keys.fill(_EMPTY)
        self._weight.fill(0.0)
        self._count = 0
        slots = self._slots_for(keys)
        self._weight[slots], self._mean[slots], self._seen[slots] = weight, mean, seen

    def _slots_of(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the slots of those keys that are in the map."""
        slots = _scattered(keys) & (self._capacity - 1)
        found = np.zeros(len(keys), np.bool_)
        pending = np.arange(len(keys))
        while pending.size:
            there = self._keys[slots[pending]]
            hit = there == keys[pending]
            found[pending[hit]] = True
            pending = pending[~hit & (there != _EMPTY)]
            slots[pending] = (slots[pending] + 1) & (self._capacity - 1)
        return slots[found]

    def _slots_for(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Find or take a slot for each of these distinct keys."""
        slots = _scattered(keys) & (self._capacity - 1)
        pending = np.arange(len(keys))
        while pending.size:
            at, wanted = slots[pending], keys[pending]
            found = self._keys[at] == wanted
            free = self._keys[at] == _EMPTY
            self._keys[at[free]] = wanted[free]  # of several takers of one slot the last wins
            won = free & (self._keys[at] == wanted)
            self._count += int(np.count_nonzero(won))
            self._weight[at[won]] = 0.0
            pending = pending[~(found | won)]
            slots[pending] = (slots[pending] + 1) & (self._capacity - 1)
        return slots


def _scattered(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Let every bit of a key decide the low bits (MurmurHash3's finaliser); walls and floors must not cluster."""
    mixed = keys.astype(np.uint64)
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        mixed ^= mixed >> np.uint64(33)
        mixed *= np.uint64(factor)
    mixed ^= mixed >> np.uint64(33)
    return mixed.astype(np.int64)
