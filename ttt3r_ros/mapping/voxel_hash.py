# SPDX-License-Identifier: Apache-2.0
"""Voxel hashing: an open-addressed hash table of fixed size, keyed by grid coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ttt3r_ros.types import BoolArray, Float32Array

EMPTY = np.int64(-1)  # key of a free slot
_BITS_PER_AXIS = 21  # two million voxels: 100 km at 5 cm
_KEY_OFFSET = 1 << (_BITS_PER_AXIS - 1)
_SLICES_PER_PASS = 8
_MAX_SLICE_SLOTS = 1 << 18
_MEAN_ROW = np.dtype("V24")  # six float32 numbers
_ZERO_ROW = np.zeros((), _MEAN_ROW)


def voxel_keys(points: Float32Array, voxel_size: float) -> tuple[NDArray[np.int64], BoolArray]:
    """Return the voxel keys of those points (N, 3) that are inside the grid, and which points are (N,)."""
    coordinates = np.floor(points / np.float32(voxel_size))
    off_grid = (coordinates < -_KEY_OFFSET) | (coordinates >= _KEY_OFFSET)
    inside = ~(off_grid[:, 0] | off_grid[:, 1] | off_grid[:, 2])
    cells = (coordinates if inside.all() else coordinates[inside]).astype(np.int64) + _KEY_OFFSET
    return (cells[:, 0] << (2 * _BITS_PER_AXIS)) | (cells[:, 1] << _BITS_PER_AXIS) | cells[:, 2], inside


def voxel_coordinates(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the grid coordinates (N, 3) of voxel keys (N,)."""
    mask = (1 << _BITS_PER_AXIS) - 1
    shifts = (2 * _BITS_PER_AXIS, _BITS_PER_AXIS, 0)
    return np.column_stack([(keys >> shift) & mask for shift in shifts]) - _KEY_OFFSET


