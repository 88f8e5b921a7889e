# SPDX-License-Identifier: Apache-2.0
"""What the frames have shown of the world: colored voxels and a grid of obstacles, fused together."""

from __future__ import annotations

from math import gcd, isqrt
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ttt3r_ros.geometry import transform
from ttt3r_ros.mapping.occupancy_grid import OccupancyMap
from ttt3r_ros.mapping.submaps import SubmapCollection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ttt3r_ros.config import Config
    from ttt3r_ros.types import Float32Array, Float64Array, Update

ScalarT = TypeVar("ScalarT", bound="np.generic")

# Fused of one frame at most; of a larger one every pixel has its turn in later frames.
_FRAME_POINTS = 1 << 14
_GRID_POINTS = 4000  # of one frame at most; more do not change what is seen of a floor plan


class MapBuilder:
    """One thread fuses; any thread may read."""

    def __init__(self, config: Config) -> None:
        self.voxels = SubmapCollection(config.map.voxel_size, config.map.max_voxels)
        self.grid = OccupancyMap(config.grid.resolution, config.grid.max_size)
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Follow a live change of settings."""
        self._config = config

    def clear(self) -> None:
        """Forget everything."""
        self.voxels.clear()
        self.grid.clear()

    def transform(self, T_map_map: Float64Array) -> None:
        """Move the voxels by a rigid motion (4, 4). The grid, whose floor has changed, begins anew."""
        self.voxels.transform(T_map_map)
        self.grid.clear()

    def set_submap_poses(self, poses: Mapping[int, Float64Array]) -> None:
        """Set T_map_submap (4, 4) by submap id and clear the grid, which is not divided into submaps."""
        if poses:
            self.voxels.set_submap_poses(poses)
        self.grid.clear()

    def integrate(self, update: Update, floor_z: float | None) -> float:
        """Fuse the sure points of a frame; the grid waits until the height of the floor is known [m].

        Returns the share of the pixels that went into the map, of those whose turn it was.
        """
        config, stamp_ns = self._config.map, update.frame.stamp_ns
        if config.carve_free_space:
            self._clear_seen_through(update)
        points_map, fused_fraction = self._fuse_voxels(update)
        if len(points_map) and floor_z is not None:
            self._fuse_grid(update.T_map_camera[:3, 3], points_map, floor_z)
        if config.max_radius or config.max_age:
            self.voxels.evict(update.T_map_camera[:3, 3], config.max_radius, stamp_ns, config.max_age)
        return fused_fraction

    def _clear_seen_through(self, update: Update) -> None:
        prediction = update.prediction
        depth = prediction.points_camera[..., 2]
        sure = prediction.confidence >= self._config.map.min_confidence
        self.voxels.carve_free_space(depth, update.intrinsics, update.T_map_camera, sure)

    def _fuse_voxels(self, update: Update) -> tuple[Float32Array, float]:
        """Fuse this frame's pixels whose turn it is; return the points (N, 3) of the sure ones, and their share."""
        config, prediction = self._config.map, update.prediction
        turn, share = select_pixels(prediction.confidence.shape, self.voxels.frame_count)
        # First the slices, which are cheap whatever the memory layout of the arrays is.
        points, confidence = (
            prediction.points_camera[turn].reshape(-1, 3),
            prediction.confidence[turn].ravel(),
        )
        depth, sure = points[:, 2], confidence >= config.min_confidence
        chosen = np.flatnonzero(sure & (depth > 0) & (depth <= config.max_range))
        points_map = transform(update.T_map_camera, points.take(chosen, axis=0))
        if len(chosen):
            # Each stands for its neighbors, too: what a voxel weighs does not depend on how many are fused.
            weights = confidence.take(chosen) * np.float32(share)
            rgb = prediction.rgb[turn].reshape(-1, 3).take(chosen, axis=0)
            self.voxels.integrate(points_map, rgb, weights, update.frame.stamp_ns)
        return points_map, len(chosen) / max(1, len(points))

    def _fuse_grid(self, origin: Float64Array, points_map: Float32Array, floor_z: float) -> None:
        config = self._config.grid
        points = _thinned(points_map, 2 * _GRID_POINTS)
        away = points - origin.astype(np.float32)
        near = np.flatnonzero(np.einsum("ij,ij->i", away, away) <= config.max_range**2)
        points = points.take(_thinned(near, _GRID_POINTS), axis=0)
        self.grid.integrate(origin, points, floor_z, config.min_height, config.max_height)


def _thinned(rows: NDArray[ScalarT], about: int) -> NDArray[ScalarT]:
    """Return evenly spaced rows of (N, ...), at least about so many if there are and less than twice as many."""
    return rows[:: max(1, len(rows) // about)]


def select_pixels(shape: tuple[int, ...], clock: int) -> tuple[tuple[slice, slice], int]:
    """Return the pixels of an image (height, width) to fuse in this frame, and how many share their turn.

    All of an image of at most 16384 pixels. Of a larger one those on a lattice that moves on with every frame.
    """
    height, width = shape
    share = -(-height * width // _FRAME_POINTS)
    down = max(1, min(height, isqrt(share)))
    right = -(-share // down)
    # Not to the next pixel but to one far away from all that had their turn lately.
    leap = next(
        leap
        for leap in range(round(0.38 * down * right) or 1, down * right + 1)
        if gcd(leap, down * right) == 1
    )
    row, column = divmod(clock * leap % (down * right), right)
    return (slice(row, None, down), slice(column, None, right)), down * right
