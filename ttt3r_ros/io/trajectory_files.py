# SPDX-License-Identifier: Apache-2.0
"""Trajectories in the three forms that evaluation tools read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.errors import OutputError
from ttt3r_ros.geometry import pose_matrix_xyzw
from ttt3r_ros.io.export.writers import complete_file, write_tum

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ttt3r_ros.types import Float64Array

_EUROC_COLUMNS = (
    "#timestamp [ns],p_RS_R_x [m],p_RS_R_y [m],p_RS_R_z [m],q_RS_w [],q_RS_x [],q_RS_y [],q_RS_z []"
)


def write_trajectory(path: Path, stamps_ns: list[int], poses: Float64Array, form: str) -> None:
    """Write stamps [ns] and poses (N, 7), x, y, z, qx, qy, qz, qw, of the camera in the map.

    tum: ``t x y z qx qy qz qw``; kitti: the upper three rows of T_map_camera, without stamps; euroc: CSV with a
    line of names, ``t x y z qw qx qy qz``, t in nanoseconds.

    Raises:
        OutputError: there is no such form, or the file cannot be written.
    """
    write = _WRITERS.get(form)
    if write is None:
        msg = f"cannot write {path}: trajectory form '{form}'; expected {', '.join(_WRITERS)}"
        raise OutputError(msg)
    write(path, stamps_ns, poses)


def _write_kitti(path: Path, _stamps_ns: list[int], poses: Float64Array) -> None:
    T_map_camera = pose_matrix_xyzw(poses)
    with complete_file(path) as file:
        np.savetxt(file, T_map_camera[:, :3].reshape(-1, 12), fmt="%.12e")


def _write_euroc(path: Path, stamps_ns: list[int], poses: Float64Array) -> None:
    with complete_file(path) as file:
        file.write(f"{_EUROC_COLUMNS}\n".encode("ascii"))
        file.writelines(
            f"{stamp_ns},{','.join(f'{value:.9f}' for value in pose)}\n".encode("ascii")
            for stamp_ns, pose in zip(stamps_ns, poses[:, [0, 1, 2, 6, 3, 4, 5]], strict=True)
        )


_WRITERS: dict[str, Callable[[Path, list[int], Float64Array], None]] = {
    "tum": write_tum,
    "kitti": _write_kitti,
    "euroc": _write_euroc,
}
