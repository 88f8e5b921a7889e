# SPDX-License-Identifier: Apache-2.0
"""Point store of the viewer: chunks that move with a camera pose, split into bands of confidence."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import se3_inverse
from ttt3r_ros.mapping.voxel_hash import EMPTY, find_or_insert, hash64, unique_keys, voxel_keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.types import BoolArray, Float32Array, Float64Array, UInt8Array

BANDS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0)  # minimum confidence of each band
CHUNK_POINTS = 1 << 15
BEFORE_FIRST_POSE = -1  # pose index of points that are visible at every pose
ROW = np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3), ("segment", "u1")])


def confidence_bands(confidence: Float32Array) -> UInt8Array:
    """Return the band of each confidence (N,)."""
    return (np.searchsorted(BANDS[1:], confidence, side="right")).astype(np.uint8)


class BandPoints:
    """Points of a chunk in one band, in the order of the poses that observed them."""

    def __init__(self) -> None:
        self._blocks: list[NDArray[np.void]] = []
        self._indices: list[int] = []  # of poses, ascending
        self._ends: list[int] = []  # number of points up to and including each pose

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def append(self, rows: NDArray[np.void], index: int) -> None:
        """Append rows observed by the pose with an index."""
        self._blocks.append(rows)
        self._indices.append(index)
        self._ends.append(len(self) + len(rows))

    def count(self, until: int) -> int:
        """Return the number of points observed up to a pose; they are the first ones."""
        poses = bisect_right(self._indices, until)
        return self._ends[poses - 1] if poses else 0

    def rows(self, count: int, stride: int) -> NDArray[np.void]:
        """Return the first points, subsampled by a stride."""
        if len(self._blocks) > 1:
            self._blocks = [np.concatenate(self._blocks)]
        return self._blocks[0][:count:stride] if self._blocks else np.empty(0, ROW)

    def halve(self) -> None:
        """Keep every second point and every second pose index."""
        if self._blocks:
            self._blocks = [self.rows(len(self), 2).copy()]
            self._indices = self._indices[::-2][::-1]  # the last one always stays: it covers all points
            self._ends = [(end + 1) // 2 for end in self._ends[::-2][::-1]]


class PointChunk:
    """Points observed one after the other, fixed relative to one camera pose, the anchor.

    Coordinates are relative to ``center`` (3,), so that float16 is precise enough for the transfer.
    """

    def __init__(self, center: Float64Array, anchor: int, T_map_anchor: Float64Array) -> None:
        self.center = center
        self.bands = [BandPoints() for _ in BANDS]
        self.anchor = anchor
        self.T_map_chunk = np.eye(4)
        self.T_map_chunk[:3, 3] = center
        self._T_anchor_chunk = se3_inverse(T_map_anchor) @ self.T_map_chunk

    def __len__(self) -> int:
        return sum(len(points) for points in self.bands)

    def move_with_anchor(self, T_map_anchor: Float64Array) -> None:
        """Move the chunk to a new pose of its anchor (4, 4)."""
        self.T_map_chunk = T_map_anchor @ self._T_anchor_chunk


class VoxelBands:
    """Highest band of each recently observed voxel.

    There are two tables; updates go to the newer one. When it has ``max_voxels``, it becomes the older one and the
    previous older one is dropped. A voxel that is in neither table counts as new.
    """

    def __init__(self, max_voxels: int) -> None:
        self._max_voxels = max_voxels
        self._newer, self._older = _BandTable(), _BandTable()

    @property
    def nbytes(self) -> int:
        """Return the size of the tables."""
        return self._newer.nbytes + self._older.nbytes

    def update(self, keys: NDArray[np.int64], bands: UInt8Array) -> BoolArray:
        """Store the bands of distinct keys (N,); return which voxels are new or were in lower bands only."""
        if self._newer.count >= self._max_voxels:
            self._newer, self._older = _BandTable(), self._newer
        slots = self._newer.find_or_insert(keys)
        previous = np.maximum(self._newer.levels[slots], self._older.find_levels(keys))
        levels = bands + np.uint8(1)
        self._newer.levels[slots] = np.maximum(previous, levels)
        return levels > previous


class _BandTable:
    """Hash table that doubles its size. A level is the number of a band counted from 1; 0: no band."""

    def __init__(self) -> None:
        self.count = 0
        self._allocate(1 << 12)

    @property
    def nbytes(self) -> int:
        return self._keys.nbytes + self.levels.nbytes

    def find_or_insert(self, keys: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return the slot of each distinct key (N,); new keys are inserted."""
        while 2 * (self.count + len(keys)) > len(self._keys):
            self._double()
        slots, new = find_or_insert(self._keys, keys)
        self.count += int(np.count_nonzero(new))
        return slots

    def find_levels(self, keys: NDArray[np.int64]) -> UInt8Array:
        """Return the level of each key (N,)."""
        last = len(self._keys) - 1
        slots = hash64(keys) & last
        pending = np.arange(len(keys))
        while pending.size:
            stored = self._keys[slots[pending]]
            pending = pending[(stored != keys[pending]) & (stored != EMPTY)]
            slots[pending] = (slots[pending] + 1) & last
        levels: UInt8Array = self.levels[slots]
        return levels

    def _double(self) -> None:
        used = self._keys != EMPTY
        keys, levels = self._keys[used], self.levels[used]
        self._allocate(2 * len(self._keys))
        slots, _ = find_or_insert(self._keys, keys)
        self.levels[slots] = levels

    def _allocate(self, slots: int) -> None:
        self._keys = np.full(slots, EMPTY, np.int64)
        self.levels = np.zeros(slots, np.uint8)


