# SPDX-License-Identifier: Apache-2.0
"""Point clouds as PLY and PCD files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.images.point_fields import POINT_FIELDS, pack_points
from ttt3r_ros.io.atomic import atomic_write

if TYPE_CHECKING:
    from pathlib import Path

    from ttt3r_ros.mapping.voxel_map import PointCloud

_PLY_VERTEX = np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3)])


def write_ply(path: Path, cloud: PointCloud) -> None:
    """Write colored points as binary PLY.

    Raises:
        OutputError: the file cannot be written.
    """
    vertices = np.empty(len(cloud.points), _PLY_VERTEX)
    vertices["xyz"], vertices["rgb"] = cloud.points, cloud.rgb
    fields = [f"property float {axis}" for axis in "xyz"]
    fields += [f"property uchar {color}" for color in ("red", "green", "blue")]
    lines = [
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {len(vertices)}",
        *fields,
        "end_header",
    ]
    with atomic_write(path) as file:
        file.write(("\n".join(lines) + "\n").encode("ascii"))
        file.write(vertices.tobytes())


def read_ply(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read back what `write_ply` wrote: points (N, 3) float32 and colors (N, 3) uint8."""
    content = path.read_bytes()
    end = content.index(b"end_header\n") + len(b"end_header\n")
    vertices = np.frombuffer(content, _PLY_VERTEX, offset=end)
    return vertices["xyz"].copy(), vertices["rgb"].copy()


def write_pcd(path: Path, cloud: PointCloud) -> None:
    """Write colored points as binary PCD 0.7, the color packed into a float as PCL reads it.

    Raises:
        OutputError: the file cannot be written.
    """
    count = len(cloud.points)
    lines = [
        "# .PCD v0.7 - Point Cloud Data file format",
        "VERSION 0.7", f"FIELDS {' '.join(POINT_FIELDS)}", "SIZE 4 4 4 4", "TYPE F F F F", "COUNT 1 1 1 1",
        f"WIDTH {count}", "HEIGHT 1", "VIEWPOINT 0 0 0 1 0 0 0", f"POINTS {count}", "DATA binary",
    ]  # fmt: skip
    with atomic_write(path) as file:
        file.write(("\n".join(lines) + "\n").encode("ascii"))
        file.write(pack_points(cloud.points, cloud.rgb).tobytes())
