# SPDX-License-Identifier: Apache-2.0
"""Rectification of distorted images and depth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from ttt3r_ros.errors import ConfigError
from ttt3r_ros.images import rectification
from ttt3r_ros.images.rectification import Rectifier, rectify_depth
from ttt3r_ros.types import Intrinsics

WIDTH, HEIGHT = 640, 480
PINHOLE = Intrinsics(460.0, 455.0, 325.3, 236.8, WIDTH, HEIGHT)
CAMERAS = {
    "plumb_bob": replace(
        PINHOLE, distortion_model="plumb_bob", distortion=(-0.28, 0.07, 0.0002, -0.0005, 0.0)
    ),
    "pincushion": replace(PINHOLE, distortion_model="plumb_bob", distortion=(0.15, 0.05, 0.0, 0.0, 0.0)),
    "rational_polynomial": replace(
        PINHOLE,
        distortion_model="rational_polynomial",
        distortion=(0.4, -0.2, 0.0003, -0.0002, 0.02, 0.7, -0.1, 0.01),
    ),
    "thin_prism": replace(
        PINHOLE,
        distortion_model="rational_polynomial",
        distortion=(0.4, -0.2, 0.0003, -0.0002, 0.02, 0.7, -0.1, 0.01, 0.002, 0.001, -0.002, 0.001),
    ),
    "tilted": replace(
        PINHOLE,
        distortion_model="rational_polynomial",
        distortion=(
            *(0.4, -0.2, 0.0003, -0.0002, 0.02, 0.7, -0.1, 0.01),
            *(0.002, 0.001, -0.002, 0.001, 0.02, -0.01),
        ),
    ),
    "equidistant": replace(
        PINHOLE,
        fx=290.0,
        fy=289.0,
        distortion_model="equidistant",
        distortion=(-0.007, 0.04, -0.04, 0.008),
    ),
}
each_camera = pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS)


def project_to_lens(points: np.ndarray, camera: Intrinsics) -> np.ndarray:
    """Return the distorted pixels (n, 2) of points (n, 3)."""
    none, K, coefficients = np.zeros(3), camera.matrix(), np.array(camera.distortion)
    if camera.distortion_model == "equidistant":
        return cv2.fisheye.projectPoints(points[:, None], none, none, K, coefficients)[0].reshape(-1, 2)
    return cv2.projectPoints(points, none, none, K, coefficients)[0].reshape(-1, 2)


def project_to_pinhole(points: np.ndarray, camera: Intrinsics) -> np.ndarray:
    homogeneous = points @ camera.matrix().T
    return homogeneous[:, :2] / homogeneous[:, 2:]


def blobs(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return an RGB image with a round blob about each sub-pixel position (n, 2)."""
    u, v = np.arange(width), np.arange(height)
    gray = sum(
        np.exp(-0.5 * ((v - y) / 2.0) ** 2)[:, None] * np.exp(-0.5 * ((u - x) / 2.0) ** 2)
        for x, y in pixels
    )
    return np.repeat((250.0 * gray + 0.5).astype(np.uint8)[..., None], 3, axis=2)


def blob_near(rgb: np.ndarray, pixel: np.ndarray) -> np.ndarray:
    """Return the center of mass (2,) of the blob near a pixel."""
    left, top = np.rint(pixel).astype(int) - 9
    patch = rgb[top : top + 19, left : left + 19, 0].astype(float)
    v, u = np.mgrid[top : top + 19, left : left + 19]
    return np.array([(u * patch).sum(), (v * patch).sum()]) / patch.sum()


def visible_points(pinhole: Intrinsics) -> np.ndarray:
    """Return points (n, 3) all over the view of a camera, at several depths."""
    u, v = np.meshgrid(np.linspace(30, pinhole.width - 30, 8), np.linspace(30, pinhole.height - 30, 6))
    rays = np.stack(
        ((u - pinhole.cx) / pinhole.fx, (v - pinhole.cy) / pinhole.fy, np.ones_like(u)), axis=-1
    )
    return rays.reshape(-1, 3) * np.linspace(1.0, 5.0, u.size)[:, None]


def worst_error_px(calibrated: Intrinsics, camera: Intrinsics) -> float:
    """Rectify an image of points by a calibration; ``camera`` is the same at the size of the image."""
    rectifier = Rectifier(calibrated)
    _, pinhole = rectifier.rectify(np.zeros((camera.height, camera.width, 3), np.uint8))
    points = visible_points(pinhole)
    rgb, _ = rectifier.rectify(blobs(project_to_lens(points, camera), camera.width, camera.height))
    expected = project_to_pinhole(points, pinhole)
    found = np.array([blob_near(rgb, pixel) for pixel in expected])
    return float(np.abs(found - expected).max())


@each_camera
def test_a_rectified_image_is_that_of_the_pinhole_camera(camera: Intrinsics) -> None:
    assert worst_error_px(camera, camera) < 0.3


@each_camera
def test_a_calibration_at_another_size_is_scaled(camera: Intrinsics) -> None:
    twice = replace(
        camera,
        fx=2 * camera.fx,
        fy=2 * camera.fy,
        cx=2 * (camera.cx + 0.5) - 0.5,
        cy=2 * (camera.cy + 0.5) - 0.5,
        width=2 * WIDTH,
        height=2 * HEIGHT,
    )
    assert worst_error_px(twice, camera) < 0.3


