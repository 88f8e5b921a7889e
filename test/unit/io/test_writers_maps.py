# SPDX-License-Identifier: Apache-2.0
"""Maps for other tools: PCD for PCL, PGM and YAML for Nav2."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml
from PIL import Image

from ttt3r_ros.errors import OutputError
from ttt3r_ros.io.atomic import atomic_write_together
from ttt3r_ros.io.export.occupancy_grid import write_occupancy_grid
from ttt3r_ros.io.export.point_cloud import write_pcd
from ttt3r_ros.mapping.occupancy_grid import OccupancyGrid
from ttt3r_ros.mapping.voxel_map import PointCloud

if TYPE_CHECKING:
    from pathlib import Path


def test_a_pcd_has_points_and_colors_as_pcl_packs_them(tmp_path: Path) -> None:
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
    write_occupancy_grid(tmp_path / "map.pgm", OccupancyGrid(values, -1.5, 2.0, 0.05))
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


SMALL = OccupancyGrid(np.int8([[0, 100]]), 0.0, 0.0, 0.05)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("blocked", ["map.pgm", "map.yaml"])
@pytest.mark.parametrize("existed", [False, True])
def test_of_image_and_description_both_are_replaced_or_neither(
    tmp_path: Path, blocked: str, existed: bool
) -> None:
    before = {
        name: b"the last good one" for name in ("map.pgm", "map.yaml") if existed and name != blocked
    }
    for name, content in before.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / blocked).mkdir()
    with pytest.raises(OutputError, match=r"cannot write .*map\.pgm and .*map\.yaml: "):
        write_occupancy_grid(tmp_path / "map.pgm", SMALL)
    assert contents(tmp_path) == before
    assert len(list(tmp_path.iterdir())) == len(before) + 1, "nothing is left behind"


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_failure_in_the_second_file_leaves_the_first_as_it_was(
    tmp_path: Path, error: type[BaseException]
) -> None:
    (tmp_path / "a").write_bytes(b"the last good one")

    def write() -> None:
        with atomic_write_together(tmp_path / "a", tmp_path / "b") as (first, second):
            first.write(b"whole")
            second.write(b"half of")
            raise error

    with pytest.raises((OutputError, KeyboardInterrupt)):
        write()
    assert contents(tmp_path) == {"a": b"the last good one"}


def test_a_grid_replaces_the_one_before(tmp_path: Path) -> None:
    write_occupancy_grid(tmp_path / "map.pgm", OccupancyGrid(np.int8([[-1]]), 7.0, 7.0, 1.0))
    write_occupancy_grid(tmp_path / "map.pgm", SMALL)
    assert sorted(contents(tmp_path)) == ["map.pgm", "map.yaml"]
    assert yaml.safe_load((tmp_path / "map.yaml").read_text())["resolution"] == 0.05
    assert np.asarray(Image.open(tmp_path / "map.pgm")).tolist() == [[254, 0]]
