# SPDX-License-Identifier: Apache-2.0
"""Feature tracker on textures of waves that are moved by exact distances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from ttt3r_ros.odometry.feature_tracker import (
    MAX_CELL_FILL,
    MIN_DISTANCE_DIVISOR,
    detect_corners,
    to_gray,
    track,
)

if TYPE_CHECKING:
    from ttt3r_ros.types import UInt8Array

HEIGHT, WIDTH = 120, 160
APART_PX = WIDTH // MIN_DISTANCE_DIVISOR
NONE = np.empty((0, 2), np.float32)


def texture(shift: tuple[float, float] = (0.0, 0.0), seed: int = 0) -> UInt8Array:
    """Return a smooth random texture, moved to the right and down by a shift [px]."""
    rng = np.random.default_rng(seed)
    v, u = np.mgrid[:HEIGHT, :WIDTH] - np.reshape(shift[::-1], (2, 1, 1))
    light = np.zeros((HEIGHT, WIDTH))
    for length_px in np.geomspace(8.0, 200.0, 80):  # coarse and fine
        bearing, phase = rng.uniform(0.0, 2.0 * np.pi, 2)
        across = np.cos(bearing) * u + np.sin(bearing) * v
        light += np.sqrt(length_px) * np.cos(2.0 * np.pi / length_px * across + phase)
    return np.clip(128.0 + light, 0, 255).round().astype(np.uint8)


def within(pixels: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """Return which pixels (N, 2) lie in a box: left, top, right, bottom."""
    return np.asarray(((pixels >= box[:2]) & (pixels <= box[2:])).all(axis=1))


IMAGE = (0.0, 0.0, WIDTH - 1.0, HEIGHT - 1.0)
WELL_INSIDE = (8.0, 8.0, WIDTH - 9.0, HEIGHT - 9.0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shift", [(0.25, 0.5), (3.3, -1.7), (-11.6, 7.4), (25.3, 0.6)])
def test_corners_are_tracked_to_a_tenth_of_a_pixel(shift: tuple[float, float], seed: int) -> None:
    before, image = texture(seed=seed), texture(shift, seed)
    pixels = detect_corners(before, NONE, 250)
    tracked, found = track(before, image, pixels)
    assert tracked.dtype == np.float32
    inside = within(pixels + shift, WELL_INSIDE)
    error_px = np.linalg.norm(tracked - pixels - shift, axis=1)[inside & found]
    # Measured: 0.08 px at most, 0.017 in the median; 80 % found after 25 px, all of them after 4.
    assert error_px.max() < 0.15
    assert np.median(error_px) < 0.03
    assert found[inside].mean() > (0.95 if np.hypot(*shift) < 5.0 else 0.6)


def test_corners_of_an_equal_image_do_not_move() -> None:
    before = texture()
    pixels = detect_corners(before, NONE, 250)
    tracked, found = track(before, before.copy(), pixels)
    np.testing.assert_allclose(tracked, pixels, atol=1e-3)
    assert found.all()


@pytest.mark.parametrize("shift", [(20.3, 0.0), (-20.3, 0.0), (0.0, 20.3), (0.0, -20.3)])
def test_points_that_leave_the_image_are_lost(shift: tuple[float, float]) -> None:
    before, image = texture(), texture(shift)
    pixels = detect_corners(before, NONE, 250)
    tracked, found = track(before, image, pixels)
    gone = ~within(pixels + shift, IMAGE)
    assert gone.sum() > 20
    assert found[gone].mean() < 0.05, "measured: none"
    assert within(tracked[found], IMAGE).all()


def test_points_that_leave_the_image_by_less_than_a_pixel_are_lost() -> None:
    rows = np.arange(10.0, HEIGHT - 10.0, 4.0)
    last_column = np.column_stack((np.full(len(rows), WIDTH - 1.0), rows)).astype(np.float32)
    leaving, staying = (
        track(texture(), texture((shift_px, 0.0)), last_column)[1] for shift_px in (0.6, -0.6)
    )
    assert not leaving.any(), "found beyond the border, all of them"
    assert staying.mean() > 0.8, "measured: all"


@pytest.mark.parametrize("cover", ["flat", "textured"])
@pytest.mark.parametrize("seed", range(3))
def test_occluded_points_are_lost_and_others_are_tracked(cover: str, seed: int) -> None:
    shift = (3.3, -1.7)
    before, image = texture(seed=seed), texture(shift, seed)
    image[40:90, 50:110] = 128 if cover == "flat" else texture(seed=99)[40:90, 50:110]
    pixels = detect_corners(before, NONE, 250)
    tracked, found = track(before, image, pixels)
    covered = within(pixels + shift, (52.0, 42.0, 107.0, 87.0))
    assert covered.sum() > 20
    assert found[covered].mean() < 0.12, "measured: 2 of 35, which resemble a neighbor"
    clear = within(pixels + shift, WELL_INSIDE) & ~within(pixels + shift, (40.0, 30.0, 120.0, 100.0))
    assert found[clear].mean() > 0.5, "measured: 0.69 to 0.98"
    assert np.linalg.norm(tracked - pixels - shift, axis=1)[clear & found].max() < 0.15


def test_no_point_is_found_in_an_unrelated_or_blank_image() -> None:
    before = texture()
    pixels = detect_corners(before, NONE, 250)
    for image in (np.full_like(before, 90), texture(seed=7)):
        assert track(before, image, pixels)[1].mean() < 0.1
    assert not track(before, np.full_like(before, 90), pixels)[1].any()


def test_no_points_are_tracked_to_no_points() -> None:
    tracked, found = track(texture(), texture((1.0, 0.0)), NONE)
    assert tracked.shape == (0, 2)
    assert found.shape == (0,)
    assert found.dtype == bool


def nearest(pixels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the distance of each pixel (N, 2) from the nearest of others (M, 2)."""
    distance: np.ndarray = np.linalg.norm(pixels[:, None] - others[None], axis=2).min(axis=1)
    return distance