@each_camera
def test_the_pinhole_camera_has_square_pixels_and_a_centered_principal_point(camera: Intrinsics) -> None:
    rgb, pinhole = Rectifier(camera).rectify(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    assert rgb.shape == (HEIGHT, WIDTH, 3)
    assert pinhole == Intrinsics(pinhole.fx, pinhole.fx, WIDTH // 2, HEIGHT // 2, WIDTH, HEIGHT)


@each_camera
def test_the_view_is_the_widest_inside_the_source(camera: Intrinsics) -> None:
    _, pinhole = Rectifier(camera).rectify(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    u, v = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    rays = np.stack((u - pinhole.cx, v - pinhole.cy, np.full(u.shape, pinhole.fx)), axis=-1).reshape(
        -1, 3
    )
    border = (0, 0), (WIDTH - 1, HEIGHT - 1)
    source = project_to_lens(rays.astype(float), camera)
    assert (source >= border[0]).all()
    assert (source <= border[1]).all()
    wider = project_to_lens(rays * (1.02, 1.02, 1.0), camera)
    assert (wider < border[0]).any() or (wider > border[1]).any()


def test_the_view_of_a_very_wide_lens_is_limited() -> None:
    camera = replace(CAMERAS["equidistant"], fx=190.0, fy=190.0)  # 190 degrees across
    _, pinhole = Rectifier(camera).rectify(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    assert 0.3 * WIDTH <= pinhole.fx < 0.32 * WIDTH


def test_the_view_ends_where_the_polynomial_is_not_monotonic() -> None:
    camera = replace(CAMERAS["plumb_bob"], fx=250.0, fy=250.0, distortion=(-0.35, 0.0, 0.0, 0.0, 0.0))
    _, pinhole = Rectifier(camera).rectify(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    farthest = np.hypot(WIDTH // 2, HEIGHT // 2) / pinhole.fx
    assert 1.0 - 3.0 * 0.35 * farthest**2 > -0.05  # the derivative of the distorted radius


@pytest.mark.parametrize(
    ("model", "coefficients"),
    [("", ()), ("plumb_bob", ()), ("plumb_bob", (0.0,) * 5), ("rational_polynomial", (0.0,) * 8)],
)
def test_without_distortion_image_and_camera_are_returned_unchanged(
    model: str, coefficients: tuple[float, ...]
) -> None:
    camera = replace(PINHOLE, distortion_model=model, distortion=coefficients)
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    same, pinhole = Rectifier(camera).rectify(rgb)
    assert same is rgb
    assert pinhole is camera


def test_without_distortion_the_camera_is_scaled_to_the_image() -> None:
    _, half = Rectifier(PINHOLE).rectify(np.zeros((HEIGHT // 2, WIDTH // 2, 3), np.uint8))
    assert (half.fx, half.fy, half.width, half.height) == (230.0, 227.5, 320, 240)
    assert (half.cx, half.cy) == pytest.approx(((325.3 + 0.5) / 2 - 0.5, (236.8 + 0.5) / 2 - 0.5))


def test_an_equidistant_camera_of_zero_coefficients_is_rectified() -> None:
    camera = replace(CAMERAS["equidistant"], distortion=(0.0,) * 4)
    assert worst_error_px(camera, camera) < 0.3


def test_a_read_only_image_is_rectified_and_not_changed() -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    rgb.flags.writeable = False
    before = rgb.copy()
    rectified, _ = Rectifier(CAMERAS["plumb_bob"]).rectify(rgb)
    np.testing.assert_array_equal(rgb, before)
    assert rectified.flags.writeable


def test_tables_are_computed_once_per_image_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, int]] = []
    original = cv2.initUndistortRectifyMap

    def record_size(*args: Any) -> Any:
        sizes.append(args[4])
        return original(*args)

    monkeypatch.setattr(rectification.cv2, "initUndistortRectifyMap", record_size)
    rectifier = Rectifier(CAMERAS["plumb_bob"])
    for width, height in ((640, 480), (640, 480), (320, 240), (320, 240)):
        rgb, pinhole = rectifier.rectify(np.zeros((height, width, 3), np.uint8))
        assert rgb.shape == (height, width, 3)
        assert (pinhole.width, pinhole.height) == (width, height)
    assert sizes == [(640, 480), (320, 240)]


def test_lens_models_that_are_not_supported_are_an_error() -> None:
    with pytest.raises(ConfigError, match="'homemade'"):
        Rectifier(replace(PINHOLE, distortion_model="homemade", distortion=(0.1,)))


@each_camera
@pytest.mark.parametrize("divisor", [1, 2])
def test_depth_is_rectified_by_nearest_neighbor_at_its_own_size(
    camera: Intrinsics, divisor: int
) -> None:
    """Every pixel is as deep as the number of its column, so that depth is the source column."""
    _, pinhole = Rectifier(camera).rectify(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    width, height = WIDTH // divisor, HEIGHT // divisor
    ramp = np.tile(np.arange(width, dtype=np.float32) + 1, (height, 1))
    found = rectify_depth(ramp, camera, pinhole)
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    x, y = (divisor * (at + 0.5) - 0.5 for at in (u, v))  # in the whole image
    rays = np.stack(
        ((x - pinhole.cx) / pinhole.fx, (y - pinhole.cy) / pinhole.fy, np.ones(x.shape)), axis=-1
    )
    columns = (
        project_to_lens(rays.reshape(-1, 3), camera)[:, 0].reshape(height, width) + 0.5
    ) / divisor - 0.5
    assert np.abs(found - 1 - columns).max() <= 0.51
