# SPDX-License-Identifier: Apache-2.0
"""Obstacles seen from above."""

from __future__ import annotations

import time

import numpy as np
import pytest

from ttt3r_ros.errors import SourceError
from ttt3r_ros.mapping.occupancy_grid import OccupancyGrid, OccupancyMap

EYE = np.array([0.025, 0.025, 1.0])
BAND = (0.0, 0.1, 1.5)  # floor, lowest, highest


def wall(x: float, low: float = 0.2, high: float = 1.4, half: float = 1.0) -> np.ndarray:
    y, z = np.meshgrid(np.arange(-half, half, 0.02), np.arange(low, high, 0.1))
    return np.stack((np.full(y.size, x), y.ravel(), z.ravel()), axis=1).astype(np.float32)


def value(grid: OccupancyGrid | None, x: float, y: float) -> int:
    assert grid is not None
    column = int(np.floor((x - grid.origin_x) / grid.resolution + 1e-6))
    row = int(np.floor((y - grid.origin_y) / grid.resolution + 1e-6))
    inside = 0 <= row < grid.values.shape[0] and 0 <= column < grid.values.shape[1]
    return int(grid.values[row, column]) if inside else -1


def test_a_wall_is_occupied_the_way_to_it_free_and_what_lies_behind_unknown() -> None:
    grid_map = OccupancyMap(0.05, 20.0)
    grid_map.integrate(EYE, wall(2.0), *BAND)
    grid = grid_map.to_grid()
    assert [value(grid, x, 0.025) for x in (0.5, 1.5, 2.0, 2.5)] == [0, 0, 100, -1]
    assert value(grid, 0.5, 1.9) == -1


def test_nothing_seen_is_no_grid() -> None:
    assert OccupancyMap(0.05, 20.0).to_grid() is None


def floor(first: float = 0.5, last: float = 2.0, half: float = 0.5) -> np.ndarray:
    x, y = np.meshgrid(np.arange(first, last, 0.02), np.arange(-half, half, 0.02))
    return np.stack((x.ravel(), y.ravel(), np.zeros(x.size)), axis=1).astype(np.float32)


def test_an_object_that_leaves_is_cleared_by_the_rays_that_pass() -> None:
    grid_map = OccupancyMap(0.05, 20.0)
    for _ in range(3):
        grid_map.integrate(EYE, wall(1.0, half=0.3), *BAND)
    assert value(grid_map.to_grid(), 1.0, 0.025) == 100
    for _ in range(30):
        grid_map.integrate(EYE, np.concatenate((wall(2.0), floor())), *BAND)
    assert value(grid_map.to_grid(), 1.0, 0.025) == 0


def test_rays_that_pass_over_a_table_do_not_clear_it() -> None:
    grid_map = OccupancyMap(0.05, 20.0)
    table = wall(1.0, low=0.3, high=0.6, half=0.3)
    for _ in range(5):
        grid_map.integrate(np.array([0.0, 0.0, 2.0]), table, *BAND)
    beyond = wall(3.0, low=2.0, high=2.4)  # seen well above the table, and above all obstacles
    for _ in range(20):
        grid_map.integrate(np.array([0.0, 0.0, 2.0]), beyond, *BAND)
    assert value(grid_map.to_grid(), 1.0, 0.025) == 100


@pytest.mark.parametrize(("low", "high"), [(0.2, 0.5), (1.3, 1.45)])
def test_an_obstacle_stays_while_rays_pass_over_or_under_it_among_the_heights(
    low: float, high: float
) -> None:
    grid_map = OccupancyMap(0.05, 20.0)
    for _ in range(3):
        grid_map.integrate(EYE, wall(1.0, low, high, half=0.3), *BAND)
    for _ in range(40):
        grid_map.integrate(EYE, wall(2.0, 0.8, 1.2), *BAND)  # at 1 m these pass at 0.9 to 1.1 m
    assert value(grid_map.to_grid(), 1.0, 0.025) == 100
    assert value(grid_map.to_grid(), 0.5, 0.025) == 0


def test_an_obstacle_goes_when_rays_pass_at_its_own_height() -> None:
    grid_map = OccupancyMap(0.05, 20.0)
    for _ in range(3):
        grid_map.integrate(EYE, wall(1.0, 0.9, 1.1, half=0.3), *BAND)
    for _ in range(20):
        grid_map.integrate(EYE, wall(2.0, 0.7, 1.4), *BAND)
    assert value(grid_map.to_grid(), 1.0, 0.025) == 0


