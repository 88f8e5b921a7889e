# SPDX-License-Identifier: Apache-2.0
"""Occupancy grids as PGM and YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml
from PIL import Image

from ttt3r_ros.errors import OutputError
from ttt3r_ros.io.export.occupancy_grid import write_occupancy_grid
from ttt3r_ros.mapping.occupancy_grid import OccupancyGrid

if TYPE_CHECKING:
    from pathlib import Path


SMALL = OccupancyGrid(np.int8([[0, 100]]), 0.0, 0.0, 0.05)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


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


@pytest.mark.parametrize("blocked", ["map.pgm", "map.yaml"])
@pytest.mark.parametrize("existed", [False, True])
def test_image_and_yaml_are_both_replaced_or_none(tmp_path: Path, blocked: str, existed: bool) -> None:
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


def test_a_grid_replaces_the_former_files(tmp_path: Path) -> None:
    write_occupancy_grid(tmp_path / "map.pgm", OccupancyGrid(np.int8([[-1]]), 7.0, 7.0, 1.0))
    write_occupancy_grid(tmp_path / "map.pgm", SMALL)
    assert sorted(contents(tmp_path)) == ["map.pgm", "map.yaml"]
    assert yaml.safe_load((tmp_path / "map.yaml").read_text())["resolution"] == 0.05
    assert np.asarray(Image.open(tmp_path / "map.pgm")).tolist() == [[254, 0]]
