# SPDX-License-Identifier: Apache-2.0
"""Depth errors: compared pixels, and the alignment of each error."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import prediction

from ttt3r_ros.evaluation.metrics.depth import DepthComparison, common_scale
from ttt3r_ros.types import ImageGeometry, Prediction

WHOLE = ImageGeometry(64, 48, 16, 12, 0, 0, 16, 12)


def seen(depth_m: np.ndarray, geometry: ImageGeometry = WHOLE) -> Prediction:
    points = np.zeros((*depth_m.shape, 3), np.float32)
    points[..., 2] = depth_m
    plain = prediction()
    return Prediction(
        points, np.ones(depth_m.shape, np.float32), plain.T_segment_camera, plain.rgb, geometry
    )


def compared(predicted_m: float, true_m: np.ndarray) -> DepthComparison:
    comparison = DepthComparison()
    comparison.add(seen(np.full((12, 16), predicted_m, np.float32)), true_m)
    return comparison


def test_a_wrong_scale_costs_the_metric_figures_and_not_the_scaled_ones() -> None:
    error = compared(3.0, np.full((48, 64), 2.0, np.float32)).error()
    assert error is not None
    assert error.abs_rel_metric == pytest.approx(0.5)
    assert error.delta_metric == 0.0
    assert error.abs_rel_scaled == pytest.approx(0.0, abs=1e-6)
    assert error.delta_scaled == 1.0
    assert error.scale == pytest.approx(2 / 3)


def test_pixels_without_depth_are_left_out_and_a_frame_of_them_has_no_figure() -> None:
    true_m = np.full((48, 64), 2.0, np.float32)
    true_m[:, 1::2] = 0.0
    true_m[:8] = np.nan
    assert compared(2.0, true_m).error().abs_rel_metric == pytest.approx(0.0)
    assert compared(2.0, np.zeros((48, 64), np.float32)).error() is None
    assert DepthComparison().error() is None


def test_few_wild_pixels_do_not_move_the_common_scale() -> None:
    rng = np.random.default_rng(0)
    true = rng.uniform(1, 5, 2000)
    predicted = true / 1.7
    predicted[:200] /= 20
    assert common_scale(true, predicted) == pytest.approx(1.7, rel=1e-3)


def test_the_common_scale_is_that_of_ten_rounds() -> None:
    rng = np.random.default_rng(1)
    predicted = rng.uniform(1.0, 5.0, 500)
    true = predicted * rng.choice([1.0, 1.3, 4.0], 500)
    scales = [true.mean() / predicted.mean()]
    for _ in range(11):
        weight = 1.0 / (np.abs(scales[-1] * predicted - true) + 1e-8)
        scales.append(np.average(true / predicted, weights=weight * predicted**2))
    assert len({round(scale, 7) for scale in (scales[1], scales[9], scales[10], scales[11])}) == 4
    assert common_scale(true, predicted) == pytest.approx(scales[10], rel=1e-12)


def test_predictions_of_zero_have_a_scale_of_one() -> None:
    assert common_scale(np.full(5, 2.0), np.zeros(5)) == 1.0
