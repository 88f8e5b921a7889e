# SPDX-License-Identifier: Apache-2.0
"""Errors of trajectories that do not determine the whole alignment: straight, standing, two poses, one pose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttt3r_ros.evaluation.metrics.alignment import LINE, POINT
from ttt3r_ros.evaluation.metrics.trajectory import TrajectoryError, compare_trajectories
from ttt3r_ros.geometry import pose_matrix, so3_exp

pytest.importorskip("evo")
IDENTITY = np.eye(4)
NOW_NS = 1_785_000_000 * 10**9
T_OTHER = pose_matrix(np.array([5.0, -3.0, 1.0, 0.3, 0.5, -0.7, 0.2]))
Stamped = list[tuple[int, np.ndarray]]


def path(positions, T_world=IDENTITY) -> Stamped:
    """Return poses at positions (N, 3), ten a second."""
    poses = []
    for index, position in enumerate(positions):
        T = np.eye(4)
        T[:3, 3] = position
        poses.append((NOW_NS + index * 10**8, T_world @ T))
    return poses


def straight(step: float = 1.0, count: int = 5) -> np.ndarray:
    return np.outer(step * np.arange(count), [0.6, 0.0, 0.8])


def errors(truth, estimate, T_world=T_OTHER) -> TrajectoryError:
    return compare_trajectories(path(truth), path(estimate, T_world)).error


@pytest.mark.parametrize("T_world", [np.eye(4), T_OTHER, np.diag([-1.0, 1.0, -1.0, 1.0])])
def test_a_straight_line_determines_everything_but_the_rotation_about_it(T_world):
    error = errors(straight(), straight(), T_world)
    assert (error.se3_m, error.sim3_m, error.scale) == pytest.approx((0, 0, 1), abs=1e-9)
    assert (error.length_m, error.pairs, error.steps) == (pytest.approx(4), 5, 4)
    assert error.undetermined == LINE


def test_the_alignment_of_a_line_maps_the_estimate_onto_the_truth():
    estimate = path(straight(), T_OTHER)
    comparison = compare_trajectories(path(straight()), estimate)
    np.testing.assert_allclose(comparison.true_in_estimate(), [T[:3, 3] for _, T in estimate], atol=1e-9)
    rotation = comparison.error.T_truth_estimate[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_a_scale_error_along_a_line_is_measured():
    """Positions -2, -1, 0, 1, 2 against twice that: the rigid errors are 2, 1, 0, 1, 2."""
    error = errors(straight(), straight(2.0))
    assert error.se3_m == pytest.approx(np.sqrt((4 + 1 + 0 + 1 + 4) / 5))
    assert (error.sim3_m, error.scale) == pytest.approx((0, 0.5), abs=1e-9)
    assert error.scale_spread == pytest.approx(1)
    assert (error.rpe_m, error.rpe_sim3_m) == pytest.approx((1, 0), abs=1e-9)


angles = st.floats(-3, 3)
offsets = st.floats(-1e4, 1e4)


@settings(max_examples=100, deadline=None)
@given(
    along=st.lists(st.floats(-100, 100), min_size=2, max_size=8).filter(lambda x: max(x) - min(x) > 0.1),
    across=st.lists(st.floats(-1, 1), min_size=8, max_size=8),
    turn=st.tuples(angles, angles, angles),
    offset=st.tuples(offsets, offsets, offsets),
    roll=angles,
)
def test_errors_do_not_depend_on_the_rotation_about_a_straight_truth(along, across, turn, offset, roll):
    """The estimate leaves the line; a rotation about the line and any motion of its world change no figure."""
    line = np.outer(along, [1.0, 0.0, 0.0])
    estimate = line + np.outer(across[: len(along)], [0.0, 1.0, 0.0])
    T_roll, T_world = np.eye(4), np.eye(4)
    T_roll[:3, :3] = so3_exp(np.array([roll, 0, 0]))
    T_world[:3, :3], T_world[:3, 3] = so3_exp(np.array(turn)), offset
    first, second = (errors(line, estimate, T) for T in (IDENTITY, T_world @ T_roll))
    names = ("se3_m", "sim3_m", "scale", "scale_spread", "rpe_m", "rpe_sim3_m")
    figures = [[getattr(error, name) for name in names] for error in (first, second)]
    np.testing.assert_allclose(figures[1], figures[0], rtol=1e-6, atol=1e-6)
    assert first.undetermined == second.undetermined == LINE


@settings(max_examples=100, deadline=None)
@given(place=st.tuples(offsets, offsets, offsets), turn=st.tuples(angles, angles, angles))
def test_errors_of_a_standing_camera_are_zero_in_every_world(place, turn):
    T_world = np.eye(4)
    T_world[:3, :3], T_world[:3, 3] = so3_exp(np.array(turn)), place
    error = errors(np.full((5, 3), 0.3), np.full((5, 3), 0.3), T_world)
    assert (error.se3_m, error.sim3_m, error.rpe_m) == pytest.approx((0, 0, 0), abs=1e-8)
    assert (np.isnan(error.scale), error.undetermined) == (True, POINT)


def test_errors_are_continuous_from_a_curved_path_to_a_straight_one():
    """A bend of 1e-3 m to 0 m in truth and estimate: the alignment loses a rank, the errors do not jump."""
    bend = np.outer([1, -1, 0, -1, 1], [0.0, 1.0, 0.0])
    results = {
        size: errors(straight() + size * bend, straight(1.1) + size * bend)
        for size in (0, 1e-12, 1e-9, 1e-6, 1e-3)
    }
    for error in results.values():
        assert error.se3_m == pytest.approx(results[0].se3_m, abs=1e-5)
        assert (error.sim3_m, error.scale) == pytest.approx((0, 1 / 1.1), abs=1e-3)
    assert [error.undetermined for error in results.values()] == [LINE, LINE, LINE, "", ""]


def test_drift_across_a_line_is_an_error_for_every_rotation():
    """The estimate leaves the line by 1, -1, 0, -1, 1 across it, which is uncorrelated with the line."""
    across = np.outer([1, -1, 0, -1, 1], [0.0, 1.0, 0.0])
    error = errors(straight(), straight() + across)
    assert error.se3_m == pytest.approx(np.sqrt(4 / 5))
    assert error.scale == pytest.approx(10 / 14)  # sums of squares along the line and of the estimate
    assert error.sim3_m == pytest.approx(np.sqrt(2 - 10 / 14 * 2))
    assert error.undetermined == LINE


def test_a_planar_truth_and_a_straight_estimate_are_aligned_along_the_line():
    across = np.outer([1, -1, 0, -1, 1], [0.0, 1.0, 0.0])
    error = errors(straight() + across, straight())
    assert error.se3_m == pytest.approx(np.sqrt(4 / 5))
    assert error.undetermined == LINE


def test_a_planar_path_determines_the_whole_alignment():
    square = np.array([[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0]], float)
    error = errors(square, square * 2)
    assert (error.sim3_m, error.scale) == pytest.approx((0, 0.5), abs=1e-9)
    assert error.se3_m == pytest.approx(np.sqrt(2))  # every corner is sqrt(2) m too far from the middle
    assert error.undetermined == ""


@pytest.mark.parametrize("place", [0.0, 0.1, 1234.5])
def test_standing_still_determines_the_translation_only(place):
    standing = np.full((5, 3), place)
    error = errors(standing, standing)
    assert (error.se3_m, error.sim3_m) == pytest.approx((0, 0), abs=1e-9)
    assert np.isnan([error.scale, error.scale_spread]).all()
    assert (error.length_m, error.undetermined) == (0, POINT)


def test_drift_of_an_estimate_is_measured_where_the_camera_stood_still():
    error = errors(np.full((5, 3), 0.1), straight())
    assert error.se3_m == pytest.approx(np.sqrt((4 + 1 + 0 + 1 + 4) / 5))
    assert error.sim3_m == error.se3_m
    assert np.isnan(error.scale)


def test_an_estimate_that_stands_still_has_the_extent_of_the_path_as_error():
    error = errors(straight(), np.full((5, 3), 0.1))
    assert error.se3_m == pytest.approx(np.sqrt((4 + 1 + 0 + 1 + 4) / 5))
    assert error.undetermined == POINT


def test_two_poses_are_a_line():
    error = errors(straight(1.0, 2), straight(3.0, 2))
    assert (error.se3_m, error.sim3_m, error.scale) == pytest.approx((1, 0, 1 / 3), abs=1e-9)
    assert (error.pairs, error.steps, error.undetermined) == (2, 1, LINE)


def test_one_pose_is_a_point():
    error = errors(straight(1.0, 1), straight(3.0, 1))
    assert (error.se3_m, error.sim3_m) == pytest.approx((0, 0), abs=1e-9)
    assert np.isnan([error.scale, error.rpe_m, error.rpe_deg]).all()
    assert (error.pairs, error.steps, error.undetermined) == (1, 0, POINT)
