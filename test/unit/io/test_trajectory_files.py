# SPDX-License-Identifier: Apache-2.0
"""Trajectories in three formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ttt3r_ros.errors import OutputError, SourceError
from ttt3r_ros.geometry import pose_matrix, quat_xyzw_from_rotation, so3_exp
from ttt3r_ros.io.text_stamps import parse_seconds_ns
from ttt3r_ros.io.trajectory_files import read_tum, write_trajectory, write_tum

NOW_NS = 1_785_000_000_123_456_789


STAMPS_NS = [NOW_NS, NOW_NS + 33_333_333, NOW_NS + 66_666_667]


def poses() -> np.ndarray:
    rng = np.random.default_rng(0)
    turns = [quat_xyzw_from_rotation(so3_exp(v)) for v in rng.normal(size=(3, 3))]
    return np.hstack((rng.normal(size=(3, 3)), turns))


def matrices() -> np.ndarray:
    return pose_matrix(poses()[:, [0, 1, 2, 6, 3, 4, 5]])


@pytest.mark.parametrize("form", ["tum", "kitti", "euroc"])
def test_evo_reads_the_written_poses(tmp_path, form):
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


def test_current_stamps_are_exact_to_the_nanosecond(tmp_path: Path) -> None:
    stamps_ns = [NOW_NS, NOW_NS + 1, 5]
    write_tum(tmp_path / "trajectory.txt", stamps_ns, poses())
    lines = (tmp_path / "trajectory.txt").read_text().splitlines()
    assert lines[0].split()[0] == "1785000000.123456789"
    assert lines[2].split()[0] == "0.000000005"
    assert [stamp_ns for stamp_ns, _ in read_tum(tmp_path / "trajectory.txt")] == stamps_ns


def test_a_tum_row_is_position_then_quaternion_with_w_last(tmp_path: Path) -> None:
    write_tum(tmp_path / "trajectory.txt", STAMPS_NS, poses())
    np.testing.assert_allclose(np.loadtxt(tmp_path / "trajectory.txt")[:, 1:], poses(), atol=1e-9)
    read = np.array([T for _, T in read_tum(tmp_path / "trajectory.txt")])
    np.testing.assert_allclose(read, matrices(), atol=1e-8)


def test_a_kitti_row_has_the_upper_three_rows_of_the_pose(tmp_path):
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
def test_a_trajectory_without_poses_has_no_rows(tmp_path, form):
    write_trajectory(tmp_path / "t", [], np.empty((0, 7)), form)
    assert not [line for line in (tmp_path / "t").read_text().splitlines() if not line.startswith("#")]


def test_the_error_of_an_unknown_format_lists_the_known_ones(tmp_path):
    with pytest.raises(OutputError, match="'bvh'; expected tum, kitti, euroc"):
        write_trajectory(tmp_path / "t", STAMPS_NS, poses(), "bvh")
    assert not list(tmp_path.iterdir())


def test_different_numbers_of_stamps_and_poses_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="zip"):
        write_tum(tmp_path / "trajectory.txt", [1], poses())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["tum", "kitti", "euroc"])
def test_a_full_disk_keeps_the_former_trajectory(little_room, form):
    path = little_room / "trajectory"
    write_trajectory(path, STAMPS_NS, poses(), form)
    before = path.read_bytes()
    with pytest.raises(OutputError, match=rf"cannot write {path}: (No space left|File too large)"):
        write_trajectory(path, STAMPS_NS * 2000, np.tile(poses(), (2000, 1)), form)
    assert path.read_bytes() == before
    assert list(little_room.iterdir()) == [path]


def test_the_error_of_a_malformed_row_has_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "groundtruth.txt"
    lines = [
        "1.0 2 3", "1.0 0 0 0 0 0 0", "now 0 0 0 0 0 0 1", "1.0 0 0 zero 0 0 0 1", "1.0 0 0 0 0 0 0 0",
    ]  # fmt: skip
    for line in lines:
        path.write_text(f"# header\n1785000000.123456789 0 0 1.5 0 0 0 1\n{line}\n")
        with pytest.raises(SourceError, match=rf"{path}:3: .*'({line}|now)'"):
            read_tum(path)


def test_stamps_in_seconds_are_read_to_the_nanosecond() -> None:
    expected = {
        "12": 12 * 10**9,
        "12.5": 12_500_000_000,
        "1785000000.1234567891": 1785000000123456789,
        "1.2e1": 12 * 10**9,
        "0": 0,
        ".5": 500_000_000,
    }
    assert {text: parse_seconds_ns(Path("t.txt"), 1, text) for text in expected} == expected


def test_a_missing_trajectory_file_has_no_poses(tmp_path: Path) -> None:
    assert read_tum(tmp_path / "absent.txt") == []
