# SPDX-License-Identifier: Apache-2.0
"""Intrinsics of images from the fields of CameraInfo: raw or rectified, scaled, cropped, binned."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttt3r_ros.errors import ConfigError
from ttt3r_ros.images.calibration import at_size, fits
from ttt3r_ros.images.camera_info import calibration_from_camera_info, shows_rectified_images
from ttt3r_ros.images.preprocessor import ImagePreprocessor
from ttt3r_ros.types import Intrinsics

D = (-0.28, 0.07, 0.0002, -0.0005, 0.0)
K = (920.0, 0.0, 640.5, 0.0, 910.0, 480.5, 0.0, 0.0, 1.0)
P = (800.0, 0.0, 650.0, 0.0, 0.0, 790.0, 470.0, 0.0, 0.0, 0.0, 1.0, 0.0)
STEREO_P = (*P[:3], -96.0, *P[4:])


def camera_info(**changes: Any) -> Any:
    roi = {"x_offset": 0, "y_offset": 0, "width": 0, "height": 0, "do_rectify": False}
    fields = {
        "width": 1280, "height": 960, "distortion_model": "plumb_bob", "d": D, "k": K, "p": P,
        "binning_x": 0, "binning_y": 0,
    }  # fmt: skip
    roi.update(changes.pop("roi", {}))
    return SimpleNamespace(**{**fields, **changes, "roi": SimpleNamespace(**roi)})


def camera_of(info: Any, width: int, height: int, *, is_rectified: bool = False) -> Intrinsics:
    """Return the camera at the size of the image."""
    camera = calibration_from_camera_info(info).intrinsics(width, height, is_rectified=is_rectified)
    return at_size(camera, width, height)


# --- raw or rectified --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "topic",
    [
        "/camera/image_rect", "/camera/image_rect_color", "/camera/image_rect/compressed", "/image_rect",
        "/camera/image_rect_color/compressed", "/camera/infra1/image_rect_raw", "/zed/zed_node/left/image_rect_gray",
        "/zed/zed_node/rgb/color/rect/image", "/zed/zed_node/rgb/color/rect/image/compressed",
        "/camera/color/image_rectified", "/left/image_undistorted", "/camera/rect_image",
    ],
)  # fmt: skip
def test_topics_of_rectified_images_are_recognized(topic: str) -> None:
    assert shows_rectified_images("auto", topic)
    assert not shows_rectified_images("off", topic)


@pytest.mark.parametrize(
    "topic",
    [
        "/camera/image_raw", "/camera/image", "/image_raw/compressed", "/camera/color/image_raw", "/rectory/image",
        "/zed/zed_node/rgb/color/raw/image", "/camera_rect/left/image_raw", "/rect/image_raw", "/direct/image_color",
        "", "/", "/camera/image_unrectified", "/correct/image",
    ],
)  # fmt: skip
def test_other_topics_are_those_of_raw_images(topic: str) -> None:
    assert not shows_rectified_images("auto", topic)
    assert shows_rectified_images("on", topic)


def test_a_raw_image_has_the_camera_of_K_and_D() -> None:
    assert camera_of(camera_info(), 1280, 960) == Intrinsics(
        920.0, 910.0, 640.5, 480.5, 1280, 960, "plumb_bob", D
    )


@pytest.mark.parametrize("projection", [P, STEREO_P])
def test_a_rectified_image_has_the_camera_of_P_without_distortion(projection: tuple[float, ...]) -> None:
    info = camera_info(p=projection)
    assert camera_of(info, 1280, 960, is_rectified=True) == Intrinsics(
        800.0, 790.0, 650.0, 470.0, 1280, 960
    )


def test_a_rectified_image_without_P_has_the_camera_of_K_and_a_remark() -> None:
    info = camera_info(p=(0.0,) * 12)
    assert camera_of(info, 1280, 960, is_rectified=True) == Intrinsics(
        920.0, 910.0, 640.5, 480.5, 1280, 960
    )
    assert "P" in calibration_from_camera_info(info).remark(is_rectified=True)
    assert not calibration_from_camera_info(info).remark(is_rectified=False)
    assert not calibration_from_camera_info(camera_info(p=(0.0,) * 12, d=())).remark(is_rectified=True)


def test_a_rectified_image_needs_no_K() -> None:
    assert camera_of(camera_info(k=(0.0,) * 9), 1280, 960, is_rectified=True).fx == 800.0


@pytest.mark.parametrize(
    ("changes", "is_rectified", "matrix"),
    [
        ({"k": (0.0,) * 9}, False, "K"),
        ({"k": (float("nan"), *K[1:])}, False, "K"),
        ({"k": (-1.0, *K[1:])}, False, "K"),
        ({"p": (float("inf"), *P[1:])}, True, "P"),
        ({"k": (0.0,) * 9, "p": (0.0,) * 12}, True, "K"),
        ({"width": 0, "height": 0, "k": (*K[:2], 1300.0, *K[3:])}, False, "1300"),
    ],
)
def test_the_error_of_an_invalid_calibration_names_the_matrix(
    changes: dict[str, Any], is_rectified: bool, matrix: str
) -> None:
    with pytest.raises(ConfigError, match=matrix):
        camera_of(camera_info(**changes), 1280, 960, is_rectified=is_rectified)


# --- size, region of interest and binning ------------------------------------------------------------


@pytest.mark.parametrize(
    ("calibrated", "image"),
    [
        ((1241, 376), (620, 188)), ((1241, 376), (621, 188)), ((620, 188), (1241, 376)), ((1242, 375), (621, 187)),
        ((1920, 1080), (853, 480)), ((1920, 1080), (854, 480)), ((2592, 1944), (1296, 972)), ((1226, 370), (613, 185)),
        ((1280, 720), (640, 360)),
    ],
)  # fmt: skip
def test_sizes_that_are_rounded_fit(calibrated: tuple[int, int], image: tuple[int, int]) -> None:
    camera = Intrinsics(900.0, 900.0, calibrated[0] / 2, calibrated[1] / 2, *calibrated)
    scaled = at_size(camera, *image)
    assert (scaled.width, scaled.height) == image
    assert scaled.fx == pytest.approx(900.0 * image[0] / calibrated[0])
    assert scaled.fx == pytest.approx(scaled.fy, rel=0.01)


@pytest.mark.parametrize(
    ("calibrated", "image"),
    [((640, 480), (640, 360)), ((1280, 720), (640, 480)), ((1241, 376), (620, 192)), ((1280, 800), (1280, 720))],
)  # fmt: skip
def test_other_aspect_ratios_do_not_fit(calibrated: tuple[int, int], image: tuple[int, int]) -> None:
    camera = Intrinsics(900.0, 900.0, calibrated[0] / 2, calibrated[1] / 2, *calibrated)
    with pytest.raises(ConfigError, match=f"{calibrated[0]}x{calibrated[1]}.*{image[0]}x{image[1]}"):
        at_size(camera, *image)


@given(st.integers(64, 4096), st.integers(64, 4096), st.floats(0.1, 1.0))
def test_every_scaled_size_fits_in_both_directions(width: int, height: int, factor: float) -> None:
    small = max(1, round(width * factor)), max(1, round(height * factor))
    assert fits(Intrinsics(1.0, 1.0, 0.0, 0.0, width, height), *small)
    assert fits(Intrinsics(1.0, 1.0, 0.0, 0.0, *small), width, height)


def test_a_calibration_without_size_is_that_of_the_image() -> None:
    assert camera_of(camera_info(width=0, height=0), 1280, 960).fx == 920.0
    assert camera_of(camera_info(width=0, height=0), 1280, 960).width == 1280


ROI = {"x_offset": 320, "y_offset": 200, "width": 640, "height": 480}


def test_a_region_of_interest_moves_the_principal_point() -> None:
    camera = camera_of(camera_info(roi=ROI), 640, 480)
    assert camera == Intrinsics(920.0, 910.0, 320.5, 280.5, 640, 480, "plumb_bob", D)
    camera = camera_of(camera_info(roi=ROI), 640, 480, is_rectified=True)
    assert camera == Intrinsics(800.0, 790.0, 330.0, 270.0, 640, 480)


def test_binning_divides_focal_length_and_size() -> None:
    camera = camera_of(camera_info(binning_x=2, binning_y=2), 640, 480)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (460.0, 455.0, 320.0, 240.0)
    camera = camera_of(camera_info(binning_x=1, binning_y=2), 1280, 480)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (920.0, 455.0, 640.5, 240.0)


def test_the_window_of_a_binned_sensor_is_in_pixels_of_the_whole_sensor() -> None:
    camera = camera_of(camera_info(roi=ROI, binning_x=2, binning_y=2), 320, 240)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (460.0, 455.0, 160.0, 140.0)


def test_fields_that_the_driver_has_applied_already_are_not_applied_twice() -> None:
    whole = camera_of(camera_info(roi=ROI), 1280, 960)
    assert (whole.fx, whole.cx) == (920.0, 640.5)
    anamorphic = camera_of(camera_info(binning_x=1, binning_y=2), 1280, 960)
    assert (anamorphic.fy, anamorphic.cy) == (910.0, 480.5)


def test_a_window_outside_of_the_sensor_is_ignored() -> None:
    info = camera_info(roi={**ROI, "x_offset": 1000})
    assert camera_of(info, 1280, 960).cx == 640.5


def test_the_whole_sensor_as_a_window_changes_nothing() -> None:
    info = camera_info(roi={"x_offset": 0, "y_offset": 0, "width": 1280, "height": 960}, binning_x=1)
    assert camera_of(info, 640, 480).fx == 460.0


def test_images_of_a_rectified_topic_are_not_rectified_again() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (960, 1280, 3), np.uint8)
    images = ImagePreprocessor(rectify=True, warn=pytest.fail, is_rectified=True)
    images.calibrate(calibration_from_camera_info(camera_info()))
    frame = images.frame(1, "camera", rgb)
    assert frame.rgb is rgb
    assert frame.intrinsics == Intrinsics(800.0, 790.0, 650.0, 470.0, 1280, 960)
