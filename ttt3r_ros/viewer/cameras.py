# SPDX-License-Identifier: Apache-2.0
"""Where the camera was, as lines: its path, and a frustum for some of its poses. In groups, so that old ones stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import pose_matrix_xyzw
from ttt3r_ros.viewer import colours

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.types import Float32Array, Float64Array, Intrinsics, UInt8Array

GROUP = 128  # poses of which the lines are sent together
_MOST_FRUSTA = 256
_SHARE = 0.02  # of the way's extent that a frustum is deep
_SMALLEST_M = 0.08
# From the camera to the corners of its image, and around the image.
_EDGES = np.array([[0, 1], [0, 2], [0, 3], [0, 4], [1, 2], [2, 3], [3, 4], [4, 1]])


@dataclass(frozen=True)
class Lines:
    """Straight lines and their colours."""

    ends: Float32Array  # (N, 2, 3) in the map
    rgb: UInt8Array  # (N, 2, 3)


@dataclass(frozen=True)
class Lens:
    """What a camera sees, as tangents of half its angles of view."""

    right: float
    down: float

    @classmethod
    def of(cls, intrinsics: Intrinsics) -> Lens:
        """Return that of a pinhole camera, taken as centred."""
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
        self.stamps_ns: list[int] = []
        self.T_map_camera = np.empty((0, 4, 4))
        self.segments = np.empty(0, np.int64)
        self.rows = np.empty((0, 7))

    def __len__(self) -> int:
        return len(self.stamps_ns)

    def follow(self, stamps_ns: list[int], rows: Float64Array) -> bool:
        """Take over stamps [ns] and poses (N, 7: x y z qx qy qz qw); tell whether known poses have moved."""
        known = len(self.rows)
        moved = not np.array_equal(rows[:known], self.rows)
        known = 0 if moved else known
        added = pose_matrix_xyzw(rows[known:])
        self.T_map_camera = np.concatenate((self.T_map_camera[:known], added))
        self.stamps_ns, self.rows = stamps_ns, rows
        last = self.segments[-1:] if len(self.segments) else np.zeros(1, np.int64)
        grown = np.repeat(last, max(0, len(rows) - len(self.segments)))
        self.segments = np.concatenate((self.segments[: len(rows)], grown))
        return moved

    def note_segment(self, index: int, segment: int) -> None:
        """Say in which segment the camera has been since a pose."""
        self.segments[index:] = segment

    def frustum_depth_m(self) -> float:
        """Return how deep frusta are drawn: it doubles as the way grows, and so changes seldom."""
        if not len(self):
            return _SMALLEST_M
        extent = float(np.linalg.norm(np.ptp(self.T_map_camera[:, :3, 3], axis=0)))
        doublings = np.ceil(np.log2(max(1.0, _SHARE * extent / _SMALLEST_M)))
        return float(_SMALLEST_M * 2.0**doublings)

    def frustum_stride(self) -> int:
        """Return which poses have a frustum: every so many-th, a power of two."""
        return 1 << max(0, (len(self) - 1) // _MOST_FRUSTA).bit_length()

    def times(self) -> Float64Array:
        """Return the share of the run (N,) at each pose; of one that grows, the whole doubles now and then."""
        whole = len(self) if self.complete else 1 << max(6, (len(self) - 1).bit_length())
        return np.arange(len(self)) / max(1, whole - 1)

    def colours(self, *, by_segment: bool) -> UInt8Array:
        """Return the colour of each pose (N, 3)."""
        return colours.of_segments(self.segments) if by_segment else colours.of_shares(self.times())


def lines_of(way: Way, first: int, end: int, lens: Lens, rgb: UInt8Array, *, frusta: bool) -> Lines:
    """Return the lines of the poses from ``first`` to before ``end``, colours (N, 3) being those of all poses."""
    places = way.T_map_camera[max(0, first - 1) : end, :3, 3]
    ends = [np.stack((places[:-1], places[1:]), axis=1)]
    shades = [rgb[max(1, first) : end]]
    if frusta:
        stride = way.frustum_stride()
        chosen = np.arange(-(-first // stride) * stride, end, stride)
        T, corners = way.T_map_camera[chosen], lens.corners(way.frustum_depth_m())
        seen = np.einsum("nij,kj->nki", T[:, :3, :3], corners) + T[:, None, :3, 3]
        ends.append(seen[:, _EDGES].reshape(-1, 2, 3))
        shades.append(np.repeat(rgb[chosen], len(_EDGES), axis=0))
    shade: NDArray[np.uint8] = np.concatenate(shades)
    return Lines(np.concatenate(ends).astype(np.float32), np.repeat(shade[:, None], 2, axis=1))
