# SPDX-License-Identifier: Apache-2.0
"""What is shown, as values: points in pieces, the camera's way, the newest images. Knows no browser."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import transform, unproject
from ttt3r_ros.mapping.map_builder import select_pixels
from ttt3r_ros.mapping.voxel_map import PointCloud
from ttt3r_ros.viewer import colors
from ttt3r_ros.viewer.cameras import DEFAULT_LENS, GROUP, Lens, Lines, Way, lines_of
from ttt3r_ros.viewer.points import BANDS, PointStore

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from ttt3r_ros.types import Float32Array, Float64Array, Intrinsics, UInt8Array, Update
    from ttt3r_ros.viewer.points import Chunk, Part

# Points kept, 16 bytes each. The two tables of voxels (`VoxelBands`) have 38 MB each at most.
CAPACITY = 4_000_000
MOST_POINTS = 2_500_000  # drawn, unless the user wants fewer or more
_UNMOVED = np.eye(4)


@dataclass(frozen=True)
class Sight:
    """What one image shows, at any resolution (h, w)."""

    rgb: UInt8Array  # (h, w, 3)
    points_camera: Float32Array  # (h, w, 3) optical frame, NaN where unknown
    confidence: Float32Array  # (h, w)
    intrinsics: Intrinsics

    @classmethod
    def of(cls, update: Update) -> Sight:
        """Return what the network saw; nothing is copied."""
        seen = update.prediction
        return cls(seen.rgb, seen.points_camera, seen.confidence, update.intrinsics)

    @classmethod
    def of_depth(
        cls, rgb: UInt8Array, depth_m: Float32Array, confidence: Float32Array, intrinsics: Intrinsics
    ) -> Sight:
        """Return what a depth image (h, w) shows, NaN where unknown."""
        return cls(rgb, unproject(depth_m, intrinsics), confidence, intrinsics)

    @property
    def depth_m(self) -> Float32Array:
        """Return the depth (h, w)."""
        return self.points_camera[..., 2]


@dataclass(frozen=True)
class Choice:
    """What the user wants to see."""

    band: int = 0  # the lowest band of confidence
    most_points: int = MOST_POINTS
    by_segment: bool = False  # colors
    frusta: bool = True
    until: int | None = None  # the last pose; None: the newest


@dataclass(frozen=True)
class Points:
    """Some points to draw."""

    xyz: Float32Array  # (N, 3) near the origin of their piece
    rgb: UInt8Array  # (N, 3)


@dataclass(frozen=True)
class Piece:
    """Something that is drawn as a whole; as long as its signature stays, so does its content."""

    name: str
    signature: Hashable
    make: Callable[[], Points | Lines]
    T_map_piece: (
        Float64Array  # (4, 4) another array once it has changed, which it may without the content
    )


class Scene:
    """Grows with every sight. Not for several threads at once."""

    def __init__(self, voxel_size: float, max_range: float = np.inf, capacity: int = CAPACITY) -> None:
        self._voxel_size = voxel_size
        self._max_range = max_range
        self._capacity = capacity
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.clear_points()
        self.way = Way()
        self.sight: Sight | None = None  # the one of the pose that is shown last

    def clear_points(self) -> None:
        """Forget the points; the way goes on."""
        self.points = PointStore(self._voxel_size, self._capacity)
        self._sights = 0

    @property
    def lens(self) -> Lens:
        """Return what the camera sees."""
        return Lens.of(self.sight.intrinsics) if self.sight is not None else DEFAULT_LENS

    # --- growing ------------------------------------------------------------------------------------

    def follow(self, poses: Float64Array, start: int = 0) -> None:
        """Take over poses (N, 7: x y z qx qy qz qw) of the trajectory from an index on.

        Points move with the poses that saw them.
        """
        if self.way.follow(poses, start):
            self._move_points()

    def _move_points(self) -> None:
        for chunk in self.points.chunks:
            if chunk.anchor >= 0:
                chunk.move_with(self.way.T_map_camera[chunk.anchor])
        self.points.seal()

    def add(
        self, sight: Sight, index: int, segment: int, T_map_camera: Float64Array | None = None
    ) -> None:
        """Add what was seen from a pose of the trajectory, or (4, 4) from another camera beside it."""
        self.sight = sight
        if not self.way.complete:
            self.way.note_segment(index, segment)
        turn, _ = select_pixels(sight.confidence.shape, self._sights)
        self._sights += 1
        points, confidence = sight.points_camera[turn].reshape(-1, 3), sight.confidence[turn].ravel()
        depth = points[:, 2]  # of NaN all comparisons are false
        good = np.flatnonzero((depth > 0) & (depth <= self._max_range) & (confidence >= BANDS[0]))
        anchor = self.way.T_map_camera[index]
        seen_from = anchor if T_map_camera is None else T_map_camera
        points_map = transform(seen_from, points[good])
        rgb = sight.rgb[turn].reshape(-1, 3)[good]
        self.points.add(points_map, rgb, confidence[good], index, anchor, segment)

    def add_cloud(self, cloud: PointCloud) -> None:
        """Add a finished map, of which all points are there from the beginning."""
        self.points.add_cloud(cloud.points, cloud.rgb)

    # --- drawing ------------------------------------------------------------------------------------

    def stride(self, choice: Choice) -> int:
        """Return of how many points one is drawn, a power of two, so that there are not too many."""
        surplus = -(-self._count(choice, 1) // choice.most_points)
        return 1 << max(0, surplus - 1).bit_length()

    def count(self, choice: Choice) -> int:
        """Return how many points are drawn."""
        return self._count(choice, self.stride(choice))

    def cloud(self, choice: Choice) -> PointCloud:
        """Return the points that are drawn, in the map."""
        xyz, rgb = [np.empty((0, 3), np.float32)], [np.empty((0, 3), np.uint8)]
        for piece in self.point_pieces(choice):
            points = piece.make()
            assert isinstance(points, Points)
            xyz.append(transform(piece.T_map_piece, points.xyz))
            rgb.append(points.rgb)
        return PointCloud(np.concatenate(xyz), np.concatenate(rgb))

    def point_pieces(self, choice: Choice) -> Iterator[Piece]:
        """List the pieces of the map: a band of a chunk each."""
        stride = self.stride(choice)
        for number, chunk, band, part, count in self._parts(choice):
            make = partial(_points, part, count, stride, by_segment=choice.by_segment)
            signature = (count, stride, self.points.share, choice.by_segment)
            yield Piece(f"/map/{number}/{band}", signature, make, chunk.T_map_chunk)

    def camera_pieces(self, choice: Choice) -> Iterator[Piece]:
        """List the pieces of the camera's way."""
        way, lens, end = self.way, self.lens.coarse(), self.last(choice) + 1
        shape = (way.moves, way.path_stride(), way.span(), choice.by_segment)
        frusta = (lens, way.frustum_depth_m(), way.frustum_stride()) if choice.frusta else None
        group = GROUP * way.path_stride()
        for first in range(0, end, group):
            stop = min(end, first + group)
            make = partial(
                lines_of, way, first, stop, lens, by_segment=choice.by_segment, frusta=choice.frusta
            )
            # Segments only count upwards: where one has changed, so has the last of the group.
            signature = (shape, frusta, stop, int(way.segments[stop - 1]))
            yield Piece(f"/cameras/{first // group}", signature, make, _UNMOVED)

    def last(self, choice: Choice) -> int:
        """Return the index of the last pose that is shown, -1 if there is none."""
        newest = len(self.way) - 1
        return newest if choice.until is None else min(choice.until, newest)

    def found(self, choice: Choice) -> float:
        """Return which share of the points is sure enough to be drawn; 1 if there are none."""
        everything = self._count(replace(choice, band=0), 1)
        return self._count(choice, 1) / everything if everything else 1.0

    def _count(self, choice: Choice, stride: int) -> int:
        return sum(-(-count // stride) for *_, count in self._parts(choice))

    def _parts(self, choice: Choice) -> Iterator[tuple[int, Chunk, int, Part, int]]:
        until = self.last(choice)
        for number, chunk in enumerate(self.points.chunks):
            for band in range(choice.band, len(BANDS)):
                part = chunk.parts[band]
                if count := part.count(until):
                    yield number, chunk, band, part, count


def _points(part: Part, count: int, stride: int, *, by_segment: bool) -> Points:
    rows = part.rows(count, stride)
    rgb = colors.tinted(rows["rgb"], rows["segment"]) if by_segment else rows["rgb"]
    return Points(rows["xyz"], rgb)
