# SPDX-License-Identifier: Apache-2.0
"""Voxels by their place on the grid, in an open-addressed hash table of fixed size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ttt3r_ros.types import BoolArray, Float32Array

EMPTY = np.int64(-1)
_BITS = 21  # per axis: two million voxels, 100 km at 5 cm
_HALF = 1 << (_BITS - 1)
_SLICES = 8
_SLICE_SLOTS = 1 << 18  # of a table however large
_ROW = np.dtype("V24")  # six numbers of float32
_NOTHING = np.zeros((), _ROW)


def voxel_keys(points: Float32Array, voxel_size: float) -> tuple[NDArray[np.int64], BoolArray]:
    """Return the keys of the points (N, 3) that are on the grid, and which ones these are (N,)."""
    at = np.floor(points / np.float32(voxel_size))
    off = (at < -_HALF) | (at >= _HALF)
    inside = ~(off[:, 0] | off[:, 1] | off[:, 2])
    cells = (at if inside.all() else at[inside]).astype(np.int64) + _HALF
    return (cells[:, 0] << (2 * _BITS)) | (cells[:, 1] << _BITS) | cells[:, 2], inside


class VoxelHashTable:
    """Columns of values, one row for each key; ``slots`` are the numbers of rows.

    Not for several threads at once, and never to hold more than ``max_voxels``.
    """

    def __init__(self, max_voxels: int) -> None:
        self.capacity = 1 << (2 * max_voxels - 1).bit_length()  # at most half full: short probes
        self.count = 0
        self.keys = np.full(self.capacity, EMPTY, np.int64)
        self.weight = np.zeros(self.capacity, np.float32)
        self.mean = np.zeros((self.capacity, 6), np.float32)  # x, y, z, r, g, b
        self._mean_rows = self.mean.view(
            _ROW
        ).ravel()  # the same memory; NumPy writes whole rows much faster
        self.seen = np.zeros(self.capacity, np.int64)  # by a clock that counts frames
        self.stamp_ns = np.zeros(self.capacity, np.int64)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return every column but the keys."""
        return {"weight": self.weight, "mean": self.mean, "seen": self.seen, "stamp_ns": self.stamp_ns}

    def occupied_slots(self) -> NDArray[np.intp]:
        """Return the slots of all voxels."""
        return np.flatnonzero(self.keys != EMPTY)

    def occupied_slots_from(self, start: int, most: int) -> tuple[NDArray[np.intp], int]:
        """Return the slots of the voxels in the next eighth of the table, but only so many, and where to go on.

        However large the table is and however full, the work is bounded; going on again and again sees all of it.
        """
        start %= self.capacity
        # Slots that hold so many: hashes spread evenly.
        enough = most * self.capacity // max(1, self.count) + 1
        end = min(self.capacity, start + min(-(-self.capacity // _SLICES), _SLICE_SLOTS, enough))
        used = start + np.flatnonzero(self.keys[start:end] != EMPTY)
        return (used, end) if len(used) <= most else (used[:most], int(used[most]))

    def rows(self, slots: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
        """Return a copy of the rows in these slots."""
        return {name: column[slots] for name, column in self.columns().items()}

    def write_means(self, slots: NDArray[np.intp], means: Float32Array) -> None:
        """Write means (N, 6) into these slots."""
        self._mean_rows[slots] = np.ascontiguousarray(means).view(_ROW).ravel()

    def insert(self, keys: NDArray[np.int64], rows: Mapping[str, NDArray[Any]]) -> None:
        """Add rows under new, distinct keys."""
        self._write(self.find_or_insert(keys), rows)

    def insert_at(
        self, slots: NDArray[np.intp], keys: NDArray[np.int64], rows: Mapping[str, NDArray[Any]]
    ) -> bool:
        """Fill an empty table slot by slot; tell whether every key is where a look-up finds it."""
        self.keys[slots] = keys
        self.count = len(keys)
        self._write(slots, rows)
        return np.array_equal(self.find(keys), slots)

    def _write(self, slots: NDArray[np.intp], rows: Mapping[str, NDArray[Any]]) -> None:
        for name, column in self.columns().items():
            column[slots] = rows[name]

    def find(self, keys: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return the slots of those keys that are in the table."""
        slots = self._home(keys)
        found = np.zeros(len(keys), np.bool_)
        pending = np.arange(len(keys))
        while pending.size:
            there = self.keys[slots[pending]]
            hit = there == keys[pending]
            found[pending[hit]] = True
            pending = pending[~hit & (there != EMPTY)]
            slots[pending] = self._next(slots[pending])
        return slots[found]

    def find_or_insert(self, keys: NDArray[np.int64]) -> NDArray[np.intp]:
        """Find or take a slot for each of these distinct keys; weight and mean in a new one are zero."""
        slots, new = find_or_insert(self.keys, keys)
        taken = slots[new]
        self.count += len(taken)
        self.weight[taken] = 0.0
        self._mean_rows[taken] = _NOTHING  # what is left there would spoil the last digit of what comes
        return slots

    def remove(self, slots: NDArray[np.intp]) -> None:
        """Empty these slots, and move up the voxels that only lie where they do because of them."""
        self._empty(slots)
        followers = [slots[:0]]
        at = slots
        while at.size:
            at = self._next(at)
            at = at[self.keys[at] != EMPTY]
            followers.append(at)
        late = np.concatenate(followers)
        late = late[self._home(self.keys[late]) != late]
        keys, rows = self.keys[late], self.rows(late)
        self._empty(late)
        self.insert(keys, rows)

    def _empty(self, slots: NDArray[np.intp]) -> None:
        self.keys[slots] = EMPTY
        self.count -= len(slots)

    def _home(self, keys: NDArray[np.int64]) -> NDArray[np.intp]:
        return hash64(keys) & (self.capacity - 1)

    def _next(self, slots: NDArray[np.intp]) -> NDArray[np.intp]:
        return (slots + 1) & (self.capacity - 1)


def find_or_insert(
    table: NDArray[np.int64], keys: NDArray[np.int64]
) -> tuple[NDArray[np.intp], BoolArray]:
    """Find or take a slot for each of these distinct keys (N,) in a table of keys, of which `EMPTY` are free.

    Return the slots (N,), and which of them were taken just now (N,). The table is a power of two long and not full.
    """
    last = len(table) - 1
    slots = hash64(keys) & last
    new = np.zeros(len(keys), np.bool_)
    pending = np.arange(len(keys))
    while pending.size:
        at, wanted = slots[pending], keys[pending]
        found = table[at] == wanted
        free = table[at] == EMPTY
        table[at[free]] = wanted[free]  # of several takers of one slot the last wins
        won = free & (table[at] == wanted)
        new[pending[won]] = True
        pending = pending[~(found | won)]
        slots[pending] = (slots[pending] + 1) & last
    return slots, new


def unique_keys(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Return the distinct ones of keys (N,), in no order, and which of them each is (N,).

    Much faster than sorting. Each key takes a place by its hash; those of another key than the one that has it
    afterwards look for a place by other bits in the next round.
    """
    places = np.empty(1 << max(4, (2 * len(keys)).bit_length()), np.intp)
    first = np.empty(len(keys), np.intp)  # of those with the same key
    left, wanted, bits = np.arange(len(keys)), keys, hash64(keys)
    while left.size:
        at = bits & (len(places) - 1)
        places[at] = left
        holder = places[at]
        first[left] = holder
        other = np.flatnonzero(keys[holder] != wanted)
        left, wanted = left[other], wanted[other]
        bits = hash64(bits[other] + 1)
    which = np.flatnonzero(first == np.arange(len(keys)))
    rank = np.empty(len(keys), np.intp)
    rank[which] = np.arange(len(which))
    return keys[which], rank[first]


def hash64(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Let every bit of a key decide the low bits (MurmurHash3's finaliser); walls and floors must not cluster."""
    mixed = keys.astype(np.uint64)
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        mixed ^= mixed >> np.uint64(33)
        mixed *= np.uint64(factor)
    mixed ^= mixed >> np.uint64(33)
    return mixed.astype(np.int64)
