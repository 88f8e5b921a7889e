# SPDX-License-Identifier: Apache-2.0
"""Selection of the points of an image that a map integrates."""

from __future__ import annotations

import numpy as np
import pytest

from ttt3r_ros.mapping.point_selection import select_pixels, select_points


@pytest.mark.parametrize(
    "shape", [(56, 80), (128, 128), (160, 224), (240, 320), (384, 512), (1, 100_000)]
)
def test_each_pixel_is_selected_once_per_period(shape: tuple[int, int]) -> None:
    counts = np.zeros(shape, int)
    _, period = select_pixels(shape, 0)
    for frame_count in range(period):
        selection, _ = select_pixels(shape, frame_count)
        counts[selection] += 1
        assert counts[selection].size <= 1.05 * 2**14 + sum(shape)
    assert (counts == 1).all()
    assert period == 1 or shape[0] * shape[1] > 2**14


def test_points_of_low_confidence_or_invalid_depth_are_not_selected() -> None:
    depth = np.float32([[1.0, np.nan, 0.0, -1.0, 5.0, 5.1, np.inf, 2.0]])
    confidence = np.float32([[2.0, 9.0, 9.0, 9.0, 3.0, 9.0, 9.0, 1.9]])
    points = np.stack((np.zeros_like(depth), np.zeros_like(depth), depth), axis=-1)
    rgb = np.repeat(np.arange(8, dtype=np.uint8)[None, :, None], 3, axis=2)
    selected = select_points(points, rgb, confidence, 0, min_confidence=2.0, max_range=5.0)
    assert selected.points_camera[:, 2].tolist() == [1.0, 5.0]
    assert selected.rgb[:, 0].tolist() == [0, 4]
    assert selected.confidence.tolist() == [2.0, 3.0]
    assert (selected.stride, selected.fraction) == (1, 2 / 8)


def test_points_of_a_large_image_are_those_of_the_selected_pixels() -> None:
    height, width = 256, 384
    depth = np.arange(1, height * width + 1, dtype=np.float32).reshape(height, width)
    points = np.stack((depth, depth, depth), axis=-1)
    rgb, confidence = np.zeros((height, width, 3), np.uint8), np.ones((height, width), np.float32)
    for frame_count in (0, 1, 5):
        pixels, period = select_pixels((height, width), frame_count)
        selected = select_points(points, rgb, confidence, frame_count, 1.0, np.inf)
        assert selected.points_camera[:, 2].tolist() == depth[pixels].ravel().tolist()
        assert (selected.stride, selected.fraction) == (period, 1.0)
