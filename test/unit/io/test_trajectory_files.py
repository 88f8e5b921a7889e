# SPDX-License-Identifier: Apache-2.0
"""Trajectories in three forms, as the tools of others read them."""

from __future__ import annotations

import numpy as np
import pytest

from ttt3r_ros.errors import OutputError
from ttt3r_ros.geometry import pose_matrix, quat_xyzw_from_rotation, so3_exp
from ttt3r_ros.io.trajectory_files import write_trajectory

NOW_NS = 1_785_000_000_123_456_789
STAMPS_NS = [NOW_NS, NOW_NS + 33_333_333, NOW_NS + 66_666_667]


def poses() -> np.ndarray:
    rng = np.random.default_rng(0)
    turns = [quat_xyzw_from_rotation(so3_exp(v)) for v in rng.normal(size=(3, 3))]
    return np.hstack((rng.normal(size=(3, 3)), turns))


def matrices() -> np.ndarray:
    return pose_matrix(poses()[:, [0, 1, 2, 6, 3, 4, 5]])


@pytest.mark.parametrize("form", ["tum", "kitti", "euroc"])
def test_evo_reads_the_poses_that_were_written(tmp_path, form):
    file_interface = pytest.importorskip("evo.tools.file_interface")
    path = tmp_path / "trajectory"
    write_trajectory(path, STAMPS_NS, poses(), form)
    read = {
        "tum": file_interface.read_tum_trajectory_file,
        "kitti": file_interface.read_kitti_poses_file,
        "euroc": file_interface.read_euroc_csv_trajectory,
    }[form]
    trajectory = read(str(path))
    np.testing.assert_allclose(np.array(trajectory.poses_se3), matrices(), atol=1e-8)
    if form != "kitti":
        np.testing.assert_allclose(trajectory.timestamps, np.array(STAMPS_NS) * 1e-9, atol=1e-6)


def test_kitti_is_twelve_numbers_row_by_row(tmp_path):
    write_trajectory(tmp_path / "t.txt", STAMPS_NS, poses(), "kitti")
    np.testing.assert_allclose(
        np.loadtxt(tmp_path / "t.txt").reshape(-1, 3, 4), matrices()[:, :3], atol=1e-11
    )


def test_euroc_stamps_are_whole_nanoseconds_and_w_comes_first(tmp_path):
    write_trajectory(tmp_path / "t.csv", STAMPS_NS, poses(), "euroc")
    names, *lines = (tmp_path / "t.csv").read_text().splitlines()
    assert names.split(",")[:5] == [
        "#timestamp [ns]", "p_RS_R_x [m]", "p_RS_R_y [m]", "p_RS_R_z [m]", "q_RS_w []",
    ]  # fmt: skip
    assert [int(line.split(",")[0]) for line in lines] == STAMPS_NS
    assert float(lines[0].split(",")[4]) == pytest.approx(poses()[0, 6], abs=1e-9)


@pytest.mark.parametrize("form", ["tum", "kitti", "euroc"])
def test_a_trajectory_without_poses_has_no_line_of_them(tmp_path, form):
    write_trajectory(tmp_path / "t", [], np.empty((0, 7)), form)
    assert not [line for line in (tmp_path / "t").read_text().splitlines() if not line.startswith("#")]


def test_an_unknown_form_is_named_beside_the_known_ones(tmp_path):
    with pytest.raises(OutputError, match="'bvh'; expected tum, kitti, euroc"):
        write_trajectory(tmp_path / "t", STAMPS_NS, poses(), "bvh")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["tum", "kitti", "euroc"])
def test_without_room_the_trajectory_before_stays(little_room, form):
    path = little_room / "trajectory"
    write_trajectory(path, STAMPS_NS, poses(), form)
    before = path.read_bytes()
    with pytest.raises(OutputError, match=rf"cannot write {path}: (No space left|File too large)"):
        write_trajectory(path, STAMPS_NS * 2000, np.tile(poses(), (2000, 1)), form)
    assert path.read_bytes() == before
    assert list(little_room.iterdir()) == [path]
