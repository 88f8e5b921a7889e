# SPDX-License-Identifier: Apache-2.0
"""Maps for other tools: PCD for PCL, PGM and YAML for Nav2."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import yaml
from PIL import Image

from ttt3r_ros.io.writers import write_occupancy, write_pcd
from ttt3r_ros.pipeline.occupancy import Grid
from ttt3r_ros.pipeline.voxel_map import PointCloud

if TYPE_CHECKING:
    from pathlib import Path


def test_a_pcd_has_points_and_colours_as_pcl_packs_them(tmp_path: Path) -> None:
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


def test_a_grid_is_written_as_map_saver_does(tmp_path: Path) -> None:
    values = np.int8([[0, 100], [-1, 0], [100, 100]])  # the lowest y first
    write_occupancy(tmp_path / "map.pgm", Grid(values, -1.5, 2.0, 0.05))
    shades = np.asarray(Image.open(tmp_path / "map.pgm"))
    assert shades.tolist() == [[0, 0], [205, 254], [254, 0]]
    described = yaml.safe_load((tmp_path / "map.yaml").read_text())
    assert described == {
        "image": "map.pgm", "mode": "trinary", "resolution": 0.05, "origin": [-1.5, 2.0, 0.0],
        "negate": 0, "occupied_thresh": 0.65, "free_thresh": 0.25,
    }  # fmt: skip


def test_an_empty_cloud_is_a_whole_file(tmp_path: Path) -> None:
    write_pcd(tmp_path / "map.pcd", PointCloud(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8)))
    assert b"POINTS 0" in (tmp_path / "map.pcd").read_bytes()
