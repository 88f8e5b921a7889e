# SPDX-License-Identifier: Apache-2.0
"""The guided filter against its definition, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from ttt3r_ros.odometry.guided_filter import guided_filter

RADIUS, CONTRAST = 2, 0.05


def by_definition(values: np.ndarray, guide: np.ndarray) -> np.ndarray:
    """Fit a line over the gray level in each window; a pixel has the mean over all windows that contain it."""
    padded_values, padded_guide = (
        np.pad(array, 2 * RADIUS, mode="symmetric").astype(float) for array in (values, guide)
    )
    size, (height, width) = 2 * RADIUS + 1, values.shape
    lines = np.empty((height + 2 * RADIUS, width + 2 * RADIUS, 2))
    for row, column in np.ndindex(lines.shape[:2]):
        I, p = (  # noqa: E741
            array[row : row + size, column : column + size] for array in (padded_guide, padded_values)
        )
        slope = ((I * p).mean() - I.mean() * p.mean()) / (I.var() + CONTRAST**2)
        lines[row, column] = slope, p.mean() - slope * I.mean()
    # OpenCV mirrors the lines at the border, too.
    inner = lines[RADIUS:-RADIUS, RADIUS:-RADIUS]
    mirrored = np.pad(inner, ((RADIUS, RADIUS), (RADIUS, RADIUS), (0, 0)), mode="symmetric")
    means = np.array(
        [
            [
                mirrored[row : row + size, column : column + size].mean(axis=(0, 1))
                for column in range(width)
            ]
            for row in range(height)
        ]
    )
    return means[..., 0] * guide + means[..., 1]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_filter_equals_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(0.0, 1.0, (11, 14)).astype(np.float32)
    image = rng.integers(0, 256, (11, 14), np.uint8)
    found = guided_filter(values, image, RADIUS, CONTRAST)
    np.testing.assert_allclose(found, by_definition(values, image / 255.0), atol=2e-5)


def test_values_linear_in_the_gray_level_do_not_change() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 40), np.uint8)
    values = (3.0 - 2.0 * image / 255.0).astype(np.float32)
    np.testing.assert_allclose(guided_filter(values, image, 8, 1e-3), values, atol=1e-3)


def test_without_contrast_the_filter_is_a_mean_of_means() -> None:
    values = np.zeros((41, 41), np.float32)
    values[20, 20] = 1.0
    found = guided_filter(values, np.full((41, 41), 128, np.uint8), 3, 0.03)
    assert found[20, 20] == pytest.approx(1 / 49, rel=1e-4)
    assert found.sum() == pytest.approx(1.0, rel=1e-4)
    assert np.abs(found[:, :14]).max() < 1e-7
