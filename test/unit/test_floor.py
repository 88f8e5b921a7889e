# SPDX-License-Identifier: Apache-2.0
"""The floor under a camera."""

from __future__ import annotations

import numpy as np
import pytest

from ttt3r_ros.geometry import rotation_from_vector
from ttt3r_ros.pipeline.floor import fit_floor

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
    R = rotation_from_vector(np.radians([tilt_deg, 0.0, 0.3 * tilt_deg]))
    points = noisy(plane(1.2), wall()) @ R.T.astype(np.float32)
    floor = fit_floor(points, UP)
    assert floor is not None
    assert floor.height == pytest.approx(1.2, rel=0.05)
    assert np.degrees(np.arccos(min(1.0, floor.normal @ R @ UP))) < 1.5


def test_a_table_does_not_win_against_the_floor_beneath() -> None:
    table = plane(0.6, x=(-0.8, 0.8), z=(1.0, 2.0), count=2500)
    floor = fit_floor(noisy(table, plane(1.3), wall()), UP)
    assert floor is not None
    assert floor.height == pytest.approx(1.3, rel=0.05)


@pytest.mark.parametrize(
    "points",
    [wall(), plane(-1.0), np.zeros((5, 3)), np.full((500, 3), np.nan)],
    ids=["wall", "ceiling", "few", "nan"],
)
def test_where_there_is_no_floor_none_is_found(points: np.ndarray) -> None:
    assert fit_floor(noisy(points), UP) is None


def test_the_same_points_give_the_same_floor() -> None:
    points = noisy(plane(1.2), wall())
    first, second = fit_floor(points, UP), fit_floor(points, UP)
    assert first is not None
    assert second is not None
    assert first.height == second.height
