# SPDX-License-Identifier: Apache-2.0
"""The focal length of an uncalibrated camera."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import FOCAL, HEIGHT, WIDTH, prediction

from ttt3r_ros.odometry.focal_estimator import INITIAL_RATIO, FocalEstimator


def test_one_clean_frame_gives_the_focal_length_and_the_center() -> None:
    camera = FocalEstimator().update(prediction())
    assert camera.fx == camera.fy == pytest.approx(FOCAL)
    assert (camera.cx, camera.cy, camera.width, camera.height) == (
        WIDTH // 2,
        HEIGHT // 2,
        WIDTH,
        HEIGHT,
    )


def test_the_first_frames_have_equal_weights_on_a_logarithmic_scale() -> None:
    estimator = FocalEstimator()
    for focal in (10.0, 20.0, 40.0):
        camera = estimator.update(prediction(focal=focal))
    assert camera.fx == pytest.approx(20.0)


def test_a_lasting_change_is_adopted() -> None:
    estimator = FocalEstimator()
    for _ in range(100):
        estimator.update(prediction(focal=20.0))
    for _ in range(100):
        camera = estimator.update(prediction(focal=30.0))
    assert camera.fx == pytest.approx(30.0, rel=0.01)


@pytest.mark.parametrize("focal", [0.2 * WIDTH, 11.0 * WIDTH])
def test_an_implausible_frame_changes_nothing(focal: float) -> None:
    estimator = FocalEstimator()
    assert estimator.update(prediction(focal=focal)).fx == pytest.approx(INITIAL_RATIO * WIDTH)
    estimator.update(prediction())
    assert estimator.update(prediction(focal=focal)).fx == pytest.approx(FOCAL)


def test_a_frame_without_points_in_front_of_the_camera_changes_nothing() -> None:
    behind = prediction()
    behind = replace(behind, points_camera=-behind.points_camera)
    assert FocalEstimator().update(behind).fx == pytest.approx(INITIAL_RATIO * WIDTH)


def test_points_of_low_confidence_are_ignored() -> None:
    clean = prediction()
    points, confidence = clean.points_camera.copy(), clean.confidence.copy()
    points[: HEIGHT // 2] = prediction(focal=90.0).points_camera[: HEIGHT // 2]
    confidence[: HEIGHT // 2] = 1.0
    camera = FocalEstimator().update(replace(clean, points_camera=points, confidence=confidence))
    assert camera.fx == pytest.approx(FOCAL)


def test_a_reset_discards_the_focal_length() -> None:
    estimator = FocalEstimator()
    for _ in range(50):
        estimator.update(prediction(focal=40.0))
    estimator.reset()
    assert estimator.update(prediction(focal=10.0)).fx == pytest.approx(10.0)


def test_portrait_images_use_their_long_side() -> None:
    wide = prediction()
    tall = replace(
        wide,
        points_camera=np.ascontiguousarray(wide.points_camera.transpose(1, 0, 2)[..., [1, 0, 2]]),
        confidence=np.ascontiguousarray(wide.confidence.T),
    )
    camera = FocalEstimator().update(tall)
    assert camera.fx == pytest.approx(FOCAL)
    assert (camera.width, camera.height) == (HEIGHT, WIDTH)
