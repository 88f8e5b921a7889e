# SPDX-License-Identifier: Apache-2.0
"""Occupancy grid: marking, clearing, layers, growth and saving."""

from __future__ import annotations

import time

import numpy as np
import pytest

from ttt3r_ros.errors import SourceError
from ttt3r_ros.mapping.occupancy_grid import OccupancyGrid, OccupancyMap

CAMERA = np.array([0.025, 0.025, 1.0])
HEIGHTS = (0.0, 0.1, 1.5)  # floor_z, min_height, max_height


def wall(x: float, low: float = 0.2, high: float = 1.4, half: float = 1.0) -> np.ndarray:
    y, z = np.meshgrid(np.arange(-half, half, 0.02), np.arange(low, high, 0.1))
    return np.stack((np.full(y.size, x), y.ravel(), z.ravel()), axis=1).astype(np.float32)


def value(grid: OccupancyGrid | None, x: float, y: float) -> int:
    assert grid is not None
    column = int(np.floor((x - grid.origin_x) / grid.resolution + 1e-6))
    row = int(np.floor((y - grid.origin_y) / grid.resolution + 1e-6))
    inside = 0 <= row < grid.values.shape[0] and 0 <= column < grid.values.shape[1]
    return int(grid.values[row, column]) if inside else -1


def test_a_wall_is_occupied_free_in_front_and_unknown_behind() -> None:
    grid_map = OccupancyMap(0.05, 20.0)
    grid_map.integrate(CAMERA, wall(2.0), *HEIGHTS)
    grid = grid_map.to_grid()
    assert [value(grid, x, 0.025) for x in (0.5, 1.5, 2.0, 2.5)] == [0, 0, 100, -1]
    assert value(grid, 0.5, 1.9) == -1


def test_there_is_no_grid_before_the_first_observation() -> None:
    assert OccupancyMap(0.05, 20.0).to_grid() is None


def floor(first: float = 0.5, last: float = 2.0, half: float = 0.5) -> np.ndarray:
    x, y = np.meshgrid(np.arange(first, last, 0.02), np.arange(-half, half, 0.02))
    return np.stack((x.ravel(), y.ravel(), np.zeros(x.size)), axis=1).astype(np.float32)


def test_rays_clear_an_object_that_has_moved_away() -> None:
    grid_map = OccupancyMap(0.05, 20.0)
    for _ in range(3):
        grid_map.integrate(CAMERA, wall(1.0, half=0.3), *HEIGHTS)
    assert value(grid_map.to_grid(), 1.0, 0.025) == 100
    for _ in range(30):
        grid_map.integrate(CAMERA, np.concatenate((wall(2.0), floor())), *HEIGHTS)
    assert value(grid_map.to_grid(), 1.0, 0.025) == 0


def test_rays_that_pass_over_a_table_do_not_clear_it() -> None:
    grid_map = OccupancyMap(0.05, 20.0)
    table = wall(1.0, low=0.3, high=0.6, half=0.3)
    for _ in range(5):
        grid_map.integrate(np.array([0.0, 0.0, 2.0]), table, *HEIGHTS)
    beyond = wall(3.0, low=2.0, high=2.4)  # rays well above the table and all obstacles
    for _ in range(20):
        grid_map.integrate(np.array([0.0, 0.0, 2.0]), beyond, *HEIGHTS)
    assert value(grid_map.to_grid(), 1.0, 0.025) == 100


@pytest.mark.parametrize(("low", "high"), [(0.2, 0.5), (1.3, 1.45)])
def test_rays_over_or_under_an_obstacle_do_not_clear_it(low: float, high: float) -> None:
    grid_map = OccupancyMap(0.05, 20.0)
    for _ in range(3):
        grid_map.integrate(CAMERA, wall(1.0, low, high, half=0.3), *HEIGHTS)
    for _ in range(40):
        grid_map.integrate(CAMERA, wall(2.0, 0.8, 1.2), *HEIGHTS)  # rays pass x = 1 m at 0.9 to 1.1 m
    assert value(grid_map.to_grid(), 1.0, 0.025) == 100
    assert value(grid_map.to_grid(), 0.5, 0.025) == 0


def test_rays_at_the_height_of_an_obstacle_clear_it() -> None:
    grid_map = OccupancyMap(0.05, 20.0)
    for _ in range(3):
        grid_map.integrate(CAMERA, wall(1.0, 0.9, 1.1, half=0.3), *HEIGHTS)
    for _ in range(20):
        grid_map.integrate(CAMERA, wall(2.0, 0.7, 1.4), *HEIGHTS)
    assert value(grid_map.to_grid(), 1.0, 0.025) == 0


