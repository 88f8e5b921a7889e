# SPDX-License-Identifier: Apache-2.0
"""The points of a scene in chunks that only ever grow at the end, sorted into bands of confidence."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import se3_inverse
from ttt3r_ros.mapping.voxel_hash import EMPTY, find_or_insert, hash64, unique_keys, voxel_keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.types import BoolArray, Float32Array, Float64Array, UInt8Array

BANDS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0)  # the least confidence of each
CHUNK_POINTS = 1 << 15
ALWAYS = -1  # the pose index of points that were there before the first pose
ROW = np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3), ("segment", "u1")])


def bands_of(confidence: Float32Array) -> UInt8Array:
    """Return the band of each confidence (N,)."""
    return (np.searchsorted(BANDS[1:], confidence, side="right")).astype(np.uint8)


class Part:
    """The points of a chunk in one band, in the order of the poses that saw them."""

    def __init__(self) -> None:
        self._blocks: list[NDArray[np.void]] = []
        self._indices: list[int] = []  # of poses, ascending
        self._ends: list[int] = []  # how many points there are with each pose

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def append(self, rows: NDArray[np.void], index: int) -> None:
        """Add rows that the pose of this index saw."""
        self._blocks.append(rows)
        self._indices.append(index)
        self._ends.append(len(self) + len(rows))

    def count(self, until: int) -> int:
        """Return how many points were seen up to a pose; they are the first ones."""
        seen = bisect_right(self._indices, until)
        return self._ends[seen - 1] if seen else 0

    def rows(self, count: int, stride: int) -> NDArray[np.void]:
        """Return every so many-th of the first points."""
        if len(self._blocks) > 1:
            self._blocks = [np.concatenate(self._blocks)]
        return self._blocks[0][:count:stride] if self._blocks else np.empty(0, ROW)

    def halve(self) -> None:
        """Keep every second point, and every second of the poses by which they are told apart in time."""
        if self._blocks:
            self._blocks = [self.rows(len(self), 2).copy()]
            self._indices = self._indices[::-2][::-1]  # always the last, up to which all points are
            self._ends = [(end + 1) // 2 for end in self._ends[::-2][::-1]]


class Chunk:
    """Some tens of thousands of points that were seen one after the other; they keep their place beside one pose.

    Their coordinates are relative to ``center`` (3,), so that float16 is precise enough to send them.
    """

    def __init__(self, center: Float64Array, anchor: int, T_map_anchor: Float64Array) -> None:
        self.center = center
        self.parts = [Part() for _ in BANDS]
        self.anchor = anchor
        self.T_map_chunk = np.eye(4)
        self.T_map_chunk[:3, 3] = center
        self._T_anchor_chunk = se3_inverse(T_map_anchor) @ self.T_map_chunk

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def move_with(self, T_map_anchor: Float64Array) -> None:
        """Follow the pose that the points were seen from (4, 4)."""
        self.T_map_chunk = T_map_anchor @ self._T_anchor_chunk


class VoxelBands:
    """For every voxel that was seen lately, the highest band in which it was.

    Of two tables the younger one takes in all that is seen. Once it holds ``most`` voxels, it is the older one, and
    the one that was is dropped: a voxel that was in neither meanwhile counts as new.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._young, self._old = _BandTable(), _BandTable()

    @property
    def nbytes(self) -> int:
        """Return how large the tables are."""
        return self._young.nbytes + self._old.nbytes

    def raised(self, keys: NDArray[np.int64], bands: UInt8Array) -> BoolArray:
        """Enter distinct keys (N,) with their bands; tell which of them are new or were in lower ones only."""
        if self._young.count >= self._most:
            self._young, self._old = _BandTable(), self._young
        slots = self._young.find_or_insert(keys)
        known = np.maximum(self._young.levels[slots], self._old.levels_of(keys))
        levels = bands + np.uint8(1)
        self._young.levels[slots] = np.maximum(known, levels)
        return levels > known


