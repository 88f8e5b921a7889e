# SPDX-License-Identifier: Apache-2.0
"""Images of the demo room through a lens: the rectified image has the focal length that its frame names."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest

from ttt3r_ros.images.calibration import Calibration
from ttt3r_ros.images.preprocessor import ImagePreprocessor
from ttt3r_ros.synthetic.room import ProceduralRoom
from ttt3r_ros.types import Intrinsics

WIDTH, HEIGHT = 320, 240
RAW = Intrinsics(250.0, 248.0, 162.0, 118.0, WIDTH, HEIGHT)
LENSES = {
    "radtan": ("radtan", (-0.32, 0.12, 0.0004, -0.0006)),
    "rational": ("rational_polynomial", (0.4, -0.2, 0.0003, -0.0002, 0.02, 0.7, -0.1, 0.01)),
    "fisheye": ("fisheye", (-0.007, 0.04, -0.04, 0.008)),
}


def render(rays: np.ndarray) -> np.ndarray:
    """Return the image of rays (H, W, 3) of unit depth, seen by frame 0 of the demo room."""
    height, width = rays.shape[:2]
    room = ProceduralRoom(width=width, height=height)
    room.__dict__["_rays"] = np.ascontiguousarray(rays.reshape(-1, 3).T)
    return room.render(0).rgb


def rays_of(camera: Intrinsics) -> np.ndarray:
    """Return the rays (H, W, 3) of the pixels of a camera with a lens."""
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    pixels = np.stack((u, v), axis=-1).reshape(-1, 1, 2).astype(np.float64)
    lens = cv2.fisheye if camera.distortion_model in ("fisheye", "equidistant") else cv2
    D = np.array(camera.distortion or (0.0,) * 5)
    plane = lens.undistortPoints(pixels, camera.matrix(), D).reshape(camera.height, camera.width, 2)
    return np.concatenate((plane, np.ones((camera.height, camera.width, 1))), axis=-1)


@cache
def raw_image(lens: str) -> np.ndarray:
    model, coefficients = LENSES[lens]
    return render(rays_of(replace(RAW, distortion_model=model, distortion=coefficients)))


def focal_error(rgb: np.ndarray, camera: Intrinsics) -> float:
    """Return the relative error of a camera's focal length by comparison with the room rendered for that camera."""
    expected, found = (
        cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        for image in (render(rays_of(replace(camera, distortion_model="", distortion=()))), rgb)
    )
    corners = cv2.goodFeaturesToTrack(expected, 200, 0.02, 6)
    tracked, status, _ = cv2.calcOpticalFlowPyrLK(expected, found, corners, None, winSize=(31, 31))
    back, _, _ = cv2.calcOpticalFlowPyrLK(found, expected, tracked, None, winSize=(31, 31))
    good = (status[:, 0] == 1) & (np.abs(back - corners).max(axis=(1, 2)) < 0.5)
    assert good.sum() > 40
    center = np.array([camera.cx, camera.cy])
    before, after = corners[good, 0] - center, tracked[good, 0] - center
    ratios = (before * after).sum(axis=1) / (before**2).sum(axis=1)
    far = np.linalg.norm(before, axis=1) > 40.0
    return float(np.median(ratios[far]) - 1.0)


def calibration(lens: str, **changes: object) -> Calibration:
    model, coefficients = LENSES[lens]
    raw = (RAW.fx, RAW.fy, RAW.cx, RAW.cy)
    return replace(Calibration(raw, WIDTH, HEIGHT, model, coefficients), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("lens", LENSES)
def test_a_raw_image_is_rectified_to_the_focal_length_of_its_frame(lens: str) -> None:
    images = ImagePreprocessor(rectify=True, warn=pytest.fail)
    images.calibrate(calibration(lens))
    frame = images.frame(1, "camera", raw_image(lens))
    assert frame.intrinsics is not None
    assert frame.intrinsics.distortion == ()
    assert abs(focal_error(frame.rgb, frame.intrinsics)) < 0.01


def rectified_by_image_proc(lens: str) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """Return the image on image_rect, and P of camera_info."""
    D = np.array(LENSES[lens][1])
    P, _ = cv2.getOptimalNewCameraMatrix(RAW.matrix(), D, (WIDTH, HEIGHT), 0.0)
    x, y = cv2.initUndistortRectifyMap(RAW.matrix(), D, np.eye(3), P, (WIDTH, HEIGHT), cv2.CV_32FC1)
    return cv2.remap(raw_image(lens), x, y, cv2.INTER_LINEAR), (P[0, 0], P[1, 1], P[0, 2], P[1, 2])


def test_the_image_of_image_proc_has_the_focal_length_of_P() -> None:
    rgb, P = rectified_by_image_proc("radtan")
    assert abs(P[0] / RAW.fx - 1.0) > 0.1, "K is wrong by more than a tenth"
    images = ImagePreprocessor(rectify=True, warn=pytest.fail, is_rectified=True)
    images.calibrate(calibration("radtan", rectified=P))
    frame = images.frame(1, "camera", rgb)
    assert frame.rgb is rgb
    assert frame.intrinsics == Intrinsics(*P, WIDTH, HEIGHT)
    assert abs(focal_error(rgb, frame.intrinsics)) < 0.01
    with_K = Intrinsics(RAW.fx, RAW.fy, RAW.cx, RAW.cy, WIDTH, HEIGHT)
    assert abs(focal_error(rgb, with_K)) > 0.05, "the measurement detects a wrong focal length"


@pytest.mark.parametrize("is_rectified", [False, True])
def test_a_window_of_the_sensor_has_the_same_focal_length(is_rectified: bool) -> None:
    whole, P = rectified_by_image_proc("radtan") if is_rectified else (raw_image("radtan"), None)
    window = np.ascontiguousarray(whole[20:200, 60:300])
    images = ImagePreprocessor(rectify=True, warn=pytest.fail, is_rectified=is_rectified)
    images.calibrate(calibration("radtan", rectified=P, roi=(60, 20, 240, 180)))
    frame = images.frame(1, "camera", window)
    assert frame.intrinsics is not None
    assert abs(focal_error(frame.rgb, frame.intrinsics)) < 0.01


def test_a_binned_image_has_half_the_focal_length() -> None:
    binned = cv2.resize(raw_image("radtan"), (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
    images = ImagePreprocessor(rectify=True, warn=pytest.fail)
    images.calibrate(calibration("radtan", binning=(2, 2)))
    frame = images.frame(1, "camera", binned)
    assert frame.intrinsics is not None
    assert abs(focal_error(frame.rgb, frame.intrinsics)) < 0.01