def test_a_downward_camera_clears_obstacles_below_it() -> None:
    grid_map = OccupancyMap(0.05, 20.0)
    x, y = (side.ravel() for side in np.meshgrid(*[np.arange(-0.2, 0.2, 0.01)] * 2))
    above = np.array([0.0, 0.0, 3.0])
    for _ in range(3):
        grid_map.integrate(above, np.stack((x, y, np.full(x.size, 0.7)), 1).astype(np.float32), *HEIGHTS)
    assert value(grid_map.to_grid(), 0.025, 0.025) == 100
    for _ in range(20):
        grid_map.integrate(above, np.stack((x, y, np.zeros(x.size)), 1).astype(np.float32), *HEIGHTS)
    assert value(grid_map.to_grid(), 0.025, 0.025) == 0


def test_a_change_of_heights_preserves_observations_within_them() -> None:
    grid_map = OccupancyMap(0.05, 20.0)
    grid_map.integrate(CAMERA, wall(1.0, 0.3, 0.5), *HEIGHTS)
    grid_map.integrate(CAMERA, wall(2.0, 1.2, 1.4, half=0.05), 0.0, 0.2, 3.0)
    assert value(grid_map.to_grid(), 1.0, 0.525) == 100
    grid_map.integrate(CAMERA, wall(2.0, 1.2, 1.4, half=0.05), 0.0, 1.0, 1.5)
    assert value(grid_map.to_grid(), 1.0, 0.525) != 100, "below the obstacle heights"
    assert value(grid_map.to_grid(), 2.0, 0.025) == 100


def test_points_that_are_not_finite_or_too_far_change_nothing() -> None:
    clean, dirty = OccupancyMap(0.05, 20.0), OccupancyMap(0.05, 20.0)
    points = wall(2.0)[:700]  # few enough that every ray is cast in both
    bad = np.full((30, 3), 1.0, np.float32)
    bad[np.arange(30), np.arange(30) % 3] = np.repeat(np.float32([np.nan, np.inf, -np.inf]), 10)
    for grid_map, observed in ((clean, points), (dirty, np.concatenate((bad[:15], points, bad[15:])))):
        grid_map.integrate(CAMERA, observed, *HEIGHTS)
    for name, array in clean.state_dict().items():
        np.testing.assert_array_equal(dirty.state_dict()[name], array)
    version = dirty.version
    dirty.integrate(CAMERA, bad, *HEIGHTS)
    assert dirty.version == version
    dirty.integrate(
        CAMERA, np.float32([[1e30, 0.0, 1.0], [0.0, -3e38, 3e38], [-1e30, 1e30, -1e30]]), *HEIGHTS
    )
    assert value(dirty.to_grid(), 2.0, 0.025) == 100


def test_cells_equal_those_of_rays_sampled_one_by_one() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform((-2, -2, 0.0), (2, 2, 1.4), (300, 3)).astype(np.float32)
    grid_map = OccupancyMap(0.05, 20.0)
    grid_map.integrate(CAMERA, points, *HEIGHTS)
    hit = {
        tuple(cell)
        for cell in np.floor(points[points[:, 2] >= 0.1, :2].astype(float) / 0.05).astype(int)
    }
    crossed = set(hit)
    for point in points.astype(float):
        offset = point - CAMERA
        end = 1.0 if point[2] < 0.1 else 1.0 - 0.05 / np.hypot(*offset[:2])
        samples = CAMERA + np.linspace(0.0, max(end, 0.0), 2000)[:, None] * offset
        samples = samples[(samples[:, 2] >= 0.1) | (point[2] < 0.1)]
        crossed |= {tuple(cell) for cell in np.floor(samples[:, :2] / 0.05).astype(int)}
    grid = grid_map.to_grid()
    assert grid is not None
    corner = np.round(np.array([grid.origin_y, grid.origin_x]) / 0.05).astype(int)
    known = {(x, y) for y, x in (np.argwhere(grid.values >= 0) + corner).tolist()}
    assert {(x, y) for y, x in (np.argwhere(grid.values == 100) + corner).tolist()} == hit
    assert known <= crossed
    assert len(known) > 0.7 * len(crossed), "samples one cell apart miss some corners"


