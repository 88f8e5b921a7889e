# SPDX-License-Identifier: Apache-2.0
"""Content of the viewer, independent of the browser: points, camera path and newest image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import transform, unproject
from ttt3r_ros.mapping.point_selection import select_points
from ttt3r_ros.mapping.voxel_map import PointCloud
from ttt3r_ros.viewer import colors
from ttt3r_ros.viewer.cameras import (
    DEFAULT_FIELD_OF_VIEW,
    GROUP,
    CameraPath,
    FieldOfView,
    Lines,
    camera_lines,
)
from ttt3r_ros.viewer.points import BANDS, PointStore

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from ttt3r_ros.types import Float32Array, Float64Array, Intrinsics, UInt8Array, Update
    from ttt3r_ros.viewer.points import BandPoints, PointChunk

# Stored points, 16 bytes each. The two voxel tables (`VoxelBands`) take at most 38 MB each.
CAPACITY = 4_000_000
MAX_POINTS = 2_500_000  # drawn by default
SCENE_VOXEL_SIZE = 0.5  # relative to the voxels of the map
POINT_SIZE = 0.6  # initial, relative to the voxels of the map
_IDENTITY = np.eye(4)


@dataclass(frozen=True)
class RgbdImage:
    """Color image with points and confidence per pixel, at any resolution (h, w)."""

    rgb: UInt8Array  # (h, w, 3)
    points_camera: Float32Array  # (h, w, 3) optical frame, NaN where invalid
    confidence: Float32Array  # (h, w)
    intrinsics: Intrinsics

    @classmethod
    def from_update(cls, update: Update) -> RgbdImage:
        """Return image and points of an update, without a copy."""
        prediction = update.prediction
        return cls(prediction.rgb, prediction.points_camera, prediction.confidence, update.intrinsics)

    @classmethod
    def from_depth(
        cls, rgb: UInt8Array, depth_m: Float32Array, confidence: Float32Array, intrinsics: Intrinsics
    ) -> RgbdImage:
        """Return a color image with the points of a depth image (h, w) [m], NaN where invalid."""
        return cls(rgb, unproject(depth_m, intrinsics), confidence, intrinsics)

    @property
    def depth_m(self) -> Float32Array:
        """Return the depth (h, w)."""
        return self.points_camera[..., 2]


@dataclass(frozen=True)
class Selection:
    """Content selected by the user."""

    band: int = 0  # lowest drawn band of confidence
    max_points: int = MAX_POINTS
    by_segment: bool = False  # color by segment
    frusta: bool = True
    until: int | None = None  # index of the last pose; None: the newest


@dataclass(frozen=True)
class Points:
    """Points to draw."""

    xyz: Float32Array  # (N, 3) in the frame of their node
    rgb: UInt8Array  # (N, 3)


@dataclass(frozen=True)
class SceneNode:
    """Unit of drawing and transfer. Its content is sent again only if the signature changes."""

    name: str
    signature: Hashable
    create: Callable[[], Points | Lines]
    T_map_node: Float64Array  # (4, 4), replaced by a new array when it changes


class Scene:
    """Points and camera path, extended with each image. Not thread-safe."""

    def __init__(self, voxel_size: float, max_range: float = np.inf, capacity: int = CAPACITY) -> None:
        self._voxel_size = voxel_size
        self._max_range = max_range
        self._capacity = capacity
        self.clear()

    def clear(self) -> None:
        """Remove everything."""
        self.clear_points()
        self.camera_path = CameraPath()
        self.rgbd: RgbdImage | None = None  # of the last displayed pose

    def clear_points(self) -> None:
        """Remove the points, keep the camera path."""
        self.points = PointStore(self._voxel_size, self._capacity)
        self._image_count = 0

    @property
    def field_of_view(self) -> FieldOfView:
        """Return the camera's field of view."""
        if self.rgbd is None:
            return DEFAULT_FIELD_OF_VIEW
        return FieldOfView.from_intrinsics(self.rgbd.intrinsics)

    # --- updates ------------------------------------------------------------------------------------

    def update_poses(self, poses: Float64Array, start: int = 0) -> None:
        """Replace the poses from an index on by poses (N, 7): x, y, z, qx, qy, qz, qw.

        Points move with the pose that observed them.
        """
        if self.camera_path.update(poses, start):
            self._move_points()

    def _move_points(self) -> None:
        for chunk in self.points.chunks:
            if chunk.anchor >= 0:
                chunk.move_with_anchor(self.camera_path.T_map_camera[chunk.anchor])
        self.points.finish_chunk()

    def add(
        self, rgbd: RgbdImage, index: int, segment: int, T_map_camera: Float64Array | None = None
    ) -> None:
        """Add the points of an image of a pose of the path.

        Args:
            rgbd: the image.
            index: of the pose.
            segment: of the pose.
            T_map_camera: pose (4, 4) of another camera that took the image; None: the pose of the path.
        """
        self.rgbd = rgbd
        if not self.camera_path.complete:
            self.camera_path.set_segment_from(index, segment)
        selected = select_points(
            rgbd.points_camera,
            rgbd.rgb,
            rgbd.confidence,
            self._image_count,
            BANDS[0],
            self._max_range,
        )
        self._image_count += 1
        T_map_anchor = self.camera_path.T_map_camera[index]
        T_map_camera = T_map_anchor if T_map_camera is None else T_map_camera
        points_map = transform(T_map_camera, selected.points_camera)
        self.points.add(points_map, selected.rgb, selected.confidence, index, T_map_anchor, segment)

    def add_cloud(self, cloud: PointCloud) -> None:
        """Add a finished map; its points are visible at every pose."""
        self.points.add_cloud(cloud.points, cloud.rgb)

    # --- drawing ------------------------------------------------------------------------------------

    def stride(self, selection: Selection) -> int:
        """Return the stride of the drawn points, a power of two, that keeps them within the maximum."""
        ratio = -(-self._count(selection, 1) // selection.max_points)
        return 1 << max(0, ratio - 1).bit_length()

    def count(self, selection: Selection) -> int:
        """Return the number of drawn points."""
        return self._count(selection, self.stride(selection))

    def cloud(self, selection: Selection) -> PointCloud:
        """Return the drawn points in the map frame."""
        xyz, rgb = [np.empty((0, 3), np.float32)], [np.empty((0, 3), np.uint8)]
        for node in self.point_nodes(selection):
            points = node.create()
            assert isinstance(points, Points)
            xyz.append(transform(node.T_map_node, points.xyz))
            rgb.append(points.rgb)
        return PointCloud(np.concatenate(xyz), np.concatenate(rgb))

    def point_nodes(self, selection: Selection) -> Iterator[SceneNode]:
        """Yield the nodes of the map, one per chunk and band."""
        stride = self.stride(selection)
        for index, chunk, band, band_points, count in self._band_points(selection):
            create = partial(_points, band_points, count, stride, by_segment=selection.by_segment)
            signature = (count, stride, self.points.stride, selection.by_segment)
            yield SceneNode(f"/map/{index}/{band}", signature, create, chunk.T_map_chunk)

    def camera_nodes(self, selection: Selection) -> Iterator[SceneNode]:
        """Yield the nodes of the camera path."""
        path, field_of_view = self.camera_path, self.field_of_view.round()
        end = self.last(selection) + 1
        path_settings = (path.revision, path.path_stride, path.color_range, selection.by_segment)
        frusta_settings = (
            (field_of_view, path.frustum_depth_m, path.frustum_stride) if selection.frusta else None
        )
        group = GROUP * path.path_stride
        for first in range(0, end, group):
            stop = min(end, first + group)
            create = partial(
                camera_lines,
                path,
                first,
                stop,
                field_of_view,
                by_segment=selection.by_segment,
                frusta=selection.frusta,
            )
            # Segment numbers only increase: if one changes, so does the last of the group.
            signature = (path_settings, frusta_settings, stop, int(path.segments[stop - 1]))
            yield SceneNode(f"/cameras/{first // group}", signature, create, _IDENTITY)

    def last(self, selection: Selection) -> int:
        """Return the index of the last displayed pose, -1 if there is none."""
        newest = len(self.camera_path) - 1
        return newest if selection.until is None else min(selection.until, newest)

    def visible_fraction(self, selection: Selection) -> float:
        """Return the fraction of points within the selected confidence; 1 if there are no points."""
        total = self._count(replace(selection, band=0), 1)
        return self._count(selection, 1) / total if total else 1.0

    def _count(self, selection: Selection, stride: int) -> int:
        return sum(-(-count // stride) for *_, count in self._band_points(selection))

    def _band_points(
        self, selection: Selection
    ) -> Iterator[tuple[int, PointChunk, int, BandPoints, int]]:
        until = self.last(selection)
        for index, chunk in enumerate(self.points.chunks):
            for band in range(selection.band, len(BANDS)):
                band_points = chunk.bands[band]
                if count := band_points.count(until):
                    yield index, chunk, band, band_points, count


def _points(band_points: BandPoints, count: int, stride: int, *, by_segment: bool) -> Points:
    rows = band_points.rows(count, stride)
    rgb = colors.tint(rows["rgb"], rows["segment"]) if by_segment else rows["rgb"]
    return Points(rows["xyz"], rgb)
