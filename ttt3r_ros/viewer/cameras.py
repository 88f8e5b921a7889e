# SPDX-License-Identifier: Apache-2.0
"""Where the camera was, as lines: its path, and a frustum for some of its poses. In groups, so that old ones stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import pose_matrix_xyzw
from ttt3r_ros.viewer import colors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.types import Float32Array, Float64Array, Intrinsics, UInt8Array

GROUP = 128  # poses on the path of which the lines are sent together
_MOST_ON_PATH = 128 * GROUP  # of more poses every second, fourth and so on is on the path
_MOST_FRUSTA = 256
_SHARE = 0.02  # of the way's extent that a frustum is deep
_SMALLEST_M = 0.08
# From the camera to the corners of its image, and around the image.
_EDGES = np.array([[0, 1], [0, 2], [0, 3], [0, 4], [1, 2], [2, 3], [3, 4], [4, 1]])


@dataclass(frozen=True)
class Lines:
    """Straight lines and their colors."""

    ends: Float32Array  # (N, 2, 3) in the map
    rgb: UInt8Array  # (N, 2, 3)


@dataclass(frozen=True)
class Lens:
    """What a camera sees, as tangents of half its angles of view."""

    right: float
    down: float

    @classmethod
    def of(cls, intrinsics: Intrinsics) -> Lens:
        """Return that of a pinhole camera, taken as centered."""
        return cls(
            0.5 * intrinsics.width / intrinsics.fx,
            0.5 * intrinsics.height / intrinsics.fy,
        )

    def coarse(self) -> Lens:
        """Return a lens that stays the same while the estimate of this one settles."""
        right, down = (
            float(2.0 ** (np.round(4 * np.log2(side)) / 4)) for side in (self.right, self.down)
        )
        return Lens(right, down)

    @property
    def vertical_fov(self) -> float:
        """Return the whole angle from top to bottom [rad]."""
        return 2.0 * float(np.arctan(self.down))

    @property
    def aspect(self) -> float:
        """Return width over height."""
        return self.right / self.down

    def corners(self, depth_m: float) -> Float64Array:
        """Return the camera's place and the corners of its image at a depth, in its optical frame (5, 3)."""
        x, y = self.right * depth_m, self.down * depth_m
        flat = [(0.0, 0.0, 0.0)]
        flat += [(-x, -y, depth_m), (x, -y, depth_m), (x, y, depth_m), (-x, y, depth_m)]
        return np.array(flat)


DEFAULT_LENS = Lens(0.6, 0.45)


class Way:
    """All poses of the camera so far, and in which segment they were."""

    def __init__(self) -> None:
        self.complete = False  # no pose comes any more
        self.moves = 0  # how often known poses have moved
        self._count = 0
        # Of more poses than there are, so that most new ones cost nothing but themselves.
        self._T_map_camera = np.empty((GROUP, 4, 4))
        self._segments = np.zeros(GROUP, np.int64)
        self._nearest, self._farthest = np.full(3, np.inf), np.full(3, -np.inf)

    def __len__(self) -> int:
        return self._count

    @property
    def T_map_camera(self) -> Float64Array:
        """Return all poses (N, 4, 4)."""
        return self._T_map_camera[: self._count]

    @property
    def segments(self) -> NDArray[np.int64]:
        """Return the segment of each pose (N,)."""
        return self._segments[: self._count]

    def follow(self, rows: Float64Array, start: int) -> bool:
        """Take over poses (N, 7: x y z qx qy qz qw) from an index on; tell whether known ones have moved."""
        before, end = self._count, start + len(rows)
        if end > len(self._segments):
            room = 1 << (end - 1).bit_length()
            self._T_map_camera = np.resize(self._T_map_camera, (room, 4, 4))
            self._segments = np.resize(self._segments, room)
        self._T_map_camera[start:end] = pose_matrix_xyzw(rows)
        self._segments[before:end] = self._segments[before - 1] if before else 0
        self._count = end
        moved = start < before
        self.moves += moved
        changed = self.T_map_camera[0 if moved else start :, :3, 3]
        if moved:
            self._nearest, self._farthest = np.full(3, np.inf), np.full(3, -np.inf)
        self._nearest = np.minimum(self._nearest, changed.min(axis=0, initial=np.inf))
        self._farthest = np.maximum(self._farthest, changed.max(axis=0, initial=-np.inf))
        return moved

    def note_segment(self, index: int, segment: int) -> None:
        """Say in which segment the camera has been since a pose."""
        self.segments[index:] = segment

    def frustum_depth_m(self) -> float:
        """Return how deep frusta are drawn: it doubles as the way grows, and so changes seldom."""
        extent = float(np.linalg.norm(self._farthest - self._nearest)) if len(self) else 0.0
        doublings = np.ceil(np.log2(max(1.0, _SHARE * extent / _SMALLEST_M)))
        return float(_SMALLEST_M * 2.0**doublings)

    def frustum_stride(self) -> int:
        """Return which poses have a frustum: every so many-th, a power of two."""
        return self._stride(_MOST_FRUSTA)

    def path_stride(self) -> int:
        """Return which poses are on the path: every so many-th, a power of two."""
        return self._stride(_MOST_ON_PATH)

    def _stride(self, most: int) -> int:
        return 1 << max(0, (len(self) - 1) // most).bit_length()

    def span(self) -> int:
        """Return for how many poses the colors are; of a way that grows, it doubles now and then."""
        return len(self) if self.complete else 1 << max(6, (len(self) - 1).bit_length())

    def colors(self, indices: NDArray[np.integer], *, by_segment: bool) -> UInt8Array:
        """Return the colors (N, 3) of some poses (N,)."""
        if by_segment:
            return colors.of_segments(self.segments[indices])
        return colors.of_shares(indices / max(1, self.span() - 1))


def lines_of(way: Way, first: int, end: int, lens: Lens, *, by_segment: bool, frusta: bool) -> Lines:
    """Return the lines of the poses from ``first``, which is on the path, to before ``end``."""
    step = way.path_stride()
    # From the last one on the path before these, to the very last of these.
    path = np.union1d(np.arange(max(0, first - step), end, step), end - 1)
    places = way.T_map_camera[path, :3, 3]
    ends = [np.stack((places[:-1], places[1:]), axis=1)]
    shades = [way.colors(path[1:], by_segment=by_segment)]
    if frusta:
        stride = way.frustum_stride()
        chosen = np.arange(-(-first // stride) * stride, end, stride)
        T, corners = way.T_map_camera[chosen], lens.corners(way.frustum_depth_m())
        seen = np.einsum("nij,kj->nki", T[:, :3, :3], corners) + T[:, None, :3, 3]
        ends.append(seen[:, _EDGES].reshape(-1, 2, 3))
        shades.append(np.repeat(way.colors(chosen, by_segment=by_segment), len(_EDGES), axis=0))
    shade: NDArray[np.uint8] = np.concatenate(shades)
    return Lines(np.concatenate(ends).astype(np.float32), np.repeat(shade[:, None], 2, axis=1))
