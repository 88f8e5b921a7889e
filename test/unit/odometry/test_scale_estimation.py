# SPDX-License-Identifier: Apache-2.0
"""Scale estimation: measurements and their robust average."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ttt3r_ros.odometry.scale_estimation import (
    PLAUSIBLE_SCALES,
    OdometryScaleEstimator,
    ScaleEstimator,
    depth_ratio,
    height_ratio,
)

scales = st.floats(0.02, 50.0)
seeds = st.integers(0, 1000)
anything = st.floats(allow_nan=True, allow_infinity=True)


def settle(scale: float = 2.0, count: int = 100) -> ScaleEstimator:
    estimator = ScaleEstimator(ema_weight=0.05)
    noise = np.random.default_rng(0).normal(0.0, 0.05, count)
    for deviation in noise:
        estimator.update(scale * math.exp(deviation))
    return estimator


def test_without_measurements_the_scale_is_one() -> None:
    estimator = ScaleEstimator(ema_weight=0.05)
    assert (estimator.scale, estimator.measurements) == (1.0, 0)


def test_the_first_measurement_is_the_scale() -> None:
    estimator = ScaleEstimator(ema_weight=0.05)
    estimator.update(3.0)
    assert estimator.scale == pytest.approx(3.0)


@given(scales, seeds)
def test_noisy_measurements_converge_to_the_scale(scale: float, seed: int) -> None:
    estimator = ScaleEstimator(ema_weight=0.05)
    for deviation in np.random.default_rng(seed).normal(0.0, 0.2, 300):
        estimator.update(scale * math.exp(deviation))
    assert abs(math.log(estimator.scale / scale)) < 0.15
    assert 0.08 < estimator.spread < 0.3


@pytest.mark.parametrize("position", range(5))
def test_an_outlier_among_the_first_measurements_has_no_effect(position: int) -> None:
    estimator = ScaleEstimator(ema_weight=0.05)
    for index in range(5):
        estimator.update(50.0 if index == position else 2.0)
    assert estimator.scale == pytest.approx(2.0)


@pytest.mark.parametrize("outlier", [0.011, 99.0])
def test_an_outlier_hardly_changes_a_settled_scale(outlier: float) -> None:
    estimator = settle()
    before = estimator.scale
    estimator.update(outlier)
    assert 0.0 < abs(math.log(estimator.scale / before)) < 0.01


def test_one_outlier_in_five_is_tolerated() -> None:
    estimator = settle()
    for _ in range(200):
        for ratio in (2.0, 20.0, 2.0, 2.0, 2.0):
            estimator.update(ratio)
    assert estimator.scale == pytest.approx(2.0, rel=0.15)


def test_a_lasting_change_is_adopted() -> None:
    estimator = settle(2.0)
    for _ in range(150):
        estimator.update(6.0)
    assert estimator.scale == pytest.approx(6.0, rel=0.02)


@pytest.mark.parametrize("ratio", [math.nan, math.inf, -math.inf, 0.0, -1.0, 0.0099, 101.0])
def test_an_implausible_measurement_is_counted_and_changes_nothing(ratio: float) -> None:
    estimator = settle()
    before = estimator.scale
    estimator.update(ratio)
    estimator.on_state_reset(ratio)
    assert (estimator.scale, estimator.rejected, estimator.measurements) == (before, 2, 100)


@given(scales, st.floats(0.5, 2.0), st.integers(0, 20))
def test_a_jump_at_a_reset_is_removed_exactly(scale: float, jump: float, count: int) -> None:
    estimator = ScaleEstimator(ema_weight=0.05)
    for _ in range(count):
        estimator.update(scale)
    old_depth = 3.0 * estimator.scale
    estimator.on_state_reset(jump)
    assert 3.0 / jump * estimator.scale == pytest.approx(old_depth)
    if count:  # and measurements in the new state agree
        before = estimator.scale
        estimator.update(scale * jump)
        assert estimator.scale == pytest.approx(before)


@given(st.lists(st.tuples(st.booleans(), anything)))
def test_the_scale_is_always_plausible(events: list[tuple[bool, float]]) -> None:
    estimator = ScaleEstimator(ema_weight=1.0)
    for is_reset, ratio in events:
        (estimator.on_state_reset if is_reset else estimator.update)(ratio)
        assert PLAUSIBLE_SCALES[0] * 0.999 <= estimator.scale <= PLAUSIBLE_SCALES[1] * 1.001


def test_a_reset_discards_all_measurements() -> None:
    estimator = settle()
    estimator.reset()
    assert (estimator.scale, estimator.measurements) == (1.0, 0)
    estimator.update(7.0)
    assert estimator.scale == pytest.approx(7.0)


def pose(x: float = 0.0, y: float = 0.0, yaw: float = 0.0) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler("z", yaw).as_matrix()
    T[:2, 3] = x, y
    return T


def in_network(T_odom_base: np.ndarray, scale: float) -> np.ndarray:
    """Return the same pose in another, smaller world."""
    T = T_odom_base.copy()
    T[:3, 3] /= scale
    T_world = np.eye(4)
    T_world[:3, :3] = Rotation.from_euler("xyz", (0.3, -1.0, 2.0)).as_matrix()
    T_world[:3, 3] = 4.0, 5.0, 6.0
    return T_world @ T


def ratios(
    odometry: OdometryScaleEstimator, poses: list[np.ndarray], scale: float, segment: int = 0
) -> list[float]:
    seen = (odometry.update(T, in_network(T, scale), segment) for T in poses)
    return [ratio for ratio in seen if ratio is not None]


@given(scales)
def test_driving_measures_the_scale_once_per_minimum_translation(scale: float) -> None:
    path = [pose(0.03 * i, 0.01 * i, 0.02 * i) for i in range(100)]
    odometry = OdometryScaleEstimator(min_translation=1.0)
    assert ratios(odometry, path, scale) == pytest.approx([scale] * 3)


def test_a_body_that_stands_still_measures_nothing() -> None:
    odometry = OdometryScaleEstimator(min_translation=0.1)
    drift = np.random.default_rng(0).normal(0.0, 0.01, (500, 3)).cumsum(axis=0)
    for offset in drift:
        T_net = pose()
        T_net[:3, 3] += offset
        assert odometry.update(pose(), T_net, 0) is None


def test_drift_while_standing_still_does_not_count_afterwards() -> None:
    odometry = OdometryScaleEstimator(min_translation=0.1)
    ways = [0.01 * i for i in range(8)] + [0.07] * 50 + [0.07 + 0.01 * i for i in range(20)]
    drifts = [0.0] * 8 + [0.02 * i for i in range(50)] + [0.98] * 20
    seen = [
        odometry.update(pose(way), in_network(pose(0.5 * way, drift), 1.0), 0)
        for way, drift in zip(ways, drifts, strict=True)
    ]
    assert [ratio for ratio in seen if ratio is not None] == pytest.approx([2.0])


def test_a_slow_body_does_not_count_as_standing() -> None:
    slow = [pose(0.001 * i) for i in range(250)]
    assert ratios(OdometryScaleEstimator(min_translation=0.1), slow, 2.0) == pytest.approx([2.0, 2.0])


def test_a_body_that_only_turns_measures_nothing() -> None:
    turning = [pose(0.03 * math.sin(0.1 * i), 0.03 * math.cos(0.1 * i), 0.1 * i) for i in range(200)]
    assert ratios(OdometryScaleEstimator(min_translation=0.05), turning, 2.0) == []


def test_driving_on_after_a_turn_measures_soon() -> None:
    turning = [pose(yaw=0.1 * i) for i in range(32)]
    driving = [pose(-0.02 * i, yaw=3.1) for i in range(12)]
    assert ratios(OdometryScaleEstimator(min_translation=0.1), turning + driving, 2.0) == pytest.approx(
        [2.0, 2.0]
    )


def test_drift_while_turning_does_not_count_afterwards() -> None:
    odometry = OdometryScaleEstimator(min_translation=0.1)
    turning = [pose(0.03 * math.sin(0.1 * i), -0.03 * math.cos(0.1 * i), 0.1 * i) for i in range(32)]
    for index, T in enumerate(turning):
        odometry.update(T, pose(0.05 * index) @ T, 0)
    driving = [pose(-0.02 * i) @ turning[-1] for i in range(1, 9)]
    seen = [odometry.update(T, pose(1.55) @ T, 0) for T in driving]
    assert [ratio for ratio in seen if ratio is not None] == pytest.approx([1.0], abs=0.1)


def test_a_prediction_without_motion_measures_nothing() -> None:
    odometry = OdometryScaleEstimator(min_translation=0.1)
    seen = [odometry.update(pose(0.02 * i), pose(0.0001 * i), 0) for i in range(50)]
    assert set(seen) == {None}


def test_a_displacement_across_a_new_segment_does_not_count() -> None:
    odometry = OdometryScaleEstimator(min_translation=0.1)
    assert ratios(odometry, [pose(0.02 * i) for i in range(5)], 2.0, segment=0) == []
    assert ratios(odometry, [pose(0.1 + 0.02 * i) for i in range(5)], 3.0, segment=1) == []
    assert ratios(odometry, [pose(0.2 + 0.02 * i) for i in range(5)], 3.0, segment=1) == pytest.approx(
        [3.0]
    )


def test_poses_that_are_not_finite_are_ignored() -> None:
    odometry = OdometryScaleEstimator(min_translation=0.1)
    odometry.update(pose(), pose(), 0)
    assert odometry.update(pose(math.nan), pose(1.0), 0) is None
    assert odometry.update(pose(1.0), pose(math.inf), 0) is None
    assert odometry.update(pose(1.0), pose(0.5), 0) == pytest.approx(2.0)


def depths(count: int = 100) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    predicted = np.linspace(1.0, 5.0, count, dtype=np.float32).reshape(2, -1)
    return 2.5 * predicted, predicted, np.full_like(predicted, 3.0)


def test_the_depth_ratio_is_a_median() -> None:
    reference, predicted, confidence = depths()
    reference[0, :40] *= 10.0
    assert depth_ratio(reference, predicted, confidence) == pytest.approx(2.5)


def test_confident_pixels_have_more_weight() -> None:
    reference, predicted, confidence = depths()
    reference[0] *= 2.0
    confidence[0] = 5.0
    assert depth_ratio(reference, predicted, confidence) == pytest.approx(5.0)
    confidence[0] = 1.0
    assert depth_ratio(reference, predicted, confidence) == pytest.approx(2.5)


@pytest.mark.parametrize("hole", [np.nan, 0.0, -1.0, np.inf])
@pytest.mark.parametrize("which", [0, 1])
def test_the_ratio_needs_twenty_valid_depths(hole: float, which: int) -> None:
    images = depths()
    images[which].flat[:80] = hole
    assert depth_ratio(*images) == pytest.approx(2.5)
    images[which].flat[80] = hole
    assert depth_ratio(*images) is None


def test_large_depth_images_are_subsampled_evenly() -> None:
    reference, predicted, confidence = depths(300_000)
    reference[0, :100_000] *= 10.0
    assert depth_ratio(reference, predicted, confidence) == pytest.approx(2.5)


def test_the_height_ratio_needs_both_heights() -> None:
    assert height_ratio(1.5, 0.5) == pytest.approx(3.0)
    for known, fitted in (
        (1.5, None),
        (0.0, 0.5),
        (1.5, 0.0),
        (1.5, -1.0),
        (math.nan, 1.0),
        (1.0, math.inf),
    ):
        assert height_ratio(known, fitted) is None
