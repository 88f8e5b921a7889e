# SPDX-License-Identifier: Apache-2.0
"""Obstacles seen from above."""

from __future__ import annotations

import time

import numpy as np
import pytest

from ttt3r_ros.errors import SourceError
from ttt3r_ros.pipeline.occupancy import Grid, OccupancyMap

EYE = np.array([0.025, 0.025, 1.0])
BAND = (0.0, 0.1, 1.5)  # floor, lowest, highest


def wall(x: float, low: float = 0.2, high: float = 1.4, half: float = 1.0) -> np.ndarray:
    y, z = np.meshgrid(np.arange(-half, half, 0.02), np.arange(low, high, 0.1))
    return np.stack((np.full(y.size, x), y.ravel(), z.ravel()), axis=1).astype(np.float32)


def value(grid: Grid | None, x: float, y: float) -> int:
    assert grid is not None
    column = int(np.floor((x - grid.origin_x) / grid.resolution + 1e-6))
    row = int(np.floor((y - grid.origin_y) / grid.resolution + 1e-6))
    inside = 0 <= row < grid.values.shape[0] and 0 <= column < grid.values.shape[1]
    return int(grid.values[row, column]) if inside else -1


def test_a_wall_is_occupied_the_way_to_it_free_and_what_lies_behind_unknown() -> None:
    grid_map = OccupancyMap(0.05, 20.0)
    grid_map.integrate(EYE, wall(2.0), *BAND)
    grid = grid_map.snapshot()
    assert [value(grid, x, 0.025) for x in (0.5, 1.5, 2.0, 2.5)] == [0, 0, 100, -1]
    assert value(grid, 0.5, 1.9) == -1


def test_nothing_seen_is_no_grid() -> None:
    assert OccupancyMap(0.05, 20.0).snapshot() is None


def test_an_object_that_leaves_is_cleared_by_the_rays_that_pass() -> None:
    grid_map = OccupancyMap(0.05, 20.0)
    for _ in range(3):
        grid_map.integrate(EYE, wall(1.0, half=0.3), *BAND)
    assert value(grid_map.snapshot(), 1.0, 0.025) == 100
    for _ in range(15):
        grid_map.integrate(EYE, wall(2.0), *BAND)
    assert value(grid_map.snapshot(), 1.0, 0.025) == 0


def test_rays_that_pass_over_a_table_do_not_clear_it() -> None:
    grid_map = OccupancyMap(0.05, 20.0)
    table = wall(1.0, low=0.3, high=0.6, half=0.3)
    for _ in range(5):
        grid_map.integrate(np.array([0.0, 0.0, 2.0]), table, *BAND)
    beyond = wall(3.0, low=2.0, high=2.4)  # seen well above the table, and above all obstacles
    for _ in range(20):
        grid_map.integrate(np.array([0.0, 0.0, 2.0]), beyond, *BAND)
    assert value(grid_map.snapshot(), 1.0, 0.025) == 100


def test_floor_that_is_seen_is_free() -> None:
    x, y = np.meshgrid(np.arange(0.5, 2.0, 0.02), np.arange(-0.5, 0.5, 0.02))
    floor = np.stack((x.ravel(), y.ravel(), np.zeros(x.size)), axis=1).astype(np.float32)
    grid_map = OccupancyMap(0.05, 20.0)
    grid_map.integrate(EYE, floor, *BAND)
    grid = grid_map.snapshot()
    assert value(grid, 1.5, 0.025) == 0
    assert grid is not None
    assert not (grid.values == 100).any()


def test_the_grid_grows_with_the_way_and_stays_bounded() -> None:
    grid_map = OccupancyMap(0.05, 6.0)
    for step in range(40):
        origin = EYE + [0.5 * step, 0.0, 0.0]
        grid_map.integrate(origin, wall(2.0 + 0.5 * step), *BAND)
    grid = grid_map.snapshot()
    assert grid is not None
    assert max(grid.values.shape) <= 120
    assert value(grid, 2.0 + 0.5 * 39, 0.025) == 100
    assert value(grid, 2.0, 0.025) == -1, "what is far behind is forgotten"


def test_it_goes_on_from_what_was_saved_and_refuses_what_is_damaged() -> None:
    first, second = OccupancyMap(0.05, 20.0), OccupancyMap(0.05, 20.0)
    first.integrate(EYE, wall(2.0), *BAND)
    second.restore(first.arrays())
    for grid_map in (first, second):
        grid_map.integrate(EYE, wall(1.5), *BAND)
    np.testing.assert_array_equal(first.arrays()["odds"], second.arrays()["odds"])
    with pytest.raises(SourceError, match="damaged"):
        second.restore(first.arrays() | {"odds": np.full((2, 2), np.nan, np.float32)})
    with pytest.raises(SourceError, match="resolution"):
        OccupancyMap(0.1, 20.0).restore(first.arrays())


def test_a_frame_costs_milliseconds() -> None:
    grid_map = OccupancyMap(0.05, 20.0)
    points = wall(4.0, half=2.0)[::2][:4000]
    grid_map.integrate(EYE, points, *BAND)
    times = []
    for _ in range(10):
        started = time.perf_counter()
        grid_map.integrate(EYE, points, *BAND)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.03
