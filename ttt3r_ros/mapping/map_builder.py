# SPDX-License-Identifier: Apache-2.0
"""Map built from frames: colored voxels and an occupancy grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ttt3r_ros.geometry import transform
from ttt3r_ros.mapping.occupancy_grid import OccupancyMap
from ttt3r_ros.mapping.point_selection import select_points
from ttt3r_ros.mapping.submaps import SubmapCollection
from ttt3r_ros.state_dict import load_all

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ttt3r_ros.config import Config
    from ttt3r_ros.state_dict import StateDict
    from ttt3r_ros.types import Float32Array, Float64Array, Update

ScalarT = TypeVar("ScalarT", bound="np.generic")

_MAX_GRID_POINTS = 4000  # per frame; more points do not change the grid


class MapBuilder:
    """Voxels and occupancy grid of one map. One thread writes, any thread reads."""

    def __init__(self, config: Config) -> None:
        self.voxels = SubmapCollection(config.map.voxel_size, config.map.max_voxels)
        self.grid = OccupancyMap(config.grid.resolution, config.grid.max_size)
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Apply a live change of settings."""
        self._config = config

    def clear(self) -> None:
        """Remove everything."""
        self.voxels.clear()
        self.grid.clear()

    def state_dict(self) -> StateDict:
        """Return a copy of voxels and grid."""
        return {"voxels": self.voxels.state_dict(), "grid": self.grid.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`.

        Raises:
            SourceError: an entry is invalid; nothing has changed.
        """
        load_all({"voxels": self.voxels, "grid": self.grid}, state)

    def transform(self, T_map_map: Float64Array) -> None:
        """Move the voxels by a rigid motion (4, 4) and clear the grid, whose floor has changed."""
        self.voxels.transform(T_map_map)
        self.grid.clear()

    def set_submap_poses(self, poses: Mapping[int, Float64Array]) -> None:
        """Set T_map_submap (4, 4) by submap id and clear the grid, which is not divided into submaps."""
        if poses:
            self.voxels.set_submap_poses(poses)
        self.grid.clear()

    def integrate(self, update: Update, floor_z: float | None) -> float:
        """Integrate the confident points of a frame; the grid needs the height of the floor in the map [m].

        Returns:
            The fraction of the pixels selected in this frame that were integrated.
        """
        config, stamp_ns = self._config.map, update.frame.stamp_ns
        position = update.T_map_camera[:3, 3]
        if config.carve_free_space:
            self._carve_free_space(update)
        points_map, fused_fraction = self._integrate_voxels(update)
        if len(points_map) and floor_z is not None:
            self._integrate_grid(position, points_map, floor_z)
        if config.max_radius or config.max_age:
            self.voxels.evict(position, config.max_radius, stamp_ns, config.max_age)
        return fused_fraction

    def _carve_free_space(self, update: Update) -> None:
        prediction = update.prediction
        depth = prediction.points_camera[..., 2]
        valid = prediction.confidence >= self._config.map.min_confidence
        self.voxels.carve_free_space(depth, update.intrinsics, update.T_map_camera, valid)

    def _integrate_voxels(self, update: Update) -> tuple[Float32Array, float]:
        """Integrate the selected points; return them (N, 3) in the map and the fraction of pixels that are valid."""
        config, prediction = self._config.map, update.prediction
        selected = select_points(
            prediction.points_camera,
            prediction.rgb,
            prediction.confidence,
            self.voxels.frame_count,
            config.min_confidence,
            config.max_range,
        )
        points_map = transform(update.T_map_camera, selected.points_camera)
        if len(points_map):
            # Each pixel also represents those not selected: voxel weights do not depend on the stride.
            weights = selected.confidence * np.float32(selected.stride)
            self.voxels.integrate(points_map, selected.rgb, weights, update.frame.stamp_ns)
        return points_map, selected.fraction

    def _integrate_grid(self, position: Float64Array, points_map: Float32Array, floor_z: float) -> None:
        config = self._config.grid
        points = _subsample(points_map, 2 * _MAX_GRID_POINTS)
        offset = points - position.astype(np.float32)
        in_range = np.flatnonzero(np.einsum("ij,ij->i", offset, offset) <= config.max_range**2)
        points = points.take(_subsample(in_range, _MAX_GRID_POINTS), axis=0)
        self.grid.integrate(position, points, floor_z, config.min_height, config.max_height)


def _subsample(rows: NDArray[ScalarT], count: int) -> NDArray[ScalarT]:
    """Return evenly spaced rows of (N, ...): all, or between once and twice the count."""
    return rows[:: max(1, len(rows) // count)]