def test_a_camera_that_looks_straight_down_clears_what_stood_below_it() -> None:
    grid_map = OccupancyMap(0.05, 20.0)
    x, y = (side.ravel() for side in np.meshgrid(*[np.arange(-0.2, 0.2, 0.01)] * 2))
    above = np.array([0.0, 0.0, 3.0])
    for _ in range(3):
        grid_map.integrate(above, np.stack((x, y, np.full(x.size, 0.7)), 1).astype(np.float32), *BAND)
    assert value(grid_map.to_grid(), 0.025, 0.025) == 100
    for _ in range(20):
        grid_map.integrate(above, np.stack((x, y, np.zeros(x.size)), 1).astype(np.float32), *BAND)
    assert value(grid_map.to_grid(), 0.025, 0.025) == 0


def test_other_heights_keep_what_was_seen_at_them() -> None:
    grid_map = OccupancyMap(0.05, 20.0)
    grid_map.integrate(EYE, wall(1.0, 0.3, 0.5), *BAND)
    grid_map.integrate(EYE, wall(2.0, 1.2, 1.4, half=0.05), 0.0, 0.2, 3.0)
    assert value(grid_map.to_grid(), 1.0, 0.525) == 100
    grid_map.integrate(EYE, wall(2.0, 1.2, 1.4, half=0.05), 0.0, 1.0, 1.5)
    assert value(grid_map.to_grid(), 1.0, 0.525) != 100, "too low now to be an obstacle"
    assert value(grid_map.to_grid(), 2.0, 0.025) == 100


def test_points_that_are_not_finite_or_absurdly_far_change_nothing() -> None:
    clean, dirty = OccupancyMap(0.05, 20.0), OccupancyMap(0.05, 20.0)
    points = wall(2.0)[:700]  # so few that every ray clears in both
    bad = np.full((30, 3), 1.0, np.float32)
    bad[np.arange(30), np.arange(30) % 3] = np.repeat(np.float32([np.nan, np.inf, -np.inf]), 10)
    for grid_map, seen in ((clean, points), (dirty, np.concatenate((bad[:15], points, bad[15:])))):
        grid_map.integrate(EYE, seen, *BAND)
    for name, array in clean.state_dict().items():
        np.testing.assert_array_equal(dirty.state_dict()[name], array)
    version = dirty.version
    dirty.integrate(EYE, bad, *BAND)
    assert dirty.version == version
    dirty.integrate(EYE, np.float32([[1e30, 0.0, 1.0], [0.0, -3e38, 3e38], [-1e30, 1e30, -1e30]]), *BAND)
    assert value(dirty.to_grid(), 2.0, 0.025) == 100


def test_every_cell_agrees_with_rays_walked_one_by_one() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform((-2, -2, 0.0), (2, 2, 1.4), (300, 3)).astype(np.float32)
    grid_map = OccupancyMap(0.05, 20.0)
    grid_map.integrate(EYE, points, *BAND)
    hit = {
        tuple(cell)
        for cell in np.floor(points[points[:, 2] >= 0.1, :2].astype(float) / 0.05).astype(int)
    }
    crossed = set(hit)
    for point in points.astype(float):
        way = point - EYE
        end = 1.0 if point[2] < 0.1 else 1.0 - 0.05 / np.hypot(*way[:2])
        at = EYE + np.linspace(0.0, max(end, 0.0), 2000)[:, None] * way
        at = at[(at[:, 2] >= 0.1) | (point[2] < 0.1)]
        crossed |= {tuple(cell) for cell in np.floor(at[:, :2] / 0.05).astype(int)}
    grid = grid_map.to_grid()
    assert grid is not None
    corner = np.round(np.array([grid.origin_y, grid.origin_x]) / 0.05).astype(int)
    known = {(x, y) for y, x in (np.argwhere(grid.values >= 0) + corner).tolist()}
    assert {(x, y) for y, x in (np.argwhere(grid.values == 100) + corner).tolist()} == hit
    assert known <= crossed
    assert len(known) > 0.7 * len(crossed), "steps of a cell pass by the corners of some"


def test_floor_that_is_seen_is_free() -> None:
    grid_map = OccupancyMap(0.05, 20.0)
    grid_map.integrate(EYE, floor(), *BAND)
    grid = grid_map.to_grid()
    assert value(grid, 1.5, 0.025) == 0
    assert grid is not None
    assert not (grid.values == 100).any()