class PointStore:
    """All points of a scene, at most one per voxel and band; above ``capacity`` every second one is removed."""

    def __init__(self, voxel_size: float, capacity: int) -> None:
        self.chunks: list[PointChunk] = []
        self._voxel_size = voxel_size
        self._capacity = capacity
        self._voxels = VoxelBands(capacity // 2)
        self.stride = 1  # one of so many new points is stored
        self._chunk_is_open = False

    def __len__(self) -> int:
        return sum(len(chunk) for chunk in self.chunks)

    def finish_chunk(self) -> None:
        """Start a new chunk with the next points."""
        self._chunk_is_open = False

    def add(
        self,
        points_map: Float32Array,
        rgb: UInt8Array,
        confidence: Float32Array,
        index: int,
        T_map_anchor: Float64Array,
        segment: int,
    ) -> int:
        """Add the points (N, 3) that are new in their voxel and band, observed by one pose; return their number."""
        points, rgb, bands = self._select_new(points_map, rgb, confidence_bands(confidence))
        if not len(points):
            return 0
        if not self._chunk_is_open or len(self.chunks[-1]) >= CHUNK_POINTS:
            center = np.median(points, axis=0).astype(np.float64)
            self.chunks.append(PointChunk(center, index, T_map_anchor))
            self._chunk_is_open = True
        self._append(self.chunks[-1], points, rgb, bands, index, segment)
        if len(self) > self._capacity:
            self._halve()
        return len(points)

    def add_cloud(self, points: Float32Array, rgb: UInt8Array) -> None:
        """Add a finished cloud (N, 3) in the highest band, visible at every pose."""
        bands = np.full(len(points), len(BANDS) - 1, np.uint8)
        for indices in _split_into_chunks(points, np.arange(len(points))):
            center = np.median(points[indices], axis=0).astype(np.float64)
            chunk = PointChunk(center, BEFORE_FIRST_POSE, np.eye(4))
            self._append(chunk, points[indices], rgb[indices], bands[indices], BEFORE_FIRST_POSE, 0)
            self.chunks.append(chunk)
        self.finish_chunk()

    def _select_new(
        self, points: Float32Array, rgb: UInt8Array, bands: UInt8Array
    ) -> tuple[Float32Array, UInt8Array, UInt8Array]:
        order = np.argsort(bands, kind="stable")[
            ::-1
        ]  # a point of the highest band represents its voxel
        keys, inside = voxel_keys(points[order], self._voxel_size)
        order = order[inside]
        distinct, indices = unique_keys(keys)
        first = np.full(len(distinct), len(keys), np.intp)
        np.minimum.at(first, indices, np.arange(len(keys)))
        selected = order[first]
        selected = selected[self._voxels.update(distinct, bands[selected])][:: self.stride]
        return points[selected], rgb[selected], bands[selected]

    def _append(
        self,
        chunk: PointChunk,
        points: Float32Array,
        rgb: UInt8Array,
        bands: UInt8Array,
        index: int,
        segment: int,
    ) -> None:
        rows = np.empty(len(points), ROW)
        rows["xyz"], rows["rgb"], rows["segment"] = points - chunk.center, rgb, segment % 256
        for band in np.unique(bands):
            chunk.bands[band].append(rows[bands == band], index)

    def _halve(self) -> None:
        self.stride *= 2
        for chunk in self.chunks:
            for points in chunk.bands:
                points.halve()


def _split_into_chunks(points: Float32Array, indices: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Split indices of points into groups of chunk size, by halving along the longest side."""
    if len(indices) <= CHUNK_POINTS:
        return [indices] if len(indices) else []
    axis = int(np.argmax(np.ptp(points[indices], axis=0)))
    middle = len(indices) // 2
    order = np.argpartition(points[indices, axis], middle)
    return [
        *_split_into_chunks(points, np.sort(indices[order[:middle]])),
        *_split_into_chunks(points, np.sort(indices[order[middle:]])),
    ]
