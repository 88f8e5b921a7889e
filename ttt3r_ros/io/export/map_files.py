# SPDX-License-Identifier: Apache-2.0
"""Files of a saved map: point cloud as PLY and PCD, occupancy grid as PGM and YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ttt3r_ros.io.export.occupancy_grid import write_occupancy_grid
from ttt3r_ros.io.export.point_cloud import write_pcd, write_ply

if TYPE_CHECKING:
    from pathlib import Path

    from ttt3r_ros.mapping.map_builder import MapBuilder


class SavedMap(NamedTuple):
    """Summary of the written files."""

    points: int
    has_grid: bool


def write_map(path: Path, map_builder: MapBuilder) -> SavedMap:
    """Write the map to ``path`` (.ply) and to files of the same name beside it; the grid only if it exists.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    cloud = map_builder.voxels.point_cloud()
    write_ply(path, cloud)
    write_pcd(path.with_suffix(".pcd"), cloud)
    grid = map_builder.grid.to_grid()
    if grid is not None:
        write_occupancy_grid(path.with_suffix(".pgm"), grid)
    return SavedMap(len(cloud.points), grid is not None)
