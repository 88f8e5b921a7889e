# SPDX-License-Identifier: Apache-2.0
"""The covariance model of the odometry."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ttt3r_ros.geometry import T_BODY_OPTICAL
from ttt3r_ros.odometry.covariance import (
    MIN_ROTATION_STD_RAD,
    MIN_TRANSLATION_STD_M,
    OdometryCovariance,
)

TRANSLATION_ERROR, ROTATION_ERROR = 0.08, 0.05
SURE = 1e12  # a confidence whose factor is 1


def motion(*translation: float, turn: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
    T[:3, 3] = translation
    return T


AHEAD = motion(0.1, 0.0, 0.0)


def after(*steps: np.ndarray, confidence: float = SURE, after_reset: bool = False) -> OdometryCovariance:
    covariance = OdometryCovariance(TRANSLATION_ERROR, ROTATION_ERROR)
    for T_step in steps:
        covariance.propagate(T_step, 0.1, confidence, after_reset=after_reset)
    return covariance


def assert_is_covariance(matrix: np.ndarray) -> None:
    np.testing.assert_array_equal(matrix, matrix.T)
    assert np.linalg.eigvalsh(matrix).min() > 0.0


def test_the_first_pose_is_certain_and_the_first_velocity_is_not() -> None:
    covariance = after()
    assert_is_covariance(covariance.pose)
    assert covariance.pose.max() <= 1e-6
    np.testing.assert_array_equal(covariance.twist, np.eye(6))


def test_the_covariance_grows_along_the_path() -> None:
    covariance = after()
    for _ in range(50):
        before = covariance.pose
        covariance.propagate(AHEAD, 0.1, SURE, after_reset=False)
        assert np.linalg.eigvalsh(covariance.pose - before).min() > -1e-15
        assert (np.diag(covariance.pose) > np.diag(before)).all()


def test_a_heading_error_becomes_a_lateral_error_that_grows() -> None:
    near, far = after(*[AHEAD] * 100).pose, after(*[AHEAD] * 200).pose
    assert near[1, 1] > 1.3 * near[0, 0]
    assert far[1, 1] > 3.0 * near[1, 1]  # sideways faster than with the square root of the distance
    assert far[0, 0] == pytest.approx(2.0 * near[0, 0], rel=0.01)  # ahead just so
    assert far[1, 5] > 0.0  # turned left, it is too far left


def test_a_step_has_the_direction_before_its_rotation() -> None:
    lost = OdometryCovariance(0.0, 0.0)
    lost.propagate(motion(50.0, 0.0, 0.0, turn=(0.0, 0.0, np.pi / 2)), 0.1, SURE, after_reset=False)
    np.testing.assert_allclose(
        np.diag(lost.pose)[:3], 2 * MIN_TRANSLATION_STD_M**2 + np.array([0.0, 1.0, 1.0]) * 0.05**2
    )


def test_a_standing_camera_grows_by_the_minimum_only() -> None:
    pose = after(*[np.eye(4)] * 99).pose
    floors = [MIN_TRANSLATION_STD_M] * 3 + [MIN_ROTATION_STD_RAD] * 3
    np.testing.assert_allclose(pose, 100 * np.diag(np.square(floors)), rtol=1e-9)


def test_lower_confidence_means_faster_growth() -> None:
    steps = [motion(0.1, 0.0, 0.0, turn=(0.0, 0.0, 0.1))] * 20
    poses = [after(*steps, confidence=confidence).pose for confidence in (SURE, 10.0, 2.0, 1.0)]
    for surer, less_sure in pairwise(poses):
        assert np.linalg.eigvalsh(less_sure - surer).min() > 0.0
    np.testing.assert_allclose(after(AHEAD, confidence=1.0).twist, 9.0 * after(AHEAD).twist, rtol=1e-9)


@pytest.mark.parametrize("confidence", [np.nan, 0.0, -1.0])
def test_an_invalid_confidence_counts_as_the_lowest(confidence: float) -> None:
    expected = after(AHEAD, confidence=1.0).pose
    np.testing.assert_array_equal(after(AHEAD, confidence=confidence).pose, expected)


def test_steps_after_a_state_reset_have_three_times_the_deviation() -> None:
    settled, fresh = after(AHEAD), after(AHEAD, after_reset=True)
    np.testing.assert_allclose(fresh.twist, 9.0 * settled.twist, rtol=1e-12)
    assert np.linalg.eigvalsh(fresh.pose - settled.pose).min() > 0.0


def test_the_error_of_the_velocity_is_that_of_the_step_over_its_time() -> None:
    covariance = after()
    covariance.propagate(motion(0.5, 0.0, 0.0, turn=(0.0, 0.3, 0.0)), 0.2, SURE, after_reset=False)
    linear, angular = (0.08 * 0.5 + 0.001) / 0.2, (0.05 * 0.3 + 0.001) / 0.2
    np.testing.assert_allclose(covariance.twist, np.diag([linear**2] * 3 + [angular**2] * 3))


def test_a_step_without_duration_has_a_finite_velocity() -> None:
    covariance = after()
    covariance.propagate(AHEAD, 0.0, SURE, after_reset=False)
    assert np.isfinite(covariance.twist).all()


def test_a_reset_makes_the_pose_certain() -> None:
    covariance = after(*[AHEAD] * 10)
    covariance.reset()
    np.testing.assert_array_equal(covariance.pose, after().pose)
    np.testing.assert_array_equal(covariance.twist, after().twist)


def test_the_axes_are_those_of_odom_for_any_heading() -> None:
    covariance = after()
    T_odom_base = T_BODY_OPTICAL  # an optical camera that is the body itself; it goes along its z
    for _ in range(100):
        T_step = motion(0.0, 0.0, 0.1)
        T_odom_base = T_odom_base @ T_step
        covariance.propagate(T_step, 0.1, SURE, after_reset=False, T_odom_base=T_odom_base)
    np.testing.assert_allclose(covariance.pose, after(*[AHEAD] * 100).pose, rtol=1e-9, atol=1e-18)


steps = st.tuples(*[st.floats(-2.0, 2.0)] * 6).map(lambda v: motion(*v[:3], turn=v[3:]))


@given(st.lists(steps, max_size=30), st.floats(1.0, 1e6), st.booleans())
def test_both_are_symmetric_and_positive_definite_after_any_motion(
    motions: list[np.ndarray], confidence: float, after_reset: bool
) -> None:
    covariance = after(*motions, confidence=confidence, after_reset=after_reset)
    assert_is_covariance(covariance.pose)
    assert_is_covariance(covariance.twist)


def test_the_covariance_stays_positive_definite_on_a_long_path() -> None:
    assert_is_covariance(after(*[motion(0.05, 0.0, 0.0, turn=(0.0, 0.0, 0.001))] * 20_000).pose)


def test_the_covariance_agrees_with_a_simulation_of_a_curve() -> None:
    rng, count, confidence = np.random.default_rng(1), 5000, 4.0
    T_step = motion(0.2, 0.0, 0.05, turn=(0.0, 0.02, 0.06))
    std_t = 1.5 * (TRANSLATION_ERROR * np.linalg.norm(T_step[:3, 3]) + MIN_TRANSLATION_STD_M)
    std_r = 1.5 * (ROTATION_ERROR * np.hypot(0.02, 0.06) + MIN_ROTATION_STD_RAD)
    start = Rotation.from_euler("xyz", (0.3, -0.5, 2.0))

    # Many bodies drive the same curve with noise.
    turns = start * Rotation.from_rotvec(rng.normal(0.0, MIN_ROTATION_STD_RAD, (count, 3)))
    places = rng.normal(0.0, MIN_TRANSLATION_STD_M, (count, 3))
    T_true = np.eye(4)
    T_true[:3, :3] = start.as_matrix()
    covariance = after()
    for _ in range(60):
        places += turns.apply(T_step[:3, 3] + rng.normal(0.0, std_t, (count, 3)))
        errors = Rotation.from_rotvec(rng.normal(0.0, std_r, (count, 3)))
        turns = turns * Rotation.from_matrix(T_step[:3, :3]) * errors
        T_true = T_true @ T_step
        covariance.propagate(T_step, 0.1, confidence, after_reset=False, T_odom_base=T_true)

    about_fixed_axes = (turns * Rotation.from_matrix(T_true[:3, :3]).inv()).as_rotvec()
    deviations = np.concatenate((places - T_true[:3, 3], about_fixed_axes), axis=1)
    simulated = deviations.T @ deviations / count
    whitening = np.linalg.inv(np.linalg.cholesky(covariance.pose))
    agreement = np.linalg.eigvalsh(whitening @ simulated @ whitening.T)  # 1: the same along any axis
    assert 0.8 < agreement.min() <= agreement.max() < 1.2
