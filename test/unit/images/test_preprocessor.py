# SPDX-License-Identifier: Apache-2.0
"""Frames of decoded images: calibration, rectification and warnings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ttt3r_ros.errors import ImageError
from ttt3r_ros.images.preprocessor import ImagePreprocessor
from ttt3r_ros.types import Intrinsics

PINHOLE = Intrinsics(100.0, 110.0, 64.0, 48.0, 128, 96)
DISTORTED = replace(PINHOLE, distortion_model="plumb_bob", distortion=(-0.2, 0.05, 0.0, 0.0, 0.0))
RGB = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)


def preprocessor(*, rectify: bool = True) -> tuple[ImagePreprocessor, list[str]]:
    warnings: list[str] = []
    return ImagePreprocessor(rectify=rectify, warn=warnings.append), warnings


def test_a_distorted_image_is_rectified_to_a_pinhole_camera() -> None:
    images, warnings = preprocessor()
    images.calibrate(DISTORTED)
    frame = images.frame(7, "camera", RGB)
    assert (frame.stamp_ns, frame.camera_frame) == (7, "camera")
    assert frame.intrinsics is not None
    assert (frame.intrinsics.distortion, frame.intrinsics.cx, frame.intrinsics.cy) == ((), 64.0, 48.0)
    assert not np.array_equal(frame.rgb, RGB)
    assert warnings == []


def test_without_rectification_image_and_calibration_are_unchanged() -> None:
    images, _ = preprocessor(rectify=False)
    images.calibrate(DISTORTED)
    frame = images.frame(7, "camera", RGB)
    assert frame.rgb is RGB
    assert frame.intrinsics == DISTORTED


def test_an_unsupported_distortion_is_one_warning_and_the_image_is_unchanged() -> None:
    images, warnings = preprocessor()
    unsupported = replace(PINHOLE, distortion_model="unified", distortion=(0.1,))
    for _ in range(2):
        images.calibrate(unsupported)
        assert images.frame(7, "camera", RGB).rgb is RGB
        images.calibrate(None)
    assert len(warnings) == 1
    assert "'unified'" in warnings[0]


def test_a_calibration_of_another_aspect_ratio_is_one_warning_and_ignored() -> None:
    images, warnings = preprocessor()
    images.calibrate(replace(PINHOLE, height=100))
    frames = [images.frame(stamp_ns, "camera", RGB) for stamp_ns in (1, 2)]
    assert [frame.intrinsics for frame in frames] == [None, None]
    assert len(warnings) == 1
    assert "128x100" in warnings[0]
    assert "128x96" in warnings[0]


def test_a_change_of_the_image_size_is_a_warning() -> None:
    images, warnings = preprocessor()
    for rgb in (RGB, RGB, RGB[:48, :64]):
        images.frame(1, "camera", rgb)
    assert len(warnings) == 1
    assert "128x96 to 64x48" in warnings[0]


def test_stamps_are_validated() -> None:
    images, _ = preprocessor()
    assert images.accept(5) is False
    with pytest.raises(ImageError, match="5"):
        images.accept(5)