def test_the_grid_grows_with_the_way_and_stays_bounded() -> None:
    grid_map = OccupancyMap(0.05, 6.0)
    for step in range(40):
        origin = EYE + [0.5 * step, 0.0, 0.0]
        grid_map.integrate(origin, wall(2.0 + 0.5 * step), *BAND)
    grid = grid_map.to_grid()
    assert grid is not None
    assert max(grid.values.shape) <= 120
    assert value(grid, 2.0 + 0.5 * 39, 0.025) == 100
    assert value(grid, 2.0, 0.025) == -1, "what is far behind is forgotten"


def test_it_goes_on_from_what_was_saved_and_refuses_what_is_damaged() -> None:
    first, second = OccupancyMap(0.05, 20.0), OccupancyMap(0.05, 20.0)
    first.integrate(EYE, wall(2.0), *BAND)
    second.load_state_dict(first.state_dict())
    for grid_map in (first, second):
        grid_map.integrate(EYE, wall(1.5), *BAND)
    for name, array in first.state_dict().items():
        np.testing.assert_array_equal(second.state_dict()[name], array)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("odds", np.zeros((2, 2), np.float32)),
        ("odds", np.full((8, 2, 2), 41, np.int8)),
        ("corner", np.zeros(3, np.int64)),
        ("corner", np.full(2, 2**60)),
        ("heights", np.array([1.0, np.nan])),
        ("heights", np.array([1.0, 0.0])),
        ("turn", np.array(-1)),
        ("resolution", np.array(0.1)),
    ],
)
def test_damaged_arrays_are_named_and_change_nothing(name: str, other: np.ndarray) -> None:
    grid_map = OccupancyMap(0.05, 20.0)
    grid_map.integrate(EYE, wall(2.0), *BAND)
    before = grid_map.state_dict()
    with pytest.raises(SourceError, match=f"saved map: .*{name}"):
        grid_map.load_state_dict(before | {name: other})
    for key, array in before.items():
        np.testing.assert_array_equal(grid_map.state_dict()[key], array)


@pytest.mark.parametrize("name", sorted(OccupancyMap(0.05, 20.0).state_dict()))
def test_a_missing_array_is_named(name: str) -> None:
    arrays = OccupancyMap(0.05, 20.0).state_dict()
    del arrays[name]
    with pytest.raises(SourceError, match=f"{name} is missing"):
        OccupancyMap(0.05, 20.0).load_state_dict(arrays)
    with pytest.raises(SourceError, match="is missing"):
        OccupancyMap(0.05, 20.0).load_state_dict({})


@pytest.mark.parametrize(("resolution", "max_size"), [(10.0, 1.0), (0.5, 1.0), (0.05, 1.0)])
def test_the_smallest_grids_take_points_from_anywhere(resolution: float, max_size: float) -> None:
    grid_map = OccupancyMap(resolution, max_size)
    rng = np.random.default_rng(0)
    for step in range(30):
        origin = EYE + [3.7 * step, -1.3 * step, 0.0]
        points = origin + rng.uniform((-9, -9, -1), (9, 9, 1), (500, 3))
        grid_map.integrate(origin, points.astype(np.float32), *BAND)
    grid = grid_map.to_grid()
    assert grid is not None
    assert max(grid.values.shape) <= max(8, max_size / resolution)


def test_a_frame_touches_only_what_it_sees_however_large_the_grid() -> None:
    grid_map = OccupancyMap(0.05, 100.0)
    for x in range(0, 40, 2):
        grid_map.integrate(EYE + [x, 0, 0], wall(x + 2.0), *BAND)
    odds = grid_map._odds
    before = odds.copy()
    grid_map.integrate(EYE, wall(2.0), *BAND)
    assert grid_map._odds is odds, "not copied"
    changed = np.argwhere((odds != before).any(axis=(0, 1)))
    assert changed.max() - changed.min() < 45, "of more than 800 columns"


@pytest.mark.timing
def test_a_frame_costs_milliseconds() -> None:
    grid_map = OccupancyMap(0.05, 20.0)
    points = wall(4.0, half=2.0)[::2][:4000]
    grid_map.integrate(EYE, points, *BAND)
    times = []
    for _ in range(10):
        started = time.perf_counter()
        grid_map.integrate(EYE, points, *BAND)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.015, "measured: 1.5 ms; generous, for machines are busy"