def test_new_corners_have_a_distance_from_known_ones_and_each_other() -> None:
    image = texture()
    known = detect_corners(image, NONE, 250)[::2] + np.float32(0.3)  # as tracked: between pixels
    new = detect_corners(image, known, 250)
    assert len(new) > 20
    assert within(new, IMAGE).all()
    assert nearest(new, known).min() > APART_PX - 0.5
    each_other = np.linalg.norm(new[:, None] - new[None], axis=2) + np.diag(np.full(len(new), np.inf))
    assert each_other.min() >= APART_PX


def test_no_more_corners_are_detected_than_requested() -> None:
    found = detect_corners(texture(), NONE, 40)
    assert 0 < len(found) <= 40
    assert found.dtype == np.float32


def test_a_textured_part_of_the_image_does_not_get_all_corners() -> None:
    image = cv2.GaussianBlur(texture(), (0, 0), 3.0)
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT // 3, WIDTH // 4), dtype=np.uint8)
    image[: HEIGHT // 3, : WIDTH // 4] = noise  # two rows and two columns of cells
    found = detect_corners(image, NONE, 240)
    inside = ((found < (WIDTH // 4, HEIGHT // 3)).all(axis=1)).sum()
    assert inside <= 4 * MAX_CELL_FILL * 240 / 48


def test_an_image_full_of_known_corners_gets_no_new_ones() -> None:
    everywhere = np.stack(np.meshgrid(np.arange(0, WIDTH, 4), np.arange(0, HEIGHT, 4)), axis=-1)
    new = detect_corners(texture(), everywhere.reshape(-1, 2).astype(np.float32), 250)
    assert new.shape == (0, 2)


def test_known_points_may_lie_at_or_beyond_the_border() -> None:
    known = np.array([[0.0, 0.0], [WIDTH - 1.0, HEIGHT - 1.0], [-30.0, 400.0]], np.float32)
    assert nearest(detect_corners(texture(), known, 250), known).min() > APART_PX - 0.5


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_blank_image_has_no_corners(value: int) -> None:
    new = detect_corners(np.full((HEIGHT, WIDTH), value, np.uint8), NONE, 250)
    assert new.shape == (0, 2)
    assert new.dtype == np.float32


def test_gray_levels_are_computed_from_red_green_and_blue_in_this_order() -> None:
    colors = np.eye(3, dtype=np.uint8)[None] * 255
    np.testing.assert_allclose(to_gray(colors), [[76, 150, 29]], atol=1)
