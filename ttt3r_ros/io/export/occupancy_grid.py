# SPDX-License-Identifier: Apache-2.0
"""Occupancy grids as PGM and YAML of Nav2's map_server."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.io.atomic import atomic_write_together

if TYPE_CHECKING:
    from pathlib import Path

    from ttt3r_ros.mapping.occupancy_grid import OccupancyGrid


_FREE, _UNKNOWN, _OCCUPIED = 254, 205, 0  # gray levels of map_saver
# map_server reads a cell as occupied above the first and as free below the second value of 1 - gray / 255. Unknown is
# 0.196 there. The 0.25 of Nav2's map_saver makes it free. With this value no mode and no comparison operator does.
_OCCUPIED_THRESHOLD, _FREE_THRESHOLD = 0.65, 0.1


def write_occupancy_grid(path: Path, grid: OccupancyGrid) -> None:
    """Write a grid as PGM and YAML of map_server, trinary; both files or none.

    Raises:
        OutputError: a file cannot be written.
    """
    shades = np.full(grid.values.shape, _UNKNOWN, np.uint8)
    shades[grid.values == 0], shades[grid.values == 100] = _FREE, _OCCUPIED
    height, width = grid.values.shape
    lines = [
        f"image: {_text(path.name)}", "mode: trinary", f"resolution: {_number(grid.resolution)}",
        f"origin: [{_number(grid.origin_x)}, {_number(grid.origin_y)}, 0.0]",
        "negate: 0", f"occupied_thresh: {_OCCUPIED_THRESHOLD}", f"free_thresh: {_FREE_THRESHOLD}",
    ]  # fmt: skip
    with atomic_write_together(path, path.with_suffix(".yaml")) as (image, description):
        image.write(f"P5\n{width} {height}\n255\n".encode("ascii"))
        image.write(shades[::-1].tobytes())  # the first row of the image has the highest y
        description.write(("\n".join(lines) + "\n").encode("utf-8", "surrogateescape"))


def _text(name: str) -> str:
    """Return a file name in YAML: as it is or, as it may contain colons and quotes, as a string of JSON."""
    return (
        name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", name) else json.dumps(name, ensure_ascii=False)
    )


def _number(value: float) -> str:
    """Return the shortest text of a number without an exponent: PyYAML reads 1e-05 as a string."""
    return np.format_float_positional(value, trim="0")
