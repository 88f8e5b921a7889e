# SPDX-License-Identifier: Apache-2.0
"""Point clouds as PLY and PCD."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.export.point_cloud import read_ply, write_pcd, write_ply
from ttt3r_ros.mapping.voxel_map import PointCloud

if TYPE_CHECKING:
    from pathlib import Path


def cloud(count: int) -> PointCloud:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(count, 3)).astype(np.float32)
    return PointCloud(points, rng.integers(0, 256, size=(count, 3), dtype=np.uint8))


def test_a_written_ply_is_read_back_bit_by_bit(tmp_path: Path) -> None:
    for count in (0, 1, 500):
        written = cloud(count)
        write_ply(tmp_path / "map.ply", written)
        points, rgb = read_ply(tmp_path / "map.ply")
        np.testing.assert_array_equal(points, written.points)
        np.testing.assert_array_equal(rgb, written.rgb)
        assert (points.shape, rgb.shape) == ((count, 3), (count, 3))


def test_the_error_of_a_malformed_ply_has_the_found_and_the_expected_value(tmp_path: Path) -> None:
    path = tmp_path / "map.ply"
    write_ply(path, cloud(3))
    valid = path.read_bytes()
    malformed = [
        (b"", "'ply'", "''"),
        (b"solid cube\n", "'ply'", "'solid cube'"),
        (b"\xff" * 1000, "'ply'", "\ufffd" * 80),
        (b"ply\r\n" + valid[4:], "'ply'", r"'ply\r'"),
        (valid.replace(b"binary_little_endian", b"ascii"), "binary_little_endian", "'format ascii 1.0'"),
        (valid.replace(b"vertex 3", b"vertex many"), "'element vertex N'", "'element vertex many'"),
        (valid.replace(b"vertex 3", b"vertex -3"), "'element vertex N'", "'element vertex -3'"),
        (
            valid.replace(b"vertex 3", b"vertex " + b"9" * 5000),
            "'element vertex N'",
            "'element vertex 999",
        ),
        (valid.replace(b"vertex 3", b"vertex " + b"9" * 18), str(15 * (10**18 - 1)), "45"),
        (valid.replace(b"element vertex 3\n", b""), "'element vertex N'", "'property float x'"),
        (valid.replace(b"float y", b"double y"), "'property float y'", "'property double y'"),
        (
            valid.replace(b"uchar blue\n", b"uchar blue\nproperty uchar alpha\n"),
            "'end_header'",
            "alpha'",
        ),
        (valid[: valid.index(b"property uchar blue")], "'property uchar blue'", "''"),
        (valid[:-1], "45 bytes for 3 vertices", "44"),
        (valid + b"\n", "45 bytes for 3 vertices", "46"),
    ]
    for content, expected, found in malformed:
        path.write_bytes(content)
        with pytest.raises(SourceError) as caught:
            read_ply(path)
        message = str(caught.value)
        assert message.startswith(f"{path}:")
        assert expected in message.split(", found ", maxsplit=1)[0], message
        assert found in message.split(", found ")[1], message


def test_a_ply_that_cannot_be_read_is_an_error_with_its_path(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.ply", tmp_path):
        with pytest.raises(SourceError, match=str(path)):
            read_ply(path)


def test_a_ply_has_the_header_and_records_of_the_format(tmp_path: Path) -> None:
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


def test_a_pcd_has_points_and_packed_colors(tmp_path: Path) -> None:
    cloud = PointCloud(
        np.float32([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), np.uint8([[10, 20, 30], [255, 0, 1]])
    )
    write_pcd(tmp_path / "map.pcd", cloud)
    header, data = (tmp_path / "map.pcd").read_bytes().split(b"DATA binary\n")
    fields = dict(
        line.split(" ", 1) for line in header.decode().splitlines() if not line.startswith("#")
    )
    assert (fields["FIELDS"], fields["POINTS"], fields["WIDTH"]) == ("x y z rgb", "2", "2")
    x, y, z, rgb = struct.unpack("<fffI", data[16:32])
    assert (x, y, z) == (4.0, 5.0, 6.0)
    assert (rgb >> 16 & 255, rgb >> 8 & 255, rgb & 255) == (255, 0, 1)
    assert len(data) == 32


def test_an_empty_cloud_is_a_valid_pcd(tmp_path: Path) -> None:
    write_pcd(tmp_path / "map.pcd", PointCloud(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8)))
    assert b"POINTS 0" in (tmp_path / "map.pcd").read_bytes()
