# SPDX-License-Identifier: Apache-2.0
"""Depth figures under the rules of a protocol: alignments, caps, pixels, the first frames only."""

from __future__ import annotations

import numpy as np
import pytest
from test_evaluation_depth import seen

from ttt3r_ros.evaluation.metrics.depth import DepthComparison, compute_figures, scale_and_shift


def scene(scale: float = 1.0, shift_m: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return predicted (12, 16) and true depth (48, 64): truth = scale * prediction + shift; columns of 2 to 5 m."""
    predicted = np.repeat(np.linspace(2.0, 5.0, 16, dtype=np.float32)[None], 12, axis=0)
    return predicted, np.repeat(np.repeat(scale * predicted + np.float32(shift_m), 4, axis=0), 4, axis=1)


def compared(predicted: np.ndarray, true_m: np.ndarray, **rules: float) -> DepthComparison:
    comparison = DepthComparison(pixel_step=1, interpolation=0, **rules)  # nearest pixel
    comparison.add(seen(predicted), true_m)
    return comparison


def test_figures_of_a_depth_that_is_a_fifth_too_large() -> None:
    true = np.array([1.0, 2.0, 4.0])
    figures = compute_figures(true, 1.2 * true)
    assert figures.abs_rel == pytest.approx(0.2)
    assert figures.sq_rel == pytest.approx(0.04 * true.mean())
    assert figures.rmse == pytest.approx(0.2 * np.sqrt((true**2).mean()))
    assert figures.log_rmse == pytest.approx(np.log(1.2))
    assert (figures.delta1, figures.delta2, figures.delta3) == (1.0, 1.0, 1.0)
    assert compute_figures(true, 1.3 * true).delta1 == 0.0
    assert compute_figures(true, 1.3 * true).delta2 == 1.0


def test_each_alignment_removes_its_own_error() -> None:
    aligned = compared(*scene(scale=1.25)).align()
    assert aligned is not None
    assert aligned.figures["metric"].abs_rel == pytest.approx(0.2)
    assert aligned.figures["scale"].abs_rel == pytest.approx(0.0, abs=1e-6)
    assert aligned.scale == pytest.approx(1.25)
    assert aligned.figures["shift"].abs_rel == pytest.approx(0.0, abs=1e-3)

    shifted = compared(*scene(scale=1.0, shift_m=0.05)).align()
    assert shifted is not None
    assert shifted.figures["shift"].abs_rel < 0.5 * shifted.figures["metric"].abs_rel
    assert shifted.figures["shift"].abs_rel < shifted.figures["scale"].abs_rel


def test_scale_and_shift_start_at_the_ratio_of_medians_and_do_not_go_far() -> None:
    predicted = np.random.default_rng(0).uniform(1.0, 5.0, 5000)
    factor, shift_m = scale_and_shift(2.0 * predicted + 1.0, predicted)
    begin = np.median(2.0 * predicted + 1.0) / np.median(predicted)
    assert begin - 0.2 < factor < begin
    assert 0.05 < shift_m < 0.2, "the best one is 1"


def test_true_depth_beyond_the_cap_does_not_count() -> None:
    predicted, true_m = scene()
    true_m[:, 32:] = 80.0
    assert compared(predicted, true_m).align().figures["metric"].abs_rel > 0.1
    capped = compared(predicted, true_m, max_depth_m=70.0).align()
    assert capped.pixels == true_m.size // 2
    assert capped.figures["metric"].abs_rel == pytest.approx(0.0, abs=1e-6)


def test_aligned_predictions_are_cut() -> None:
    predicted, true_m = scene()
    predicted[:, 8:] = 1000.0
    true_m[:, 32:] = 50.0
    figures = compared(predicted, true_m, clip_m=70.0).align().figures
    assert figures["metric"].abs_rel == pytest.approx((0.0 + 20 / 50) / 2)


def test_the_first_frames_are_those_shown_first() -> None:
    comparison = DepthComparison(pixel_step=1)
    true_m = np.full((48, 64), 2.0, np.float32)
    for frame, depth_m in ((0, 2.0), (3, 3.0), (7, 4.0)):
        comparison.add(seen(np.full((12, 16), depth_m, np.float32)), true_m, frame)
    errors = [comparison.align(length).figures["metric"].abs_rel for length in (3, 4, 0)]
    assert errors == pytest.approx([0.0, 0.25, 0.5])
    assert dict(comparison.abs_rel_of_frames(1.0, 4)) == pytest.approx({0: 0.0, 3: 0.5})
    assert comparison.align(0).pixels == 3 * true_m.size


def test_without_true_depth_there_is_nothing_to_align() -> None:
    assert compared(scene()[0], np.zeros((48, 64), np.float32)).align() is None


def test_scale_and_shift_begin_at_medians_which_wild_pixels_do_not_move() -> None:
    predicted = np.random.default_rng(0).uniform(1.0, 5.0, 5000)
    true = 2.0 * predicted
    true[:500] *= 100
    assert true.mean() / predicted.mean() > 15
    factor, shift_m = scale_and_shift(true, predicted)
    assert factor == pytest.approx(np.median(true) / np.median(predicted), abs=0.2)
    assert abs(shift_m) < 0.2
