# SPDX-License-Identifier: Apache-2.0
"""Results as files. A file appears under its name only when it is complete."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, TYPE_CHECKING

import numpy as np

from ttt3r_ros.errors import OutputError
from ttt3r_ros.images.point_fields import POINT_FIELDS, packed_points

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ttt3r_ros.mapping.occupancy_grid import OccupancyGrid
    from ttt3r_ros.mapping.voxel_map import PointCloud
    from ttt3r_ros.types import Float64Array

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
    with complete_file(path) as file:
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
    with complete_file(path) as file:
        file.write(("\n".join(lines) + "\n").encode("ascii"))
        file.write(packed_points(cloud.points, cloud.rgb).tobytes())


def write_occupancy(path: Path, grid: OccupancyGrid) -> None:
    """Write a grid as PGM and, beside it, YAML, as Nav2's map_saver does in trinary mode: both or neither.

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
    with complete_together(path, path.with_suffix(".yaml")) as (image, description):
        image.write(f"P5\n{width} {height}\n255\n".encode("ascii"))
        image.write(shades[::-1].tobytes())  # an image begins at the top, where y is highest
        description.write(("\n".join(lines) + "\n").encode("utf-8"))


def write_tum(path: Path, stamps_ns: list[int], poses: Float64Array) -> None:
    """Write a trajectory as lines of ``t x y z qx qy qz qw`` (seconds, meters), to the nanosecond.

    Raises:
        OutputError: the file cannot be written.
    """
    with complete_file(path) as file:
        file.writelines(
            f"{_seconds(stamp_ns)} {' '.join(f'{value:.9f}' for value in pose)}\n".encode("ascii")
            for stamp_ns, pose in zip(stamps_ns, poses, strict=True)
        )


def _seconds(stamp_ns: int) -> str:
    # Floats would round the stamps of today to 0.2 microseconds.
    return f"{stamp_ns // 10**9}.{stamp_ns % 10**9:09d}"


def require_writable(folder: Path) -> None:
    """Make a folder, and see that files can be written there.

    Raises:
        OutputError: they cannot.
    """
    probe = folder / ".writable"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"a")
    except OSError as error:
        msg = f"--output {folder} cannot be written: {error.strerror or error}"
        raise OutputError(msg) from error
    finally:
        with suppress(OSError):
            probe.unlink()


@contextmanager
def complete_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that replaces ``path`` when the block ends well, and vanishes otherwise.

    Raises:
        OutputError: folder or file cannot be written; the message names the path and the reason.
    """
    with complete_together(path) as (file,):
        yield file


@contextmanager
def complete_together(*paths: Path) -> Iterator[tuple[IO[bytes], ...]]:
    """Open files for writing that replace ``paths`` together when the block ends well, and all vanish otherwise.

    Raises:
        OutputError: a folder or a file cannot be written; what was under the names is still there.
    """
    temporary = {path: path.parent / f".{path.name}.{secrets.token_hex(4)}.part" for path in paths}
    try:
        with ExitStack() as stack:
            for path in paths:
                path.parent.mkdir(parents=True, exist_ok=True)
            files = tuple(stack.enter_context(part.open("xb")) for part in temporary.values())
            modes = [stat.S_IMODE(os.fstat(file.fileno()).st_mode) for file in files]
            yield files
        # Whoever wrote to the names may have put files of another mode there.
        for part, mode in zip(temporary.values(), modes, strict=True):
            part.chmod(mode)
        _replace_together(temporary)
    except OSError as error:
        names = " and ".join(str(path) for path in paths)
        msg = f"cannot write {names}: {error.strerror or error}"
        raise OutputError(msg) from error
    finally:
        for part in temporary.values():
            with suppress(OSError):
                part.unlink()


def _replace_together(temporary: dict[Path, Path]) -> None:
    """Give files their final names; if one of them cannot have it, let every name have what it had before."""
    path, *later = temporary
    if not later:
        temporary[path].replace(path)
        return
    before = temporary[path].with_suffix(".before")
    # Not by renaming a folder away: a file must not take its name.
    existed = path.exists() and not path.is_dir()
    if existed:
        path.replace(before)
    try:
        temporary[path].replace(path)
        _replace_together({other: temporary[other] for other in later})
    except BaseException:
        if existed:
            before.replace(path)
        elif not path.is_dir():
            path.unlink(missing_ok=True)
        raise
    before.unlink(missing_ok=True)
