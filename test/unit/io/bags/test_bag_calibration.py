# SPDX-License-Identifier: Apache-2.0
"""Calibration of the images of a bag: rectified topics, sizes, damaged and invalid messages."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from bag_recording import HEIGHT, IMAGE, INFO, WIDTH, camera_info, images, pixels, raw_image, record

from ttt3r_ros.cli.main import main
from ttt3r_ros.io.bags.reader import Bag
from ttt3r_ros.io.sources import SourceOptions, open_source
from ttt3r_ros.types import Intrinsics

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

P = np.array([24.0, 0.0, 3.0, -2.0, 0.0, 25.0, 2.0, 0.0, 0.0, 0.0, 1.0, 0.0])
RECTIFIED = Intrinsics(24.0, 25.0, 3.0, 2.0, WIDTH, HEIGHT)
RAW = Intrinsics(30.0, 31.0, 3.5, 2.5, WIDTH, HEIGHT, "plumb_bob", (0.1, -0.2, 0.0, 0.0, 0.0))


def image_proc_bag(path: Path, **changes: Any) -> Path:
    """Record raw and rectified images with one CameraInfo, as image_proc does."""
    info = replace(camera_info(), **{"p": P, **changes})
    topics = ("/cam/image_raw", "/cam/image_rect", "/cam/image_rect_color")
    return record(path, [("/cam/camera_info", INFO, info), *(m for t in topics for m in images(t))])


def first_camera(path: Path, topic: str, images_rectified: str = "auto") -> Intrinsics | None:
    sequence = open_source(str(path), SourceOptions(topic=topic), images_rectified)
    frame = next(iter(sequence.frames()))
    np.testing.assert_array_equal(frame.rgb, pixels(0))
    return frame.intrinsics


def test_rectified_topics_have_the_camera_of_P(tmp_path: Path) -> None:
    path = image_proc_bag(tmp_path / "bag")
    assert first_camera(path, "/cam/image_raw") == RAW
    assert first_camera(path, "/cam/image_rect") == RECTIFIED
    assert first_camera(path, "/cam/image_rect_color") == RECTIFIED
    assert first_camera(path, "/cam/image_rect", "off") == RAW
    assert first_camera(path, "/cam/image_raw", "on") == RECTIFIED


def test_a_rectified_topic_without_P_has_K_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = image_proc_bag(tmp_path / "bag", p=np.zeros(12))
    assert first_camera(path, "/cam/image_rect") == replace(RAW, distortion_model="", distortion=())
    assert [r.getMessage() for r in caplog.records if "P of camera_info" in r.getMessage()] != []


def test_an_uncalibrated_camera_is_one_warning_that_names_the_matrix(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = image_proc_bag(tmp_path / "bag", k=np.zeros(9))
    frames = list(Bag(path, "/cam/image_raw").frames())
    assert [frame.intrinsics for frame in frames] == [None] * 3
    assert len([r for r in caplog.records if "K has fx = 0" in r.getMessage()]) == 1


def test_a_calibration_without_size_has_that_of_the_image(tmp_path: Path) -> None:
    path = image_proc_bag(tmp_path / "bag", width=0, height=0)
    assert first_camera(path, "/cam/image_raw") == RAW


def test_the_nearest_calibration_topic_is_used(tmp_path: Path) -> None:
    path = record(
        tmp_path / "bag",
        [
            ("/camera_info", INFO, camera_info(fx=99.0)),
            ("/cam/camera_info", INFO, camera_info()),
            *images("/cam/image_raw"),
            ("/camera_info", INFO, camera_info(fx=99.0)),
            ("/cam/image_raw", IMAGE, raw_image(3)),
        ],
    )
    cameras = [frame.intrinsics for frame in Bag(path).frames()]
    assert cameras == [RAW] * 4


def test_a_given_calibration_of_a_rectified_topic_is_that_of_P(tmp_path: Path) -> None:
    path = image_proc_bag(tmp_path / "bag")
    calibration = tmp_path / "camera.yaml"
    calibration.write_text(
        f"""image_width: {WIDTH}
image_height: {HEIGHT}
camera_matrix: {{rows: 3, cols: 3, data: [30, 0, 3.5, 0, 31, 2.5, 0, 0, 1]}}
distortion_model: plumb_bob
distortion_coefficients: {{rows: 1, cols: 5, data: [0.1, -0.2, 0, 0, 0]}}
projection_matrix: {{rows: 3, cols: 4, data: [24, 0, 3, 0, 0, 25, 2, 0, 0, 0, 1, 0]}}
"""
    )
    for topic, expected in (("/cam/image_rect", RECTIFIED), ("/cam/image_raw", RAW)):
        options = SourceOptions(topic=topic, calibration=calibration)
        frame = next(iter(open_source(str(path), options).frames()))
        assert frame.intrinsics == expected


def test_the_run_command_has_the_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = image_proc_bag(tmp_path / "bag")
    words = ["run", path, "--topic", "/cam/image_rect", "--output", tmp_path / "out"]
    assert main([*map(str, words), "--set", "images_rectified=maybe"]) != 0
    assert "images_rectified" in capsys.readouterr().err
