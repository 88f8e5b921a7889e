# SPDX-License-Identifier: Apache-2.0
"""Cameras of this computer."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from small_video import COUNT, pixels, write_video

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.sources import SourceOptions, open_source
from ttt3r_ros.io.webcam import Webcam, parse_device


def test_a_camera_has_a_number_or_a_device() -> None:
    expected = {
        "webcam": 0, "webcam:0": 0, "webcam:12": 12, "/dev/video3": "/dev/video3",
        "webcam:": None, "webcams": None, "webcam.mp4": None, "/dev/video": None,
    }  # fmt: skip
    assert {text: parse_device(text) for text in expected} == expected
    for text, device in expected.items():
        if device is not None:
            assert isinstance(open_source(text), Webcam), text


@pytest.mark.skipif(Path("/dev/video63").exists(), reason="this machine has 64 cameras")
def test_a_missing_camera_is_an_error() -> None:
    for text in ("webcam:63", "/dev/video63"):
        with pytest.raises(SourceError, match=r"camera \S*63 cannot be opened"):
            next(iter(open_source(text).frames()))


def test_images_of_a_camera_are_stamped_on_arrival(tmp_path: Path) -> None:
    """OpenCV reads a video in place of a device."""
    before_ns = time.time_ns()
    camera = open_source(
        str(write_video(tmp_path / "live.avi")), SourceOptions(format="webcam", max_frames=4)
    )
    frames = list(camera.frames())
    assert len(camera) == len(frames) == 4
    stamps_ns = [frame.stamp_ns for frame in frames]
    assert before_ns < stamps_ns[0]
    assert stamps_ns == sorted(set(stamps_ns))
    assert np.abs(frames[1].rgb.astype(int) - pixels(1)[..., ::-1]).mean() < 25
    assert camera.ground_truth() == []


def test_the_error_of_a_camera_that_stops_has_the_number_of_its_images(tmp_path: Path) -> None:
    received = []
    camera = Webcam(str(write_video(tmp_path / "live.avi")))
    with pytest.raises(SourceError, match=rf"live\.avi sends no more images \(after {COUNT}\)"):
        received.extend(camera.frames())
    assert len(camera) == 0  # unknown


def test_a_camera_name_that_is_not_utf8_is_an_error() -> None:
    with pytest.raises(SourceError, match="not UTF-8"):
        next(iter(Webcam(os.fsdecode(b"cam\xff")).frames()))