class VoxelHashTable:
    """Columns of values with one row (slot) per key.

    Not thread-safe. It must never contain more than ``max_voxels`` keys.
    """

    def __init__(self, max_voxels: int) -> None:
        self.capacity = 1 << (2 * max_voxels - 1).bit_length()  # at most half full: short probes
        self.count = 0
        self.keys = np.full(self.capacity, EMPTY, np.int64)
        self.weight = np.zeros(self.capacity, np.float32)
        self.mean = np.zeros((self.capacity, 6), np.float32)  # x, y, z, r, g, b
        # The same memory: NumPy writes whole rows faster.
        self._mean_rows = self.mean.view(_MEAN_ROW).ravel()
        self.last_frame = np.zeros(self.capacity, np.int64)  # number of the frame that observed it last
        self.stamp_ns = np.zeros(self.capacity, np.int64)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return all columns except the keys."""
        return {
            "weight": self.weight,
            "mean": self.mean,
            "last_frame": self.last_frame,
            "stamp_ns": self.stamp_ns,
        }

    def occupied_slots(self) -> NDArray[np.intp]:
        """Return the slots of all voxels."""
        return np.flatnonzero(self.keys != EMPTY)

    def occupied_slots_from(self, start: int, max_count: int) -> tuple[NDArray[np.intp], int]:
        """Return occupied slots in the next eighth of the table, at most `max_count`, and where to continue.

        The work is bounded for any table size. Repeated calls visit all slots.
        """
        start %= self.capacity
        # Hashes are uniform: about this many slots hold `max_count` voxels.
        expected_slots = max_count * self.capacity // max(1, self.count) + 1
        slice_slots = min(-(-self.capacity // _SLICES_PER_PASS), _MAX_SLICE_SLOTS, expected_slots)
        end = min(self.capacity, start + slice_slots)
        slots = start + np.flatnonzero(self.keys[start:end] != EMPTY)
        return (slots, end) if len(slots) <= max_count else (slots[:max_count], int(slots[max_count]))

    def rows(self, slots: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
        """Return a copy of the rows in these slots."""
        return {name: column[slots] for name, column in self.columns().items()}

    def write_means(self, slots: NDArray[np.intp], means: Float32Array) -> None:
        """Write means (N, 6) into these slots."""
        self._mean_rows[slots] = np.ascontiguousarray(means).view(_MEAN_ROW).ravel()

    def insert(self, keys: NDArray[np.int64], rows: Mapping[str, NDArray[Any]]) -> None:
        """Insert rows under new, distinct keys."""
        self._write(self.find_or_insert(keys), rows)

    def insert_at(
        self, slots: NDArray[np.intp], keys: NDArray[np.int64], rows: Mapping[str, NDArray[Any]]
    ) -> bool:
        """Fill an empty table slot by slot; return whether every key is where a lookup finds it."""
        self.keys[slots] = keys
        self.count = len(keys)
        self._write(slots, rows)
        return np.array_equal(self.find(keys), slots)

    def _write(self, slots: NDArray[np.intp], rows: Mapping[str, NDArray[Any]]) -> None:
        for name, column in self.columns().items():
            column[slots] = rows[name]

    def find(self, keys: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return the slots of those keys that are in the table."""
        slots = self._home_slots(keys)
        found = np.zeros(len(keys), np.bool_)
        pending = np.arange(len(keys))
        while pending.size:
            stored = self.keys[slots[pending]]
            hit = stored == keys[pending]
            found[pending[hit]] = True
            pending = pending[~hit & (stored != EMPTY)]
            slots[pending] = self._next_slots(slots[pending])
        return slots[found]

    def find_or_insert(self, keys: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return the slots of these distinct keys; weight and mean of inserted ones are zero."""
        slots, is_new = find_or_insert(self.keys, keys)
        inserted = slots[is_new]
        self.count += len(inserted)
        self.weight[inserted] = 0.0
        self._mean_rows[inserted] = _ZERO_ROW  # old values would change the last digit of the new mean
        return slots

    def remove(self, slots: NDArray[np.intp]) -> None:
        """Empty these slots, and move voxels that had been displaced by them back toward their home slots."""
        self._empty(slots)
        cluster_parts = [slots[:0]]
        current = slots
        while current.size:
            current = self._next_slots(current)
            current = current[self.keys[current] != EMPTY]
            cluster_parts.append(current)
        cluster = np.concatenate(cluster_parts)
        displaced = cluster[self._home_slots(self.keys[cluster]) != cluster]
        keys, rows = self.keys[displaced], self.rows(displaced)
        self._empty(displaced)
        self.insert(keys, rows)

    def _empty(self, slots: NDArray[np.intp]) -> None:
        self.keys[slots] = EMPTY
        self.count -= len(slots)

    def _home_slots(self, keys: NDArray[np.int64]) -> NDArray[np.intp]:
        return hash64(keys) & (self.capacity - 1)

    def _next_slots(self, slots: NDArray[np.intp]) -> NDArray[np.intp]:
        return (slots + 1) & (self.capacity - 1)


def find_or_insert(
    table: NDArray[np.int64], keys: NDArray[np.int64]
) -> tuple[NDArray[np.intp], BoolArray]:
    """Find or insert distinct keys (N,) in a table of keys; free slots hold `EMPTY`.

    The table's length is a power of two, and it must not become full.

    Returns:
        The slots (N,), and which keys were inserted (N,).
    """
    mask = len(table) - 1
    slots = hash64(keys) & mask
    is_new = np.zeros(len(keys), np.bool_)
    pending = np.arange(len(keys))
    while pending.size:
        candidates, queries = slots[pending], keys[pending]
        found = table[candidates] == queries
        free = table[candidates] == EMPTY
        table[candidates[free]] = queries[free]  # if several keys write to one slot, the last one stays
        inserted = free & (table[candidates] == queries)
        is_new[pending[inserted]] = True
        pending = pending[~(found | inserted)]
        slots[pending] = (slots[pending] + 1) & mask
    return slots, is_new


def unique_keys(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Return the distinct keys in no particular order, and the index of each key (N,) among them.

    Much faster than sorting: each round writes the remaining keys into a table by some bits of their hash. Keys
    that collide with another key use other bits in the next round.
    """
    table = np.empty(1 << max(4, (2 * len(keys)).bit_length()), np.intp)
    first = np.empty(len(keys), np.intp)  # one index per group of equal keys
    pending, queries, bits = np.arange(len(keys)), keys, hash64(keys)
    while pending.size:
        slots = bits & (len(table) - 1)
        table[slots] = pending
        stored = table[slots]
        first[pending] = stored
        collided = np.flatnonzero(keys[stored] != queries)
        pending, queries = pending[collided], queries[collided]
        bits = hash64(bits[collided] + 1)
    representatives = np.flatnonzero(first == np.arange(len(keys)))
    rank = np.empty(len(keys), np.intp)
    rank[representatives] = np.arange(len(representatives))
    return keys[representatives], rank[first]


def hash64(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return MurmurHash3's 64-bit finalizer of keys; neighboring voxels must not cluster in a table."""
    mixed = keys.astype(np.uint64)
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        mixed ^= mixed >> np.uint64(33)
        mixed *= np.uint64(factor)
    mixed ^= mixed >> np.uint64(33)
    return mixed.astype(np.int64)