def test_observed_floor_is_free() -> None:
    grid_map = OccupancyMap(0.05, 20.0)
    grid_map.integrate(CAMERA, floor(), *HEIGHTS)
    grid = grid_map.to_grid()
    assert value(grid, 1.5, 0.025) == 0
    assert grid is not None
    assert not (grid.values == 100).any()


def test_the_grid_follows_the_camera_within_its_maximum_size() -> None:
    grid_map = OccupancyMap(0.05, 6.0)
    for step in range(40):
        origin = CAMERA + [0.5 * step, 0.0, 0.0]
        grid_map.integrate(origin, wall(2.0 + 0.5 * step), *HEIGHTS)
    grid = grid_map.to_grid()
    assert grid is not None
    assert max(grid.values.shape) <= 120
    assert value(grid, 2.0 + 0.5 * 39, 0.025) == 100
    assert value(grid, 2.0, 0.025) == -1, "dropped"


def test_a_loaded_grid_continues_to_the_last_bit() -> None:
    first, second = OccupancyMap(0.05, 20.0), OccupancyMap(0.05, 20.0)
    first.integrate(CAMERA, wall(2.0), *HEIGHTS)
    second.load_state_dict(first.state_dict())
    for grid_map in (first, second):
        grid_map.integrate(CAMERA, wall(1.5), *HEIGHTS)
    for name, array in first.state_dict().items():
        np.testing.assert_array_equal(second.state_dict()[name], array)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("log_odds", np.zeros((2, 2), np.float32)),
        ("log_odds", np.full((8, 2, 2), 41, np.int8)),
        ("corner", np.zeros(3, np.int64)),
        ("corner", np.full(2, 2**60)),
        ("heights", np.array([1.0, np.nan])),
        ("heights", np.array([1.0, 0.0])),
        ("frame_count", np.array(-1)),
        ("resolution", np.array(0.1)),
    ],
)
def test_invalid_arrays_are_named_and_change_nothing(name: str, other: np.ndarray) -> None:
    grid_map = OccupancyMap(0.05, 20.0)
    grid_map.integrate(CAMERA, wall(2.0), *HEIGHTS)
    before = grid_map.state_dict()
    with pytest.raises(SourceError, match=name):
        grid_map.load_state_dict(before | {name: other})
    for key, array in before.items():
        np.testing.assert_array_equal(grid_map.state_dict()[key], array)


def test_missing_arrays_are_named() -> None:
    arrays = OccupancyMap(0.05, 20.0).state_dict()
    for name in arrays:
        with pytest.raises(SourceError, match=name):
            OccupancyMap(0.05, 20.0).load_state_dict(
                {key: array for key, array in arrays.items() if key != name}
            )


@pytest.mark.parametrize(("resolution", "max_size"), [(10.0, 1.0), (0.5, 1.0), (0.05, 1.0)])
def test_the_smallest_grids_accept_points_anywhere(resolution: float, max_size: float) -> None:
    grid_map = OccupancyMap(resolution, max_size)
    rng = np.random.default_rng(0)
    for step in range(30):
        origin = CAMERA + [3.7 * step, -1.3 * step, 0.0]
        points = origin + rng.uniform((-9, -9, -1), (9, 9, 1), (500, 3))
        grid_map.integrate(origin, points.astype(np.float32), *HEIGHTS)
    grid = grid_map.to_grid()
    assert grid is not None
    assert max(grid.values.shape) <= max(8, max_size / resolution)


def test_a_frame_updates_only_the_observed_part_of_a_large_grid() -> None:
    grid_map = OccupancyMap(0.05, 100.0)
    for x in range(0, 40, 2):
        grid_map.integrate(CAMERA + [x, 0, 0], wall(x + 2.0), *HEIGHTS)
    log_odds = grid_map._log_odds
    before = log_odds.copy()
    grid_map.integrate(CAMERA, wall(2.0), *HEIGHTS)
    assert grid_map._log_odds is log_odds, "updated in place"
    changed = np.argwhere((log_odds != before).any(axis=(0, 1)))
    assert changed.max() - changed.min() < 45, "out of more than 800 columns"


@pytest.mark.timing
def test_a_frame_takes_milliseconds() -> None:
    grid_map = OccupancyMap(0.05, 20.0)
    points = wall(4.0, half=2.0)[::2][:4000]
    grid_map.integrate(CAMERA, points, *HEIGHTS)
    times = []
    for _ in range(10):
        started = time.perf_counter()
        grid_map.integrate(CAMERA, points, *HEIGHTS)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.015, "measured: 1.5 ms"
