# SPDX-License-Identifier: Apache-2.0
"""Occupancy grids as PGM and YAML."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from map_server import FREE, UNKNOWN, load_map
from PIL import Image

from ttt3r_ros.errors import OutputError
from ttt3r_ros.io.export.occupancy_grid import write_occupancy_grid
from ttt3r_ros.mapping.occupancy_grid import OccupancyGrid, OccupancyMap

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
        "negate": 0, "occupied_thresh": 0.65, "free_thresh": 0.1,
    }  # fmt: skip


@given(
    st.lists(st.lists(st.sampled_from([-1, 0, 100]), min_size=3, max_size=3), min_size=1, max_size=5),
    st.tuples(st.integers(-(2**40), 2**40), st.integers(-(2**40), 2**40)),
    st.sampled_from([0.01, 0.05, 0.1, 10.0]),
    st.sampled_from(["map.pgm", "map: 1 #2.pgm", "Küche_🏠.pgm", '- "x\x27.pgm']),
)
def test_map_server_reads_the_cells_the_origin_and_the_resolution(
    rows: list[list[int]], corner: tuple[int, int], resolution: float, name: str
) -> None:
    grid = OccupancyGrid(np.int8(rows), corner[0] * resolution, corner[1] * resolution, resolution)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write_occupancy_grid(path, grid)
        for inclusive in (False, True):
            loaded = load_map(path.with_suffix(".yaml"), inclusive=inclusive)
            np.testing.assert_array_equal(loaded.values, grid.values)
            assert loaded.origin == (grid.origin_x, grid.origin_y, 0.0)
            assert loaded.resolution == resolution


def test_a_live_grid_is_read_with_its_orientation(tmp_path: Path) -> None:
    """A wall at y = +2 m and a floor in front of it; everything behind the wall is unknown."""
    grid = OccupancyMap(0.1, 20.0)
    x = np.arange(-1.0, 1.0, 0.05)
    wall = np.column_stack((x, np.full_like(x, 2.0), np.full_like(x, 0.5))).astype(np.float32)
    floor = np.column_stack((x, np.linspace(0.3, 1.7, len(x)), np.zeros_like(x))).astype(np.float32)
    for _ in range(5):
        grid.integrate(np.array([0.0, 0.0, 0.6]), np.concatenate((wall, floor)), 0.0, 0.1, 1.5)
    live = grid.to_grid()
    assert live is not None
    assert {-1, 0, 100} == set(np.unique(live.values).tolist())
    write_occupancy_grid(tmp_path / "map.pgm", live)
    loaded = load_map(tmp_path / "map.yaml")
    np.testing.assert_array_equal(loaded.values, live.values)
    row = int((2.05 - loaded.origin[1]) / loaded.resolution)
    column = int((0.05 - loaded.origin[0]) / loaded.resolution)
    assert loaded.values[row, column] == 100


def test_unknown_cells_are_free_in_no_mode_of_map_server(tmp_path: Path) -> None:
    write_occupancy_grid(tmp_path / "map.pgm", OccupancyGrid(np.int8([[-1, 0, 100]]), 0.0, 0.0, 0.05))
    for mode in ("trinary", "scale", "raw"):
        values = load_map(tmp_path / "map.yaml", mode).values
        assert values[0, 0] != FREE, mode
    assert load_map(tmp_path / "map.yaml", "scale").values.tolist() == [[17, 0, 100]]
    assert load_map(tmp_path / "map.yaml", "trinary").values[0, 0] == UNKNOWN


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
