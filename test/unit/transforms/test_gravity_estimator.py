# SPDX-License-Identifier: Apache-2.0
"""Which way is up, from an IMU."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ttt3r_ros.geometry import T_BODY_OPTICAL
from ttt3r_ros.transforms.gravity_estimator import GravityEstimator, level_camera_pose

STEP_NS = 10_000_000
STILL = np.zeros(3)
UP = np.array([0.6, 0.0, 0.8])
components = st.floats(-1.0, 1.0)
directions = (
    st.tuples(components, components, components)
    .map(np.array)
    .filter(lambda vector: np.linalg.norm(vector) > 1e-2)
    .map(lambda vector: vector / np.linalg.norm(vector))
)


def at_rest(count: int = 100, start_ns: int = 0) -> GravityEstimator:
    estimator = GravityEstimator()
    noise = np.random.default_rng(0).normal(0.0, 0.1, (count, 3))
    for index in range(count):
        estimator.add(start_ns + index * STEP_NS, 9.81 * UP + noise[index], STILL, None)
    return estimator


def test_at_rest_up_is_the_mean_specific_force() -> None:
    up = at_rest().up()
    assert up is not None
    assert np.linalg.norm(up) == pytest.approx(1.0)
    np.testing.assert_allclose(up, UP, atol=0.005)


def test_before_the_first_message_up_is_unknown() -> None:
    assert GravityEstimator().up() is None


@pytest.mark.parametrize(("force", "turn"), [(9.0, 0.0), (10.5, 0.0), (9.81, 0.4)])
def test_while_moving_up_is_unknown(force: float, turn: float) -> None:
    estimator = GravityEstimator()
    for index in range(10):
        estimator.add(index * STEP_NS, force * UP, np.array([0.0, turn, 0.0]), None)
    assert estimator.up() is None


def test_a_quiet_moment_within_motion_is_not_used() -> None:
    estimator = GravityEstimator()
    for index in range(10):
        estimator.add(index * STEP_NS, (9.81 if index == 5 else 12.0) * UP, STILL, None)
    assert estimator.up() is None


def test_a_jolt_at_rest_does_not_count() -> None:
    estimator = at_rest()
    estimator.add(100 * STEP_NS, np.array([0.0, 30.0, 0.0]), STILL, None)
    np.testing.assert_allclose(estimator.up(), UP, atol=0.005)


def test_only_the_last_second_counts() -> None:
    estimator = at_rest(start_ns=0)
    for index in range(60):
        estimator.add(2_000_000_000 + index * STEP_NS, np.array([0.0, 9.81, 0.0]), STILL, None)
    np.testing.assert_allclose(estimator.up(), [0.0, 1.0, 0.0], atol=1e-12)


def test_when_time_goes_back_the_past_is_removed() -> None:
    estimator = at_rest(start_ns=5_000_000_000)
    estimator.add(0, np.array([0.0, 9.81, 0.0]), STILL, None)
    np.testing.assert_allclose(estimator.up(), [0.0, 1.0, 0.0], atol=1e-12)


def test_without_a_gyroscope_the_force_alone_detects_rest() -> None:
    estimator = GravityEstimator()
    estimator.add(0, 9.81 * UP, None, None)
    np.testing.assert_allclose(estimator.up(), UP, atol=1e-12)


def test_the_imu_s_own_orientation_is_preferred_and_may_be_of_any_length() -> None:
    rotation = Rotation.from_euler("xyz", (0.4, -0.7, 1.0))
    estimator = at_rest()
    estimator.add(100 * STEP_NS, np.array([20.0, 0.0, 0.0]), STILL, 2.0 * rotation.as_quat())
    np.testing.assert_allclose(estimator.up(), rotation.inv().apply([0.0, 0.0, 1.0]), atol=1e-12)


def test_values_that_are_not_finite_or_not_measured_are_passed_over() -> None:
    estimator = at_rest()
    before = estimator.up()
    estimator.add(100 * STEP_NS, np.full(3, np.nan), STILL, None)
    estimator.add(100 * STEP_NS, np.full(3, np.nan), STILL, np.zeros(4))
    estimator.add(100 * STEP_NS, np.full(3, np.nan), STILL, np.full(4, np.nan))
    np.testing.assert_array_equal(estimator.up(), before)


def test_a_camera_held_level_gets_the_fixed_rotation_of_rep_103() -> None:
    np.testing.assert_array_equal(level_camera_pose(np.array([0.0, -1.0, 0.0])), T_BODY_OPTICAL)


@given(directions, st.floats(0.1, 20.0))
def test_a_leveled_map_has_up_along_z_and_the_optical_axis_ahead(up: np.ndarray, length: float) -> None:
    T = level_camera_pose(length * up)
    np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(T[:3, :3]) == pytest.approx(1.0)
    np.testing.assert_array_equal(T[:, 3], [0, 0, 0, 1])
    np.testing.assert_allclose(T[:3, :3] @ up, [0.0, 0.0, 1.0], atol=1e-12)
    if abs(up[2]) < 0.99:
        ahead = T[:3, 2]
        assert ahead[0] > 0.0
        assert ahead[1] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("up_z", [1.0, -1.0])
def test_a_vertical_camera_has_the_image_s_upper_edge_ahead(up_z: float) -> None:
    T = level_camera_pose(np.array([0.001, 0.002, up_z]))
    np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(T[:3, :3] @ (0.0, -1.0, 0.0), [1.0, 0.0, 0.0], atol=0.005)


@pytest.mark.parametrize("value", [0.0, 1e-300, 1e300, np.nan, np.inf])
def test_orientations_and_vectors_without_a_direction_are_not_used(value: float) -> None:
    estimator = GravityEstimator()
    for stamp_ns in range(3):
        estimator.add(stamp_ns, np.full(3, np.nan), None, np.full(4, value))
    assert estimator.up() is None
    for stamp_ns in range(3, 6):
        estimator.add(stamp_ns, np.full(3, value), np.zeros(3), np.array([0.0, 0.0, value, 0.0]))
    assert estimator.up() is None
    estimator.add(6, np.full(3, value), None, np.array([0.0, 0.0, 0.0, 1.0]))
    np.testing.assert_allclose(estimator.up(), [0.0, 0.0, 1.0])
    if value != 1e300:
        with pytest.raises(ValueError, match="up vector"):
            level_camera_pose(np.full(3, value))
