# SPDX-License-Identifier: Apache-2.0
"""Camera path and frusta as lines, in groups: a new pose changes only the last group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import pose_matrix_xyzw
from ttt3r_ros.viewer import colors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.types import Float32Array, Float64Array, Intrinsics, UInt8Array

GROUP = 128  # poses on the path per node
_MAX_PATH_POSES = 128 * GROUP  # a longer path is subsampled
_MAX_FRUSTA = 256
_FRUSTUM_DEPTH_FRACTION = 0.02  # of the extent of the path
_MIN_FRUSTUM_DEPTH_M = 0.08
# From the camera center to the image corners, and around the image.
_EDGES = np.array([[0, 1], [0, 2], [0, 3], [0, 4], [1, 2], [2, 3], [3, 4], [4, 1]])


@dataclass(frozen=True)
class Lines:
    """Line segments with colors."""

    ends: Float32Array  # (N, 2, 3) in the map frame
    rgb: UInt8Array  # (N, 2, 3)


@dataclass(frozen=True)
class FieldOfView:
    """Field of view of a pinhole camera whose principal point is the image center."""

    tan_x: float  # tangent of half the horizontal angle of view
    tan_y: float

    @classmethod
    def from_intrinsics(cls, intrinsics: Intrinsics) -> FieldOfView:
        """Return the field of view of a camera."""
        return cls(0.5 * intrinsics.width / intrinsics.fx, 0.5 * intrinsics.height / intrinsics.fy)

    def round(self) -> FieldOfView:
        """Return a rounded field of view, which stays equal while the focal length converges."""
        tan_x, tan_y = (
            2.0 ** (np.round(4 * np.log2(tangent)) / 4) for tangent in (self.tan_x, self.tan_y)
        )
        return FieldOfView(float(tan_x), float(tan_y))

    @property
    def vertical_fov(self) -> float:
        """Return the vertical angle of view [rad]."""
        return 2.0 * float(np.arctan(self.tan_y))

    @property
    def aspect(self) -> float:
        """Return the ratio of width to height."""
        return self.tan_x / self.tan_y

    def corners(self, depth_m: float) -> Float64Array:
        """Return camera center and image corners (5, 3) at a depth, in the optical frame."""
        x, y = self.tan_x * depth_m, self.tan_y * depth_m
        corners = [(0.0, 0.0, 0.0)]
        corners += [(-x, -y, depth_m), (x, -y, depth_m), (x, y, depth_m), (-x, y, depth_m)]
        return np.array(corners)


DEFAULT_FIELD_OF_VIEW = FieldOfView(0.6, 0.45)


class CameraPath:
    """Camera poses and their segments."""

    def __init__(self) -> None:
        self.complete = False  # no further poses will be added
        self.revision = 0  # number of changes of earlier poses
        self._count = 0
        # Allocated with spare capacity, so that adding a pose is cheap.
        self._T_map_camera = np.empty((GROUP, 4, 4))
        self._segments = np.zeros(GROUP, np.int64)
        self._low, self._high = np.full(3, np.inf), np.full(3, -np.inf)

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

    def update(self, poses: Float64Array, start: int) -> bool:
        """Replace the poses from an index on by poses (N, 7); return whether existing ones were replaced."""
        before, end = self._count, start + len(poses)
        if end > len(self._segments):
            capacity = 1 << (end - 1).bit_length()
            self._T_map_camera = np.resize(self._T_map_camera, (capacity, 4, 4))
            self._segments = np.resize(self._segments, capacity)
        self._T_map_camera[start:end] = pose_matrix_xyzw(poses)
        self._segments[before:end] = self._segments[before - 1] if before else 0
        self._count = end
        moved = start < before
        self.revision += moved
        positions = self.T_map_camera[0 if moved else start :, :3, 3]
        if moved:
            self._low, self._high = np.full(3, np.inf), np.full(3, -np.inf)
        self._low = np.minimum(self._low, positions.min(axis=0, initial=np.inf))
        self._high = np.maximum(self._high, positions.max(axis=0, initial=-np.inf))
        return moved

    def set_segment_from(self, index: int, segment: int) -> None:
        """Set the segment of all poses from an index on."""
        self.segments[index:] = segment

    @property
    def frustum_depth_m(self) -> float:
        """Return the depth of drawn frusta; it doubles as the path grows, so it changes rarely."""
        extent = float(np.linalg.norm(self._high - self._low)) if len(self) else 0.0
        doublings = np.ceil(np.log2(max(1.0, _FRUSTUM_DEPTH_FRACTION * extent / _MIN_FRUSTUM_DEPTH_M)))
        return float(_MIN_FRUSTUM_DEPTH_M * 2.0**doublings)

    @property
    def frustum_stride(self) -> int:
        """Return the stride of poses with a frustum, a power of two."""
        return self._stride(_MAX_FRUSTA)

    @property
    def path_stride(self) -> int:
        """Return the stride of poses on the drawn path, a power of two."""
        return self._stride(_MAX_PATH_POSES)

    def _stride(self, max_count: int) -> int:
        return 1 << max(0, (len(self) - 1) // max_count).bit_length()

    @property
    def color_range(self) -> int:
        """Return the number of poses that the colors cover; it doubles as the path grows, so it changes rarely."""
        return len(self) if self.complete else 1 << max(6, (len(self) - 1).bit_length())

    def colors(self, indices: NDArray[np.integer], *, by_segment: bool) -> UInt8Array:
        """Return the colors (N, 3) of the poses at indices (N,)."""
        if by_segment:
            return colors.segment_colors(self.segments[indices])
        return colors.turbo_colors(indices / max(1, self.color_range - 1))


def camera_lines(
    path: CameraPath,
    first: int,
    end: int,
    field_of_view: FieldOfView,
    *,
    by_segment: bool,
    frusta: bool,
) -> Lines:
    """Return the lines of a range of poses; ``first`` is a multiple of the path's stride."""
    step = path.path_stride
    # From the last pose of the previous group to the last pose of this one.
    indices = np.union1d(np.arange(max(0, first - step), end, step), end - 1)
    positions = path.T_map_camera[indices, :3, 3]
    ends = [np.stack((positions[:-1], positions[1:]), axis=1)]
    line_colors = [path.colors(indices[1:], by_segment=by_segment)]
    if frusta:
        stride = path.frustum_stride
        with_frustum = np.arange(-(-first // stride) * stride, end, stride)
        T, corners = path.T_map_camera[with_frustum], field_of_view.corners(path.frustum_depth_m)
        corners_map = np.einsum("nij,kj->nki", T[:, :3, :3], corners) + T[:, None, :3, 3]
        ends.append(corners_map[:, _EDGES].reshape(-1, 2, 3))
        line_colors.append(
            np.repeat(path.colors(with_frustum, by_segment=by_segment), len(_EDGES), axis=0)
        )
    rgb: UInt8Array = np.concatenate(line_colors)
    return Lines(np.concatenate(ends).astype(np.float32), np.repeat(rgb[:, None], 2, axis=1))
