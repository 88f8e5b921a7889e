# SPDX-License-Identifier: Apache-2.0
"""Trajectory files: TUM, KITTI and EuRoC formats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.errors import OutputError, SourceError, short_text
from ttt3r_ros.geometry import pose_matrix, pose_matrix_xyzw
from ttt3r_ros.io.atomic import atomic_write
from ttt3r_ros.io.text_stamps import parse_seconds_ns, parse_stamps_ns
from ttt3r_ros.text_files import read_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ttt3r_ros.io.sequence import StampedPose
    from ttt3r_ros.types import Float64Array

_EUROC_COLUMNS = (
    "#timestamp [ns],p_RS_R_x [m],p_RS_R_y [m],p_RS_R_z [m],q_RS_w [],q_RS_x [],q_RS_y [],q_RS_z []"
)


def read_tum(path: Path, *, any_unit: bool = False) -> list[StampedPose]:
    """Read a trajectory in TUM format; rows that are not finite become poses of NaN. Empty without the file.

    With ``any_unit`` the unit of the stamps is detected, for files of other programs; else they are seconds.

    Raises:
        SourceError: a line is malformed; the message names file and line.
    """
    if not path.exists():
        return []
    rows, poses = [], []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        words = line.split()
        try:
            poses.append(_pose([float(word) for word in words[1:8]]))
        except ValueError as error:
            msg = f"{path}:{number}: expected 't x y z qx qy qz qw', found {short_text(line)}"
            raise SourceError(msg) from error
        rows.append((number, words[0]))
    if any_unit:
        stamps_ns = parse_stamps_ns(path, rows)
    else:
        stamps_ns = [parse_seconds_ns(path, number, text) for number, text in rows]
    return list(zip(stamps_ns, poses, strict=True))


def _pose(row: list[float]) -> Float64Array:
    x, y, z, qx, qy, qz, qw = row
    if not any((qx, qy, qz, qw)):
        msg = "the quaternion is 0"
        raise ValueError(msg)
    if not np.isfinite(row).all():
        return np.full((4, 4), np.nan)
    return pose_matrix(np.array([x, y, z, qw, qx, qy, qz]))


def write_trajectory(path: Path, stamps_ns: list[int], poses: Float64Array, form: str) -> None:
    """Write stamps [ns] and poses (N, 7), x, y, z, qx, qy, qz, qw, of the camera in the map.

    tum: ``t x y z qx qy qz qw``; kitti: the upper three rows of T_map_camera, without stamps; euroc: CSV with a
    header, ``t x y z qw qx qy qz``, t in nanoseconds.

    Raises:
        OutputError: the format is unknown, or the file cannot be written.
    """
    write = _WRITERS.get(form)
    if write is None:
        msg = f"cannot write {path}: trajectory form '{form}'; expected {', '.join(_WRITERS)}"
        raise OutputError(msg)
    write(path, stamps_ns, poses)


def _write_kitti(path: Path, _stamps_ns: list[int], poses: Float64Array) -> None:
    T_map_camera = pose_matrix_xyzw(poses)
    with atomic_write(path) as file:
        np.savetxt(file, T_map_camera[:, :3].reshape(-1, 12), fmt="%.12e")


def _write_euroc(path: Path, stamps_ns: list[int], poses: Float64Array) -> None:
    with atomic_write(path) as file:
        file.write(f"{_EUROC_COLUMNS}\n".encode("ascii"))
        file.writelines(
            f"{stamp_ns},{','.join(f'{value:.9f}' for value in pose)}\n".encode("ascii")
            for stamp_ns, pose in zip(stamps_ns, poses[:, [0, 1, 2, 6, 3, 4, 5]], strict=True)
        )


def write_tum(path: Path, stamps_ns: list[int], poses: Float64Array) -> None:
    """Write a trajectory as lines of ``t x y z qx qy qz qw`` (seconds, meters), to the nanosecond.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_write(path) as file:
        file.writelines(
            f"{_seconds(stamp_ns)} {' '.join(f'{value:.9f}' for value in pose)}\n".encode("ascii")
            for stamp_ns, pose in zip(stamps_ns, poses, strict=True)
        )


def _seconds(stamp_ns: int) -> str:
    # Floats would round current stamps to 0.2 microseconds.
    seconds, nanoseconds = divmod(abs(stamp_ns), 10**9)
    return f"{'-' if stamp_ns < 0 else ''}{seconds}.{nanoseconds:09d}"


_WRITERS: dict[str, Callable[[Path, list[int], Float64Array], None]] = {
    "tum": write_tum,
    "kitti": _write_kitti,
    "euroc": _write_euroc,
}
