# SPDX-License-Identifier: Apache-2.0
"""Point clouds as PLY and PCD files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.errors import SourceError
from ttt3r_ros.images.point_fields import POINT_FIELDS, pack_points
from ttt3r_ros.io.atomic import atomic_write
from ttt3r_ros.text_files import read_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from ttt3r_ros.mapping.voxel_map import PointCloud
    from ttt3r_ros.types import Float32Array, UInt8Array

_PLY_VERTEX = np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3)])
_PLY_COUNT = "element vertex {}"
_PLY_HEADER = (
    "ply",
    "format binary_little_endian 1.0",
    _PLY_COUNT,
    *(f"property float {axis}" for axis in "xyz"),
    *(f"property uchar {color}" for color in ("red", "green", "blue")),
    "end_header",
)


def write_ply(path: Path, cloud: PointCloud) -> None:
    """Write colored points as binary PLY.

    Raises:
        OutputError: the file cannot be written.
    """
    vertices = np.empty(len(cloud.points), _PLY_VERTEX)
    vertices["xyz"], vertices["rgb"] = cloud.points, cloud.rgb
    header = "".join(f"{line}\n" for line in _PLY_HEADER).format(len(vertices))
    with atomic_write(path) as file:
        file.write(header.encode("ascii"))
        file.write(vertices.tobytes())


def read_ply(path: Path) -> tuple[Float32Array, UInt8Array]:
    """Return points (N, 3) and colors (N, 3) of a file of `write_ply`.

    Raises:
        SourceError: the file cannot be read or is malformed; the message has the value and the expected one.
    """
    content = read_bytes(path)
    parts = content.split(b"\n", len(_PLY_HEADER))
    *lines, body = parts + [b""] * (len(_PLY_HEADER) + 1 - len(parts))
    count = 0
    for number, (line, expected) in enumerate(zip(lines, _PLY_HEADER, strict=True), start=1):
        found = line[:80].decode("ascii", errors="replace")
        if expected == _PLY_COUNT and (match := re.fullmatch(r"element vertex (\d{1,18})", found)):
            count = int(match[1])
        elif found != expected:
            msg = f"{path}:{number}: expected '{expected.format('N')}', found {found!r}"
            raise SourceError(msg)
    if len(body) != count * _PLY_VERTEX.itemsize:
        msg = f"{path}: expected {count * _PLY_VERTEX.itemsize} bytes for {count} vertices, found {len(body)}"
        raise SourceError(msg)
    vertices = np.frombuffer(body, _PLY_VERTEX)
    return vertices["xyz"].copy(), vertices["rgb"].copy()


def write_pcd(path: Path, cloud: PointCloud) -> None:
    """Write colored points as binary PCD 0.7; the color is packed into a float, as in PCL.

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
