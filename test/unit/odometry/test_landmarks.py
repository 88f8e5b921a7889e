# SPDX-License-Identifier: Apache-2.0
"""Pose estimation and depth updates with exact landmarks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from motions import motion

from ttt3r_ros.geometry import se3_inverse, so3_log
from ttt3r_ros.odometry.landmarks import (
    DEPTH_STD_RATIO,
    MIN_INVERSE_DEPTH,
    PIXEL_STD,
    ROBUST_SCALE,
    Landmarks,
    Reprojection,
    estimate_pose,
    update_depths,
)
from ttt3r_ros.odometry.visual_odometry import OUTLIER
from ttt3r_ros.types import Intrinsics

CAMERA = Intrinsics(200.0, 190.0, 83.5, 58.25, 160, 120)
FIRST = motion(turn=(0.4, -1.1, 0.3), move=(3.0, -2.0, 0.5))  # the world is no camera's own
DEPTH_M = (1.5, 6.0)
SURE = 0.0  # variance of a depth that is known


def landmarks(count: int = 100, seed: int = 0, variance: float | None = None) -> Landmarks:
    """Return landmarks of exact depth in the whole image of the first camera."""
    rng = np.random.default_rng(seed)
    # In double precision, so that exact observations give exact results.
    pixels: Any = rng.uniform((0.0, 0.0), (CAMERA.width - 1, CAMERA.height - 1), (count, 2))
    seen = Landmarks.initialize(pixels, rng.uniform(*DEPTH_M, count), CAMERA, FIRST)
    return seen if variance is None else replace(seen, variance=np.full(count, variance))


def project(marks: Landmarks, T_world_camera: np.ndarray) -> np.ndarray:
    """Return the pixels (N, 2) of a pinhole camera, without code of the product."""
    points = marks.origin + marks.ray / marks.inverse_depth[:, None]
    homogeneous = (points - T_world_camera[:3, 3]) @ T_world_camera[:3, :3] @ CAMERA.matrix().T
    projected: np.ndarray = homogeneous[:, :2] / homogeneous[:, 2:]
    return projected


def observe(marks: Landmarks, T_world_camera: np.ndarray, truth: Landmarks | None = None) -> Landmarks:
    """Return landmarks with exact observations of a camera."""
    return replace(marks, pixels=project(truth or marks, T_world_camera))


def deviation(T: np.ndarray, T_true: np.ndarray) -> float:
    """Return the largest error of a camera, in units and in rad."""
    T_error = se3_inverse(T_true) @ T
    return float(np.abs([T_error[:3, 3], so3_log(T_error[:3, :3])]).max())


Triple = tuple[float, float, float]


def triples(largest: float) -> st.SearchStrategy[Triple]:
    return st.tuples(*[st.floats(-largest, largest)] * 3)


@given(triples(0.1), triples(0.09), triples(0.1), triples(0.09), st.integers(0, 9))
def test_the_true_pose_is_found_from_ten_centimeters_and_five_degrees_away(
    move: Triple, turn: Triple, guess_move: Triple, guess_turn: Triple, seed: int
) -> None:
    T_true = FIRST @ motion(turn, move)
    seen = observe(landmarks(seed=seed), T_true)
    T, mahalanobis_sq = estimate_pose(seen, CAMERA, T_true @ motion(guess_turn, guess_move))
    assert deviation(T, T_true) < 1e-6  # steps smaller than that end the search
    assert mahalanobis_sq.max() < 1e-6
    np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-12)


def farthest_pull(marks: Landmarks, T_world_camera: np.ndarray, mahalanobis_sq: np.ndarray) -> float:
    """Return how far outliers, the first 30 landmarks, can move the camera if all errors have one direction.

    The weight leaves of an error of e standard deviations e / (1 + e^2 / ROBUST_SCALE^2)^2; the others resist.
    """
    view = Reprojection.compute(marks, CAMERA, T_world_camera)
    direction = view.jacobian_inverse_depth
    covariance = view.noise * np.eye(2) + np.einsum("n,ni,nj->nij", marks.variance, direction, direction)
    jacobian_pose = view.jacobian_pose()
    resistance = np.einsum(
        "nia,nij,njb->ab", jacobian_pose[30:], np.linalg.inv(covariance[30:]), jacobian_pose[30:]
    )
    moved = np.einsum("ab,nib->nai", np.linalg.inv(resistance), jacobian_pose[:30]) / np.sqrt(view.noise)
    pull = np.sqrt(mahalanobis_sq[:30]) / (1.0 + mahalanobis_sq[:30] / ROBUST_SCALE**2) ** 2
    return float((np.linalg.norm(moved, axis=2) * pull[:, None]).sum(axis=0).max())


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("together", [False, True], ids=["independent", "one moving object"])
def test_the_pose_is_found_among_thirty_percent_of_outliers(seed: int, together: bool) -> None:
    rng = np.random.default_rng(seed)
    T_true = FIRST @ motion(rng.uniform(-0.05, 0.05, 3), rng.uniform(-0.05, 0.05, 3))
    seen = observe(landmarks(seed=seed), T_true)
    bearing = rng.uniform(0.0, 2.0 * np.pi, 1 if together else 30)
    aside = np.column_stack((np.cos(bearing), np.sin(bearing)))
    seen.pixels[:30] += aside * (30.0 if together else rng.uniform(20.0, 60.0, (30, 1)))
    guess = T_true @ motion(rng.uniform(-0.05, 0.05, 3), rng.uniform(-0.05, 0.05, 3))
    T, mahalanobis_sq = estimate_pose(seen, CAMERA, guess)
    # Measured: up to half of that, which is 0.5 to 8 mm (or mrad); the worst of 300 cameras was 2 mm off.
    assert deviation(T, T_true) < min(0.008, farthest_pull(seen, T, mahalanobis_sq))
    # 20 px are 8 standard deviations of a point 1.5 away after 9 cm, whose depth may be wrong by a fifth.
    assert mahalanobis_sq[:30].min() > OUTLIER
    assert mahalanobis_sq[30:].max() < 0.1


def test_the_mahalanobis_distance_of_an_exact_landmark_is_in_track_deviations() -> None:
    square = replace(CAMERA, fy=CAMERA.fx)
    seen = Landmarks.initialize(np.array([[80.0, 60.0]]), np.array([2.0]), square, FIRST)
    moved = replace(seen, pixels=seen.pixels + (3.0, -4.0), variance=np.zeros(1))
    mahalanobis_sq = Reprojection.compute(moved, square, FIRST).mahalanobis_sq()
    np.testing.assert_allclose(mahalanobis_sq, [(5.0 / PIXEL_STD) ** 2])


def test_the_mahalanobis_distance_allows_depth_errors_along_the_ray_only() -> None:
    beside = FIRST @ motion(move=(0.1, 0.0, 0.0))
    seen = observe(landmarks(), beside)
    along, across = (
        Reprojection.compute(replace(seen, pixels=seen.pixels + aside), CAMERA, beside).mahalanobis_sq()
        for aside in ((2.0, 0.0), (0.0, 2.0))
    )
    noise = PIXEL_STD**2 / (CAMERA.fx * CAMERA.fy)
    by_depth = (DEPTH_STD_RATIO * seen.inverse_depth * 0.1) ** 2  # variance of the place along x
    np.testing.assert_allclose(along, (2.0 / CAMERA.fx) ** 2 / (noise + by_depth))
    np.testing.assert_allclose(across, (2.0 / CAMERA.fy) ** 2 / noise)


@given(triples(0.4), triples(0.4), st.integers(0, 9))
def test_the_jacobians_equal_finite_differences(move: Triple, turn: Triple, seed: int) -> None:
    marks, T_world_camera = landmarks(20, seed), FIRST @ motion(turn, move)
    view = Reprojection.compute(marks, CAMERA, T_world_camera)
    tiny = 1e-6
    by_depth = [
        Reprojection.compute(
            replace(marks, inverse_depth=marks.inverse_depth + h), CAMERA, T_world_camera
        ).predicted
        for h in (-tiny, tiny)
    ]
    np.testing.assert_allclose(
        view.jacobian_inverse_depth, (by_depth[1] - by_depth[0]) / (2 * tiny), atol=1e-7
    )
    for axis, unit in enumerate(np.eye(6) * tiny):
        # A motion of the scene by a step is one of the camera by its inverse.
        by_motion = [
            Reprojection.compute(
                marks, CAMERA, T_world_camera @ se3_inverse(motion(h * unit[3:], h * unit[:3]))
            ).predicted
            for h in (-1, 1)
        ]
        found = (by_motion[1] - by_motion[0]) / (2 * tiny)
        np.testing.assert_allclose(view.jacobian_pose()[..., axis], found, atol=1e-7)


def test_a_landmark_is_a_pixel_center_at_a_depth_along_the_optical_axis() -> None:
    camera = Intrinsics(100.0, 50.0, 10.0, 20.0, 200, 100)
    pixels = np.array([[10.0, 20.0], [110.0, 70.0]], np.float32)
    seen = Landmarks.initialize(pixels, np.array([4.0, 2.0]), camera, motion(move=(7.0, 0.0, 0.0)))
    points = seen.origin + seen.ray / seen.inverse_depth[:, None]
    np.testing.assert_allclose(points, [[7.0, 0.0, 4.0], [9.0, 2.0, 2.0]])
    np.testing.assert_allclose(
        seen.variance, [(DEPTH_STD_RATIO / 4.0) ** 2, (DEPTH_STD_RATIO / 2.0) ** 2]
    )
    view = Reprojection.compute(
        seen, camera, motion(move=(8.0, 0.0, 1.0))
    )  # one to the right, one ahead
    np.testing.assert_allclose(view.depth, [3.0, 1.0])
    np.testing.assert_allclose(view.predicted, [[-1 / 3, 0.0], [1.0, 2.0]])
    np.testing.assert_allclose(view.error, [[1 / 3, 0.0], [0.0, -1.0]], atol=1e-15)


def test_the_first_reprojection_has_no_error() -> None:
    view = Reprojection.compute(landmarks(), CAMERA, FIRST)
    np.testing.assert_allclose(view.error, 0.0, atol=1e-12)
    np.testing.assert_array_equal(view.jacobian_inverse_depth, 0.0)


def wrong(marks: Landmarks, seed: int = 5) -> Landmarks:
    """Return landmarks whose depths are a fifth too large or too small."""
    signs = np.random.default_rng(seed).choice((0.8, 1.2), len(marks))
    return replace(
        marks,
        inverse_depth=marks.inverse_depth / signs,
        variance=(DEPTH_STD_RATIO * marks.inverse_depth / signs) ** 2,
    )


def share_wrong(marks: Landmarks, truth: Landmarks) -> np.ndarray:
    share: np.ndarray = np.abs(truth.inverse_depth / marks.inverse_depth - 1.0)
    return share


def test_lateral_views_reduce_depth_errors_with_their_variance() -> None:
    truth = landmarks()
    better = first = wrong(truth)
    for k in range(1, 11):
        T = FIRST @ motion(move=(0.05 * k, 0.03 * k, 0.0))  # in the plane of the image: all is linear
        better = update_depths(observe(better, T, truth), CAMERA, T)
    noise = PIXEL_STD**2 / (CAMERA.fx * CAMERA.fy)
    known = (
        sum((k * np.hypot(0.05, 0.03)) ** 2 for k in range(1, 11)) / noise
    )  # 1 / variance of ten views
    left = 1.0 / (1.0 + first.variance * known)
    assert left.max() < 0.007
    np.testing.assert_allclose(better.variance, left * first.variance)
    expected = truth.inverse_depth + left * (first.inverse_depth - truth.inverse_depth)
    np.testing.assert_allclose(better.inverse_depth, expected)
    assert share_wrong(better, truth).max() < 0.25 * 0.007


@pytest.mark.parametrize("seed", range(5))
def test_a_path_with_turns_corrects_wrong_depths(seed: int) -> None:
    rng, truth = np.random.default_rng(seed), landmarks(seed=seed)
    better, T = wrong(truth), FIRST
    for _ in range(10):
        T = T @ motion(rng.uniform(-0.03, 0.03, 3), (0.05, rng.uniform(-0.03, 0.03), 0.02))
        better = update_depths(observe(better, T, truth), CAMERA, T)
    assert share_wrong(better, truth).max() < 0.004, "measured: 0.0018"


def test_a_pure_rotation_changes_no_depth() -> None:
    marks = wrong(landmarks())
    rng = np.random.default_rng(3)
    for k in range(1, 6):
        T = FIRST @ motion(turn=(0.02 * k, -0.05 * k, 0.03 * k))
        noisy = observe(marks, T)
        noisy.pixels += rng.normal(0.0, 3.0, noisy.pixels.shape)
        after = update_depths(noisy, CAMERA, T)
        np.testing.assert_array_equal(after.inverse_depth, marks.inverse_depth)
        np.testing.assert_array_equal(after.variance, marks.variance)


@given(triples(3.0), triples(0.5), st.floats(-100.0, 100.0), st.floats(0.0, 1.0), st.integers(0, 99))
def test_an_observation_never_increases_the_variance(
    move: Triple, turn: Triple, pixels: float, share: float, seed: int
) -> None:
    mark = landmarks(1, seed)
    mark = replace(mark, variance=share * mark.variance)
    T = FIRST @ motion(turn, move)
    seen = replace(mark, pixels=mark.pixels + pixels)
    for after in update_depths(seen, CAMERA, T).variance:
        assert 0.0 <= after <= mark.variance[0]


def test_landmarks_of_uncertain_depth_do_not_bias_the_pose() -> None:
    T_true = FIRST @ motion(turn=(0.0, 0.05, 0.0), move=(0.3, 0.0, 0.05))
    truth = landmarks(variance=SURE)
    half = np.arange(len(truth)) < 50
    rough = replace(
        truth,
        inverse_depth=np.where(half, truth.inverse_depth / 1.3, truth.inverse_depth),
        variance=np.where(half, (0.3 * truth.inverse_depth) ** 2, SURE),
    )
    seen = observe(rough, T_true, truth)
    blind = replace(seen, variance=np.full(len(seen), SURE))
    assert deviation(estimate_pose(blind, CAMERA, FIRST)[0], T_true) > 0.02, "measured: 0.032"
    assert deviation(estimate_pose(seen, CAMERA, FIRST)[0], T_true) < 0.002, "measured: 0.0009"


def test_only_landmarks_behind_the_camera_are_removed() -> None:
    marks = landmarks(20)
    beside = FIRST @ motion(move=(0.5, 0.0, 0.0))
    seen = observe(marks, beside)
    # From half a unit beside the first camera a point at infinity has this distance in pixels.
    infinity = CAMERA.fx * marks.inverse_depth[:3] * 0.5
    seen.pixels[:3, 0] += np.array([2.0, 1.2, 0.5]) * infinity
    after = update_depths(seen, CAMERA, beside)
    np.testing.assert_array_equal(after.pixels, seen.pixels[2:])
    assert (after.inverse_depth > MIN_INVERSE_DEPTH).all()
    assert {len(value) for value in vars(after).values()} == {18}


@pytest.mark.parametrize("broken", ["pixels", "inverse_depth", "variance"])
def test_a_failed_optimization_returns_the_start_and_infinite_errors(broken: str) -> None:
    marks = landmarks(20)
    getattr(marks, broken)[3] = np.nan
    guess = FIRST @ motion(move=(0.1, 0.0, 0.0))
    T, mahalanobis_sq = estimate_pose(marks, CAMERA, guess)
    np.testing.assert_array_equal(T, guess)
    np.testing.assert_array_equal(mahalanobis_sq, np.full(20, np.inf))


def test_no_landmarks_or_coincident_ones_give_a_finite_pose() -> None:
    np.testing.assert_allclose(estimate_pose(Landmarks.empty(), CAMERA, FIRST)[0], FIRST, atol=1e-15)
    one = landmarks(1)
    same = one.select(np.zeros(12, int))
    T, _ = estimate_pose(replace(same, pixels=same.pixels + 5.0), CAMERA, FIRST)
    assert np.isfinite(T).all()
    assert len(update_depths(Landmarks.empty(), CAMERA, FIRST)) == 0
