# SPDX-License-Identifier: Apache-2.0
"""Accuracy, completion and normals of clouds whose distances are known; ICP that finds a known motion."""

from __future__ import annotations

import numpy as np
import pytest

from ttt3r_ros.errors import SourceError
from ttt3r_ros.evaluation.surfaces import Surface, registered, rigid_motion, surface_error, thinned
from ttt3r_ros.geometry import pose_matrix, transform


def plane(side_m: float = 2.0, count: int = 60) -> np.ndarray:
    """Return a square of points (N, 3) at z = 0."""
    x, y = np.meshgrid(np.linspace(0, side_m, count), np.linspace(0, side_m, count))
    return np.stack((x.ravel(), y.ravel(), np.zeros(x.size)), axis=1)


@pytest.mark.parametrize("shift_m", [0.0, 0.01, 0.5])
def test_a_plane_shifted_along_its_normal_is_off_by_the_shift_both_ways(shift_m: float) -> None:
    error = surface_error(plane() + [0.0, 0.0, shift_m], plane())
    for figure in ("accuracy_mean", "accuracy_median", "completion_mean", "completion_median"):
        assert getattr(error, figure) == pytest.approx(shift_m, abs=1e-9), figure
    assert (error.normals_mean, error.normals_median) == pytest.approx((1.0, 1.0))


def test_what_is_missing_costs_completion_and_not_accuracy() -> None:
    whole = plane()
    half = whole[whole[:, 0] <= 1.0]
    error = surface_error(half, whole)
    assert error.accuracy_mean == pytest.approx(0.0, abs=1e-12)
    uncovered = np.maximum(whole[:, 0] - half[:, 0].max(), 0.0)
    assert error.completion_mean == pytest.approx(uncovered.mean())
    assert error.completion_median == pytest.approx(np.median(uncovered))


def test_what_is_too_much_costs_accuracy_and_not_completion() -> None:
    whole = plane()
    error = surface_error(np.concatenate((whole, whole + [0.0, 0.0, 1.0])), whole)
    assert error.accuracy_mean == pytest.approx(0.5)
    assert error.completion_mean == pytest.approx(0.0, abs=1e-12)


def test_normals_of_a_plane_turned_by_an_angle_differ_by_its_cosine() -> None:
    turned = transform(pose_matrix(np.array([0, 0, 0, np.cos(0.25), np.sin(0.25), 0, 0])), plane())
    error = surface_error(turned, plane())
    assert error.normals_mean == pytest.approx(np.cos(0.5), abs=1e-6)
    assert error.normals_accuracy_mean == pytest.approx(error.normals_completion_median, abs=1e-6)


def test_icp_finds_a_small_motion() -> None:
    T = pose_matrix(np.array([0.03, -0.02, 0.02, 1.0, 0.008, -0.005, 0.01]))
    cloud = np.random.default_rng(0).uniform(-1.0, 1.0, (2000, 3))
    found = registered(transform(np.linalg.inv(T), cloud), cloud, within_m=0.1)
    np.testing.assert_allclose(found, T, atol=1e-6)


def test_icp_leaves_clouds_alone_that_are_out_of_its_reach() -> None:
    far = plane() + [0.0, 0.0, 0.11]
    np.testing.assert_array_equal(registered(far, plane(), within_m=0.1), np.eye(4))


def test_partners_tell_the_motion_exactly() -> None:
    T = pose_matrix(np.array([1.0, 2.0, -3.0, 0.3, -0.5, 0.7, 0.2]))
    points = np.random.default_rng(1).normal(size=(20, 3))
    np.testing.assert_allclose(rigid_motion(points, transform(T, points)), T, atol=1e-12)


def test_thinning_is_the_same_every_time_and_keeps_the_order() -> None:
    rows = np.arange(1000)
    few = thinned(rows, 100)
    assert len(few) == 100
    assert (np.diff(few) > 0).all()
    np.testing.assert_array_equal(few, thinned(rows, 100))
    assert thinned(rows, 1000) is rows


def test_two_points_are_no_surface() -> None:
    with pytest.raises(SourceError, match="a cloud of 2 points is no surface; expected at least 3"):
        Surface(np.zeros((2, 3)))
