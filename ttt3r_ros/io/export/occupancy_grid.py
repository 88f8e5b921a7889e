# SPDX-License-Identifier: Apache-2.0
"""Occupancy grids as PGM and YAML of Nav2's map_server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.io.atomic import atomic_write_together

if TYPE_CHECKING:
    from pathlib import Path

    from ttt3r_ros.mapping.occupancy_grid import OccupancyGrid


def write_occupancy_grid(path: Path, grid: OccupancyGrid) -> None:
    """Write a grid as PGM and YAML, as Nav2's map_saver in trinary mode; both files or none.

    Raises:
        OutputError: a file cannot be written.
    """
    shades = np.full(grid.values.shape, 205, np.uint8)
    shades[grid.values == 0], shades[grid.values == 100] = 254, 0
    height, width = grid.values.shape
    lines = [
        f"image: {path.name}", "mode: trinary", f"resolution: {grid.resolution}",
        f"origin: [{grid.origin_x}, {grid.origin_y}, 0.0]",
        "negate: 0", "occupied_thresh: 0.65", "free_thresh: 0.25",
    ]  # fmt: skip
    with atomic_write_together(path, path.with_suffix(".yaml")) as (image, description):
        image.write(f"P5\n{width} {height}\n255\n".encode("ascii"))
        image.write(shades[::-1].tobytes())  # the first row of the image has the highest y
        description.write(("\n".join(lines) + "\n").encode("utf-8"))
