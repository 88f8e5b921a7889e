# SPDX-License-Identifier: Apache-2.0
"""What the frames have shown of the world: coloured voxels and a grid of obstacles, fused together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import transform
from ttt3r_ros.pipeline.occupancy import OccupancyMap
from ttt3r_ros.pipeline.voxel_map import VoxelMap

if TYPE_CHECKING:
    from ttt3r_ros.config import Config
    from ttt3r_ros.types import Float32Array, Float64Array, Update

_GRID_POINTS = 4000  # of one frame at most; more do not change what is seen of a floor plan


class SceneMap:
    """One thread fuses; any thread may read."""

    def __init__(self, config: Config) -> None:
        self.voxels = VoxelMap(config.map.voxel_size, config.map.max_voxels)
        self.grid = OccupancyMap(config.grid.resolution, config.grid.max_size)
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Follow a live change of settings."""
        self._config = config

    def clear(self) -> None:
        """Forget everything."""
        self.voxels.clear()
        self.grid.clear()

    def move(self, T_map_map: Float64Array) -> None:
        """Move the voxels by a rigid motion (4, 4). The grid, whose floor has changed, begins anew."""
        self.voxels.move(T_map_map)
        self.grid.clear()

    def fuse(self, update: Update, floor_z: float | None) -> None:
        """Fuse the sure points of a frame; the grid waits until the height of the floor is known [m]."""
        config = self._config.map
        prediction = update.prediction
        points, confidence = prediction.points_camera, prediction.confidence
        depth = points[..., 2]
        sure = (confidence >= config.min_confidence) & (depth > 0)
        chosen = sure & (depth <= config.max_range)
        stamp_ns = update.frame.stamp_ns
        if config.clear_seen_through:
            seen = np.where(sure, depth, np.float32(np.nan))
            self.voxels.wear_down_seen_through(seen, update.intrinsics, update.T_map_camera)
        if chosen.any():
            points_map = transform(update.T_map_camera, points[chosen])
            self.voxels.integrate(points_map, prediction.rgb[chosen], confidence[chosen], stamp_ns)
            if floor_z is not None:
                self._fuse_grid(update.T_map_camera[:3, 3], points_map, floor_z)
        if config.max_radius or config.max_age:
            self.voxels.forget(update.T_map_camera[:3, 3], config.max_radius, stamp_ns, config.max_age)

    def _fuse_grid(self, origin: Float64Array, points_map: Float32Array, floor_z: float) -> None:
        config = self._config.grid
        near = np.linalg.norm(points_map - origin.astype(np.float32), axis=1) <= config.max_range
        points = points_map[near]
        points = points[:: max(1, len(points) // _GRID_POINTS)]
        self.grid.integrate(origin, points, floor_z, config.min_height, config.max_height)
