# SPDX-License-Identifier: Apache-2.0
"""Depth between the pixels of the network's image and those of the source image."""

from __future__ import annotations

import numpy as np
import pytest

from ttt3r_ros.images.depth_resampling import (
    interpolate_at_source,
    resize_to_source,
    sample_at_network,
    sample_nearest_at_network,
)
from ttt3r_ros.types import ImageGeometry

HALVED = ImageGeometry(32, 16, 16, 8, 4, 0, 8, 8)  # half the size, 4 columns cut off on both sides
CROPPED = ImageGeometry(640, 480, 80, 60, 0, 2, 80, 56)  # four rows of the resized image are cut off
WHOLE = ImageGeometry(64, 48, 16, 12, 0, 0, 16, 12)


def coordinates(geometry: ImageGeometry) -> tuple[np.ndarray, np.ndarray]:
    """Return the position x, y of each source pixel (H, W) in the network's image."""
    sx, sy = geometry.scale
    u, v = np.meshgrid(np.arange(geometry.source_width), np.arange(geometry.source_height))
    return (u + 0.5) * sx - 0.5 - geometry.left, (v + 0.5) * sy - 0.5 - geometry.top


def slope(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (3.0 + 0.02 * x + 0.03 * y).astype(np.float32)


def network_grid(geometry: ImageGeometry) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.meshgrid(np.arange(geometry.width), np.arange(geometry.height)))


@pytest.mark.parametrize(
    "geometry",
    [
        CROPPED,
        WHOLE,
        ImageGeometry(480, 640, 60, 80, 2, 0, 56, 80),
        ImageGeometry(37, 23, 80, 50, 3, 1, 70, 48),  # a source smaller than the network's image
    ],
)
def test_a_slope_is_interpolated_at_the_centers_of_source_pixels(
    geometry: ImageGeometry,
) -> None:
    resized = resize_to_source(slope(*network_grid(geometry)), geometry)
    x, y = coordinates(geometry)
    assert resized.shape == (geometry.source_height, geometry.source_width)
    assert resized.dtype == np.float32
    between = (x >= 0) & (x <= geometry.width - 1) & (y >= 0) & (y <= geometry.height - 1)
    np.testing.assert_allclose(resized[between], slope(x, y)[between], rtol=1e-5)


def test_depth_is_nan_outside_the_crop() -> None:
    resized = resize_to_source(np.full((56, 80), 2.0, np.float32), CROPPED)
    assert np.isnan(resized[:16]).all()
    assert np.isnan(resized[-16:]).all()
    np.testing.assert_array_equal(resized[16:-16], 2.0)


def test_an_edge_has_no_points_between_the_surfaces() -> None:
    x, y = network_grid(WHOLE)
    depth = np.where(x + 0.5 * y < 9, 1.0, 3.0).astype(np.float32)
    resized = resize_to_source(depth, WHOLE)
    assert set(np.unique(resized)) == {1.0, 3.0}
    u, v = (
        np.rint(np.clip(at, 0, top)).astype(int)
        for at, top in zip(coordinates(WHOLE), (15, 11), strict=True)
    )
    np.testing.assert_array_equal(resized, depth[v, u])


def test_surfaces_next_to_an_edge_are_interpolated() -> None:
    x, y = network_grid(WHOLE)
    depth = slope(x, y) + np.where(x < 8, 0.0, 5.0).astype(np.float32)
    resized, (x, _) = resize_to_source(depth, WHOLE), coordinates(WHOLE)
    row = resized[24, (x[24] > 1) & (x[24] < 6)]
    assert (np.diff(row) > 0).all()


@pytest.mark.parametrize("hole", [np.nan, np.inf, -1.0, 0.0])
def test_a_hole_keeps_its_size(hole: float) -> None:
    depth = np.full((12, 16), 2.0, np.float32)
    depth[5, 7] = hole
    resized = resize_to_source(depth, WHOLE)
    expected = np.full((48, 64), 2.0, np.float32)
    expected[20:24, 28:32] = hole
    np.testing.assert_array_equal(resized, expected)


def test_an_image_of_one_row_is_resized() -> None:
    geometry = ImageGeometry(8, 4, 4, 1, 0, 0, 4, 1)
    resized = resize_to_source(np.array([[1.0, 1.0, 3.0, 3.0]], np.float32), geometry)
    np.testing.assert_array_equal(resized, [[1.0] * 4 + [3.0] * 4] * 4)


def test_interpolated_depth_is_at_the_source_pixels_and_nan_outside_the_crop() -> None:
    """Source pixel u is at (u + 0.5) / 2 - 4.5 in the network's image."""
    ramp = np.tile(np.arange(8, dtype=np.float32), (8, 1))
    found = interpolate_at_source(ramp, HALVED, (16, 32))
    assert np.isnan(found[:, :8]).all()
    assert np.isnan(found[:, 24:]).all()
    u = np.arange(9, 23)
    assert found[5, u] == pytest.approx((u + 0.5) / 2 - 4.5)


def test_depth_is_interpolated_at_another_size_than_the_source_image_has() -> None:
    small = interpolate_at_source(np.full((12, 16), 2.0, np.float32), WHOLE, (24, 32))
    np.testing.assert_array_equal(small, np.full((24, 32), 2.0))


def test_source_depth_is_sampled_at_the_centers_of_network_pixels() -> None:
    """The center of network pixel u is between source pixels 2 (u + 4) and 2 (u + 4) + 1."""
    ramp = np.tile(np.arange(32, dtype=np.float32), (16, 1))
    np.testing.assert_array_equal(sample_at_network(ramp, HALVED), [2.0 * np.arange(4, 12) + 1] * 8)
    even = sample_nearest_at_network(ramp, HALVED)
    np.testing.assert_array_equal(even, [2.0 * np.arange(4, 12)] * 8)


def test_source_depth_of_another_size_than_the_image_is_sampled() -> None:
    ramp = np.tile(np.arange(96, dtype=np.float32), (48, 1))  # three times the size of the image
    expected = [6.0 * np.arange(4, 12) + 3] * 8
    np.testing.assert_array_equal(sample_at_network(ramp, HALVED), expected)
