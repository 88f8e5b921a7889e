# SPDX-License-Identifier: Apache-2.0
"""Results as files, whole or not at all."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ttt3r_ros.errors import OutputError
from ttt3r_ros.io.atomic import atomic_write
from ttt3r_ros.io.export.point_cloud import read_ply, write_ply
from ttt3r_ros.io.trajectory_files import read_tum, write_tum
from ttt3r_ros.mapping.voxel_map import PointCloud

if TYPE_CHECKING:
    from pathlib import Path

NOW_NS = 1_785_000_000_123_456_789


def cloud(count: int) -> PointCloud:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(count, 3)).astype(np.float32)
    return PointCloud(points, rng.integers(0, 256, size=(count, 3), dtype=np.uint8))


@pytest.mark.parametrize("count", [0, 1, 500])
def test_a_cloud_is_read_back_as_it_was_written(tmp_path: Path, count: int) -> None:
    written = cloud(count)
    write_ply(tmp_path / "map.ply", written)
    points, rgb = read_ply(tmp_path / "map.ply")
    np.testing.assert_array_equal(points, written.points)
    np.testing.assert_array_equal(rgb, written.rgb)
    assert (points.shape, rgb.shape) == ((count, 3), (count, 3))


def test_a_cloud_follows_the_ply_format_to_the_letter(tmp_path: Path) -> None:
    written = cloud(3)
    write_ply(tmp_path / "map.ply", written)
    header, _, body = (tmp_path / "map.ply").read_bytes().partition(b"end_header\n")
    lines = header.decode("ascii").splitlines()
    assert lines[:3] == ["ply", "format binary_little_endian 1.0", "element vertex 3"]
    codes = {"float": "f", "uchar": "B"}
    properties = [line.split()[1:] for line in lines[3:]]
    assert [name for _, name in properties] == ["x", "y", "z", "red", "green", "blue"]
    vertex = struct.Struct("<" + "".join(codes[kind] for kind, _ in properties))
    assert len(body) == 3 * vertex.size
    for row, (point, color) in zip(
        vertex.iter_unpack(body), zip(written.points, written.rgb, strict=True), strict=True
    ):
        assert row == (*point, *color)


def poses(count: int) -> np.ndarray:
    return np.column_stack(
        (np.arange(3 * count).reshape(-1, 3) / 7, np.tile([0.5, -0.5, 0.5, 0.5], (count, 1)))
    )


def test_stamps_of_today_are_exact_to_the_nanosecond(tmp_path: Path) -> None:
    stamps_ns = [NOW_NS, NOW_NS + 1, NOW_NS + 10**9, 5]
    write_tum(tmp_path / "trajectory.txt", stamps_ns, poses(4))
    lines = (tmp_path / "trajectory.txt").read_text().splitlines()
    assert lines[0].split()[0] == "1785000000.123456789"
    assert lines[3].split()[0] == "0.000000005"
    assert [stamp_ns for stamp_ns, _ in read_tum(tmp_path / "trajectory.txt")] == stamps_ns


def test_a_trajectory_is_position_then_quaternion_with_w_last(tmp_path: Path) -> None:
    write_tum(tmp_path / "trajectory.txt", [NOW_NS, NOW_NS + 1], poses(2))
    table = np.loadtxt(tmp_path / "trajectory.txt")
    np.testing.assert_allclose(table[:, 1:], poses(2), atol=1e-9)
    T = read_tum(tmp_path / "trajectory.txt")[1][1]
    np.testing.assert_allclose(T[:3, 3], poses(2)[1, :3], atol=1e-9)
    np.testing.assert_allclose(T[:3, :3] @ (1, 0, 0), [0, 0, 1], atol=1e-9)


def test_an_empty_trajectory_is_an_empty_file(tmp_path: Path) -> None:
    write_tum(tmp_path / "trajectory.txt", [], np.empty((0, 7)))
    assert (tmp_path / "trajectory.txt").read_bytes() == b""


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_ply(tmp_path / "a" / "b" / "map.ply", cloud(1))
    assert len(read_ply(tmp_path / "a" / "b" / "map.ply")[0]) == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "occupied").write_text("a file, not a folder")
    path = tmp_path / "occupied" / "map.ply"
    with pytest.raises(OutputError, match=rf"cannot write {path}: .*(exists|directory)"):
        write_ply(path, cloud(1))


def test_a_folder_in_place_of_the_file_is_named_and_nothing_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "map.ply").mkdir()
    with pytest.raises(OutputError, match=rf"cannot write {tmp_path / 'map.ply'}: "):
        write_ply(tmp_path / "map.ply", cloud(1))
    assert [path.name for path in tmp_path.iterdir()] == ["map.ply"]


@pytest.mark.parametrize(
    ("error", "seen"), [(KeyboardInterrupt, KeyboardInterrupt), (OSError, OutputError)]
)
def test_a_writer_that_fails_midway_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException], seen: type[BaseException]
) -> None:
    path = tmp_path / "map.ply"
    path.write_bytes(b"the last good one")

    def write() -> None:
        with atomic_write(path) as file:
            file.write(b"half of")
            raise error

    with pytest.raises(seen):
        write()
    assert path.read_bytes() == b"the last good one"
    assert list(tmp_path.iterdir()) == [path]


def test_stamps_and_poses_of_different_number_write_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="zip"):
        write_tum(tmp_path / "trajectory.txt", [1], poses(2))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_until_it_is_complete_a_file_does_not_carry_its_name(
    tmp_path: Path, umask: int, mode: int
) -> None:
    path = tmp_path / "map.ply"
    before = os.umask(umask)
    try:
        with atomic_write(path) as file:
            file.write(b"content")
            assert not path.exists()
    finally:
        os.umask(before)
    assert path.read_bytes() == b"content"
    assert path.stat().st_mode & 0o777 == mode
