# SPDX-License-Identifier: Apache-2.0
"""Accuracy, completion and normals of clouds whose distances are known; ICP that finds a known motion."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from ttt3r_ros.errors import SourceError
from ttt3r_ros.evaluation.metrics import surfaces
from ttt3r_ros.evaluation.metrics.surfaces import (
    Surface,
    register_icp,
    rigid_motion,
    subsample,
    surface_error,
)
from ttt3r_ros.geometry import pose_matrix, transform


def plane(side_m: float = 2.0, count: int = 60) -> np.ndarray:
    """Return a square of points (N, 3) at z = 0."""
    x, y = np.meshgrid(np.linspace(0, side_m, count), np.linspace(0, side_m, count))
    return np.stack((x.ravel(), y.ravel(), np.zeros(x.size)), axis=1)


@pytest.mark.parametrize("shift_m", [0.0, 0.01, 0.5])
def test_a_plane_shifted_along_its_normal_is_off_by_the_shift_both_ways(shift_m: float) -> None:
    error = surface_error(Surface(plane() + [0.0, 0.0, shift_m]), Surface(plane()))
    for figure in ("accuracy_mean", "accuracy_median", "completion_mean", "completion_median"):
        assert getattr(error, figure) == pytest.approx(shift_m, abs=1e-9), figure
    assert (error.normals_mean, error.normals_median) == pytest.approx((1.0, 1.0))


def test_missing_points_change_completion_and_not_accuracy() -> None:
    whole = plane()
    half = whole[whole[:, 0] <= 1.0]
    error = surface_error(Surface(half), Surface(whole))
    assert error.accuracy_mean == pytest.approx(0.0, abs=1e-12)
    uncovered = np.maximum(whole[:, 0] - half[:, 0].max(), 0.0)
    assert error.completion_mean == pytest.approx(uncovered.mean())
    assert error.completion_median == pytest.approx(np.median(uncovered))


def test_extra_points_change_accuracy_and_not_completion() -> None:
    whole = plane()
    error = surface_error(Surface(np.concatenate((whole, whole + [0.0, 0.0, 1.0]))), Surface(whole))
    assert error.accuracy_mean == pytest.approx(0.5)
    assert error.completion_mean == pytest.approx(0.0, abs=1e-12)


def test_normals_of_a_plane_turned_by_an_angle_differ_by_its_cosine() -> None:
    turned = transform(pose_matrix(np.array([0, 0, 0, np.cos(0.25), np.sin(0.25), 0, 0])), plane())
    error = surface_error(Surface(turned), Surface(plane()))
    assert error.normals_mean == pytest.approx(np.cos(0.5), abs=1e-6)
    assert error.normals_accuracy_mean == pytest.approx(error.normals_completion_median, abs=1e-6)


def test_icp_finds_a_small_motion() -> None:
    T = pose_matrix(np.array([0.03, -0.02, 0.02, 1.0, 0.008, -0.005, 0.01]))
    cloud = np.random.default_rng(0).uniform(-1.0, 1.0, (2000, 3))
    found = register_icp(Surface(transform(np.linalg.inv(T), cloud)), Surface(cloud), within_m=0.1)
    np.testing.assert_allclose(found, T, atol=1e-6)


def test_icp_leaves_clouds_alone_that_are_out_of_its_reach() -> None:
    far = plane() + [0.0, 0.0, 0.11]
    np.testing.assert_array_equal(register_icp(Surface(far), Surface(plane()), within_m=0.1), np.eye(4))


def test_correspondences_determine_the_motion_exactly() -> None:
    T = pose_matrix(np.array([1.0, 2.0, -3.0, 0.3, -0.5, 0.7, 0.2]))
    points = np.random.default_rng(1).normal(size=(20, 3))
    np.testing.assert_allclose(rigid_motion(points, transform(T, points)), T, atol=1e-12)


def test_thinning_is_the_same_every_time_and_keeps_the_order() -> None:
    rows = np.arange(1000)
    few = subsample(rows, 100)
    assert len(few) == 100
    assert (np.diff(few) > 0).all()
    np.testing.assert_array_equal(few, subsample(rows, 100))
    assert subsample(rows, 1000) is rows


def test_two_points_are_no_surface() -> None:
    with pytest.raises(SourceError, match="a cloud of 2 points is no surface; expected at least 3"):
        Surface(np.zeros((2, 3)))


def bumpy(count: int, seed: int = 0) -> np.ndarray:
    """Return random points (N, 3) of an uneven floor."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0.0, 2.0, (2, count))
    return np.stack((x, y, 0.1 * np.sin(5 * x) + rng.normal(scale=0.005, size=count)), axis=1)


def test_a_normal_is_that_of_exactly_thirty_neighbors_of_the_whole_cloud() -> None:
    cloud = bumpy(2000)
    index = np.array([3, 700, 1500])
    for k, normal in zip(index, Surface(cloud).normals(index), strict=True):
        nearest = cloud[np.argsort(np.linalg.norm(cloud - cloud[k], axis=1))[:30]]
        expected = np.linalg.svd(nearest - nearest.mean(axis=0))[2][2]
        assert abs(normal @ expected) == pytest.approx(1.0, abs=1e-9)


def test_normals_are_compared_both_ways() -> None:
    """A missing wall changes only completion: its nearest points on the floor have other normals."""
    floor = plane()
    wall = floor[floor[:, 0] > 0.2][:, [2, 1, 0]]
    error = surface_error(Surface(floor), Surface(np.concatenate((floor, wall))))
    assert error.normals_accuracy_mean > 0.95
    assert error.normals_completion_mean < 0.65
    both = (error.normals_accuracy_mean + error.normals_completion_mean) / 2
    assert error.normals_mean == pytest.approx(both)


def test_a_cloud_compared_after_a_similarity_is_one_that_was_moved_by_it() -> None:
    S = pose_matrix(np.array([0.3, -0.1, 0.2, 0.9, 0.1, -0.3, 0.2]))
    S[:3, :3] *= 1.7
    predicted, true = bumpy(900), transform(S, bumpy(800, seed=1)) + [0.0, 0.0, 0.05]
    moved = surface_error(Surface(transform(S, predicted)), Surface(true))
    same = surface_error(Surface(predicted), Surface(true), S)
    for figure, value in asdict(moved).items():
        assert getattr(same, figure) == pytest.approx(value, rel=1e-6), figure


def test_large_clouds_are_searched_whole_and_only_the_queries_are_subsampled(monkeypatch) -> None:
    monkeypatch.setattr(surfaces, "_MOST_MEASURED", 500)
    cloud = np.random.default_rng(0).uniform(0.0, 1.0, (2_000_500, 3))
    error = surface_error(Surface(cloud), Surface(cloud[::-1]))
    assert (error.accuracy_mean, error.completion_mean) == (0.0, 0.0)
    assert error.normals_mean == pytest.approx(1.0)
    assert surfaces.MOST_POINTS >= 500 * 224 * 224, "the longest published reconstruction is not thinned"
