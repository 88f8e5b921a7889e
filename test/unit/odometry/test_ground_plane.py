# SPDX-License-Identifier: Apache-2.0
"""Fit of the floor below a camera."""

from __future__ import annotations

import time

import numpy as np
import pytest

from ttt3r_ros.geometry import so3_exp
from ttt3r_ros.odometry.ground_plane import fit_floor

UP = np.array([0.0, -1.0, 0.0])  # of a level optical camera
RNG = np.random.default_rng(3)


def plane(height: float, x=(-2.0, 2.0), z=(1.0, 5.0), count: int = 2000) -> np.ndarray:
    """Points of a level plane below an optical camera (y points down)."""
    return np.stack((RNG.uniform(*x, count), np.full(count, height), RNG.uniform(*z, count)), axis=1)


def wall(z: float = 5.0, count: int = 1500) -> np.ndarray:
    return np.stack(
        (RNG.uniform(-2, 2, count), RNG.uniform(-1.5, 1.0, count), np.full(count, z)), axis=1
    )


def noisy(*parts: np.ndarray, noise: float = 0.02) -> np.ndarray:
    points = np.concatenate(parts)
    return (points * (1 + noise * RNG.standard_normal((len(points), 1)))).astype(np.float32)


@pytest.mark.parametrize("tilt_deg", [0.0, 10.0, -20.0])
def test_height_and_tilt_of_a_floor_are_found_in_a_room(tilt_deg: float) -> None:
    R = so3_exp(np.radians([tilt_deg, 0.0, 0.3 * tilt_deg]))
    points = noisy(plane(1.2), wall()) @ R.T.astype(np.float32)
    floor = fit_floor(points, UP)
    assert floor is not None
    assert floor.height == pytest.approx(1.2, rel=0.05)
    assert np.degrees(np.arccos(min(1.0, floor.normal @ R @ UP))) < 1.5


def test_the_floor_below_a_table_is_found() -> None:
    table = plane(0.6, x=(-0.8, 0.8), z=(1.0, 2.0), count=2500)
    floor = fit_floor(noisy(table, plane(1.3), wall()), UP)
    assert floor is not None
    assert floor.height == pytest.approx(1.3, rel=0.05)


@pytest.mark.parametrize(
    "points",
    [wall(), plane(-1.0), np.zeros((5, 3)), np.full((500, 3), np.nan)],
    ids=["wall", "ceiling", "few", "nan"],
)
def test_without_a_floor_the_fit_returns_none(points: np.ndarray) -> None:
    assert fit_floor(noisy(points), UP) is None


def test_the_same_points_give_the_same_floor() -> None:
    points = noisy(plane(1.2), wall())
    first, second = fit_floor(points, UP), fit_floor(points, UP)
    assert first is not None
    assert second is not None
    assert first.height == second.height


def render_room(
    height: float | None, pitch_deg: float, noise: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the points of an 80x56 camera in a room 4 m deep and wide, and the up direction (3,)."""
    rng = np.random.default_rng(seed)
    u, v = np.meshgrid((np.arange(80) - 39.5) / 70, (np.arange(56) - 27.5) / 70)
    rays = np.stack((u, v, np.ones_like(u)), axis=-1).reshape(-1, 3)
    R = so3_exp(np.radians([pitch_deg, 0.0, rng.uniform(-5.0, 5.0)]))
    x, y, z = (rays @ R.T).T
    with np.errstate(divide="ignore"):
        depth = np.minimum(4.0 / np.maximum(z, 1e-9), 2.0 / np.abs(x))
        if height is not None:
            depth = np.minimum(depth, height / np.maximum(y, 1e-9))
    depth *= 1 + noise * rng.standard_normal(len(depth))
    return (rays * depth[:, None]).astype(np.float32), R.T @ UP


@pytest.mark.parametrize("seed", range(10))
def test_tilt_is_recovered_to_a_degree_in_noise_of_three_percent(seed: int) -> None:
    points, up = render_room(1.2, -20.0, 0.03, seed)
    floor = fit_floor(points, UP)
    assert floor is not None
    assert np.degrees(np.arccos(min(1.0, floor.normal @ up))) < 1.0
    assert floor.height == pytest.approx(1.2, rel=0.05)


@pytest.mark.parametrize("noise", [0.01, 0.03, 0.05])
@pytest.mark.parametrize("seed", range(10))
def test_noisy_walls_are_no_floor(noise: float, seed: int) -> None:
    assert fit_floor(render_room(None, -10.0, noise, seed)[0], UP) is None


@pytest.mark.timing
def test_a_floor_takes_milliseconds() -> None:
    points, _ = render_room(1.2, -20.0, 0.03, 0)
    spent = []
    for _ in range(10):
        start = time.perf_counter()
        fit_floor(points, UP)
        spent.append(time.perf_counter() - start)
    assert min(spent) < 0.03, "measured: 4 ms"
