# SPDX-License-Identifier: Apache-2.0
"""Intrinsics under resizing and cropping."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttt3r_ros.types import ImageGeometry, Intrinsics

sizes = st.integers(16, 4000)


@st.composite
def geometries(draw: st.DrawFn) -> ImageGeometry:
    resized_width, resized_height = draw(sizes), draw(sizes)
    left, top = draw(st.integers(0, resized_width - 1)), draw(st.integers(0, resized_height - 1))
    width = draw(st.integers(1, resized_width - left))
    height = draw(st.integers(1, resized_height - top))
    return ImageGeometry(
        draw(sizes), draw(sizes), resized_width, resized_height, left, top, width, height
    )


focals = st.floats(1.0, 5000.0)
centers = st.floats(-100.0, 5000.0)


@given(geometries(), focals, focals, centers, centers)
def test_to_source_is_the_inverse_of_to_network(
    geometry: ImageGeometry, fx: float, fy: float, cx: float, cy: float
) -> None:
    source = Intrinsics(
        fx, fy, cx, cy, geometry.source_width, geometry.source_height, "plumb_bob", (0.1, -0.2)
    )
    network = geometry.to_network(source)
    assert (network.width, network.height) == (geometry.width, geometry.height)
    again = geometry.to_source(network)
    for name in ("fx", "fy", "cx", "cy"):
        assert getattr(again, name) == pytest.approx(getattr(source, name), rel=1e-9, abs=1e-6)
    assert (again.width, again.height) == (source.width, source.height)
    assert (again.distortion_model, again.distortion) == ("plumb_bob", (0.1, -0.2))


@given(geometries(), focals, centers)
def test_calibration_at_twice_the_size_of_the_image_gives_the_same_network_camera(
    geometry: ImageGeometry, f: float, c: float
) -> None:
    width, height = geometry.source_width, geometry.source_height
    single = geometry.to_network(Intrinsics(f, f, c, c, width, height))
    double = geometry.to_network(
        Intrinsics(2 * f, 2 * f, 2 * c + 0.5, 2 * c + 0.5, 2 * width, 2 * height)
    )
    for name in ("fx", "fy", "cx", "cy"):
        assert getattr(double, name) == pytest.approx(getattr(single, name), rel=1e-9, abs=1e-6)


def blob(u: float, v: float, width: int, height: int) -> np.ndarray:
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    spot: np.ndarray = np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 6.0**2))
    return spot


def centroid(picture: np.ndarray) -> tuple[float, float]:
    y, x = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]]
    return float((x * picture).sum() / picture.sum()), float((y * picture).sum() / picture.sum())


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_a_spot_lands_at_the_transformed_principal_point_after_averaging_blocks_and_cropping(
    factor: int,
) -> None:
    width, height, left, top = 144, 120, 3, 5
    u, v = 70.25, 61.5
    small = (
        blob(u, v, width, height)
        .reshape(height // factor, factor, width // factor, factor)
        .mean(axis=(1, 3))[top:, left:]
    )
    geometry = ImageGeometry(
        width, height, width // factor, height // factor, left, top, small.shape[1], small.shape[0]
    )
    network = geometry.to_network(Intrinsics(100.0, 100.0, u, v, width, height))
    assert centroid(small) == pytest.approx((network.cx, network.cy), abs=2e-3)
    assert network.fx == pytest.approx(100.0 / factor)


def test_a_camera_matrix_projects_a_point_to_its_pixel() -> None:
    K = Intrinsics(100.0, 50.0, 31.5, 23.5, 64, 48).matrix()
    u, v, w = K @ (0.2, -0.1, 2.0)
    assert (u / w, v / w) == pytest.approx((31.5 + 10.0, 23.5 - 2.5))