class _BandTable:
    """A hash table that doubles. A level is the number of a band, counted from 1; 0: none."""

    def __init__(self) -> None:
        self.count = 0
        self._empty(1 << 12)

    @property
    def nbytes(self) -> int:
        return self._keys.nbytes + self.levels.nbytes

    def find_or_insert(self, keys: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return a slot for each of these distinct keys (N,), taking free ones for those that are new."""
        while 2 * (self.count + len(keys)) > len(self._keys):
            self._double()
        slots, new = find_or_insert(self._keys, keys)
        self.count += int(np.count_nonzero(new))
        return slots

    def levels_of(self, keys: NDArray[np.int64]) -> UInt8Array:
        """Return the level of each key (N,)."""
        last = len(self._keys) - 1
        slots = hash64(keys) & last
        pending = np.arange(len(keys))
        while pending.size:
            there = self._keys[slots[pending]]
            pending = pending[(there != keys[pending]) & (there != EMPTY)]
            slots[pending] = (slots[pending] + 1) & last
        levels: UInt8Array = self.levels[slots]
        return levels

    def _double(self) -> None:
        used = self._keys != EMPTY
        keys, levels = self._keys[used], self.levels[used]
        self._empty(2 * len(self._keys))
        slots, _ = find_or_insert(self._keys, keys)
        self.levels[slots] = levels

    def _empty(self, slots: int) -> None:
        self._keys = np.full(slots, EMPTY, np.int64)
        self.levels = np.zeros(slots, np.uint8)


class PointStore:
    """All points of a scene, at most one for each voxel and band; beyond ``capacity`` every second one goes."""

    def __init__(self, voxel_size: float, capacity: int) -> None:
        self.chunks: list[Chunk] = []
        self._voxel_size = voxel_size
        self._capacity = capacity
        self._voxels = VoxelBands(capacity // 2)
        self.share = 1  # of so many new points one is kept
        self._open = False

    def __len__(self) -> int:
        return sum(len(chunk) for chunk in self.chunks)

    def seal(self) -> None:
        """Let the next points begin a new chunk."""
        self._open = False

    def add(
        self,
        points_map: Float32Array,
        rgb: UInt8Array,
        confidence: Float32Array,
        index: int,
        T_map_anchor: Float64Array,
        segment: int,
    ) -> int:
        """Add those points (N, 3) of what one pose saw that show something new; return how many."""
        points, rgb, bands = self._news(points_map, rgb, bands_of(confidence))
        if not len(points):
            return 0
        if not self._open or len(self.chunks[-1]) >= CHUNK_POINTS:
            center = np.median(points, axis=0).astype(np.float64)
            self.chunks.append(Chunk(center, index, T_map_anchor))
            self._open = True
        self._append(self.chunks[-1], points, rgb, bands, index, segment)
        if len(self) > self._capacity:
            self._halve()
        return len(points)

    def add_cloud(self, points: Float32Array, rgb: UInt8Array) -> None:
        """Add a finished cloud (N, 3), whose points are as sure as can be and are there from the beginning."""
        bands = np.full(len(points), len(BANDS) - 1, np.uint8)
        for which in _neighborhoods(points, np.arange(len(points))):
            center = np.median(points[which], axis=0).astype(np.float64)
            chunk = Chunk(center, ALWAYS, np.eye(4))
            self._append(chunk, points[which], rgb[which], bands[which], ALWAYS, 0)
            self.chunks.append(chunk)
        self.seal()

    def _news(
        self, points: Float32Array, rgb: UInt8Array, bands: UInt8Array
    ) -> tuple[Float32Array, UInt8Array, UInt8Array]:
        surest = np.argsort(bands, kind="stable")[::-1]  # the surest point of each voxel stands for it
        keys, inside = voxel_keys(points[surest], self._voxel_size)
        surest = surest[inside]
        distinct, which = unique_keys(keys)
        first = np.full(len(distinct), len(keys), np.intp)
        np.minimum.at(first, which, np.arange(len(keys)))
        chosen = surest[first]
        chosen = chosen[self._voxels.raised(distinct, bands[chosen])][:: self.share]
        return points[chosen], rgb[chosen], bands[chosen]

    def _append(
        self,
        chunk: Chunk,
        points: Float32Array,
        rgb: UInt8Array,
        bands: UInt8Array,
        index: int,
        segment: int,
    ) -> None:
        rows = np.empty(len(points), ROW)
        rows["xyz"], rows["rgb"], rows["segment"] = points - chunk.center, rgb, segment % 256
        for band in np.unique(bands):
            chunk.parts[band].append(rows[bands == band], index)

    def _halve(self) -> None:
        self.share *= 2
        for chunk in self.chunks:
            for part in chunk.parts:
                part.halve()


def _neighborhoods(points: Float32Array, which: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Split indices of points into groups that fit into a chunk each, halving along the longest side."""
    if len(which) <= CHUNK_POINTS:
        return [which] if len(which) else []
    axis = int(np.argmax(np.ptp(points[which], axis=0)))
    middle = len(which) // 2
    order = np.argpartition(points[which, axis], middle)
    return [
        *_neighborhoods(points, np.sort(which[order[:middle]])),
        *_neighborhoods(points, np.sort(which[order[middle:]])),
    ]
