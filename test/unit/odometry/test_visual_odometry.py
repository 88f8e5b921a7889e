# SPDX-License-Identifier: Apache-2.0
"""A walk through the rendered room by followed corners, over true depths of a network that moves badly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from motions import motion
from tracked_walk import (
    HEIGHT,
    NEAR,
    STANDING,
    WIDTH,
    Shot,
    assert_as_the_network,
    assert_near,
    errors,
    followed,
    landmarks_of,
    noise,
    poses_of,
    stumbling,
    usual,
    walk,
)

from ttt3r_ros.geometry import se3_inverse
from ttt3r_ros.odometry.depth_refinement import refine_points
from ttt3r_ros.odometry.feature_tracker import to_gray
from ttt3r_ros.odometry.landmarks import Landmarks
from ttt3r_ros.odometry.visual_odometry import MIN_INLIERS, ZOOM_THRESHOLD, TrackedPose, VisualOdometry


def test_the_path_is_the_true_one_where_the_network_stumbles() -> None:
    assert landmarks_of(usual())[0] == 0
    assert landmarks_of(usual())[1:].min() > 150, "measured: 201 of 250"
    assert_near(poses_of(usual()))
    for ours, theirs in zip(NEAR, errors(stumbling()), strict=True):
        assert theirs > 4.0 * ours, "the network alone is far off"
    for T in poses_of(usual()):
        np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-12)


def test_while_corners_are_followed_the_network_s_motion_does_not_count() -> None:
    for one, other in zip(followed(walk()[:8], STANDING), usual()[:8], strict=True):
        # It is one of two starts of a search that ends at steps of 1e-5. Measured: 4e-7.
        np.testing.assert_allclose(one.T_world_camera, other.T_world_camera, atol=1e-5)


@pytest.mark.parametrize("factor", [0.01, 300.0])
def test_depths_that_are_all_wrong_by_a_factor_make_the_path_wrong_by_it_and_nothing_else(
    factor: float,
) -> None:
    poses = poses_of(followed([shot.with_depth(shot.depth * factor) for shot in walk()[:8]]))
    for T, T_right in zip(poses, poses_of(usual())[:8], strict=True):
        # Measured: 1e-6; the search ends at steps of 1e-5 of the landmarks' distance.
        np.testing.assert_allclose(T[:3, 3] / factor, T_right[:3, 3], atol=1e-5)
        np.testing.assert_allclose(T[:3, :3], T_right[:3, :3], atol=1e-5)


def test_a_scale_that_flickers_from_image_to_image_by_a_twentieth_matters_little() -> None:
    rng = np.random.default_rng(0)
    shots = [shot.with_depth(shot.depth * np.exp(rng.normal(0.0, 0.05))) for shot in walk()[1:]]
    moved, turned = errors(poses_of(followed([walk()[0], *shots])))
    # Measured with eight seeds: 6 to 18 mm, 0.10 to 0.22 degrees.
    assert (moved < 0.035, turned < np.radians(0.5)) == (True, True)


def test_pixels_without_a_depth_become_no_landmarks() -> None:
    def holed(shot: Shot) -> Shot:
        depth = shot.depth.copy()
        depth[:, ::4], depth[:, 1::4], depth[::2, 2::4] = np.nan, 0.0, -1.0
        return shot.with_depth(depth)

    tracked = followed([holed(shot) for shot in walk()[:8]])
    assert MIN_INLIERS < landmarks_of(tracked)[1] < 150
    assert_near(poses_of(tracked))
    nowhere = followed([shot.with_depth(np.zeros((HEIGHT, WIDTH))) for shot in walk()[:4]])
    assert not landmarks_of(nowhere).any()
    np.testing.assert_allclose(poses_of(nowhere), stumbling()[:4], atol=1e-12)


@pytest.mark.parametrize("cover", ["blank", "noise"])
def test_in_covered_images_the_network_s_own_steps_count_and_corners_are_followed_again_after_them(
    cover: str,
) -> None:
    shots = list(walk())
    for k in (6, 7, 8):
        covered = noise(k) if cover == "noise" else np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        shots[k] = shots[k].with_rgb(covered)
    tracked = followed(shots)
    poses, landmarks = poses_of(tracked), landmarks_of(tracked)
    # The first image that can be seen again has nothing before it from which to follow.
    assert np.flatnonzero(landmarks == 0).tolist() == [0, 6, 7, 8, 9]
    assert landmarks[10:].min() > 150
    assert_as_the_network(poses, (6, 7, 8, 9), stumbling())
    np.testing.assert_array_equal(poses[:6], poses_of(usual())[:6])
    assert_near(poses[9:], first=9)


@pytest.mark.parametrize(
    "covered", [np.s_[:, : WIDTH // 3], np.s_[HEIGHT // 2 :]], ids=["left", "lower"]
)
def test_a_hand_before_a_part_of_the_lens_changes_little(covered: Any) -> None:
    shots = list(walk())
    for k in (6, 7, 8):
        rgb = shots[k].prediction.rgb.copy()
        rgb[covered] = 90
        shots[k] = shots[k].with_rgb(rgb)
    tracked = followed(shots)
    assert landmarks_of(tracked)[1:].min() > 40
    moved, turned = errors(poses_of(tracked))
    # Measured: up to 21 mm and 0.44 degrees on a way of 430 mm and 34 degrees.
    assert (moved < 0.03, turned < np.radians(0.7)) == (True, True)


def test_images_of_another_size_are_followed_from_the_second_on() -> None:
    shots = [shot.cropped(100) if 6 <= k < 10 else shot for k, shot in enumerate(walk())]
    tracked = followed(shots)
    assert np.flatnonzero(landmarks_of(tracked) == 0).tolist() == [0, 6, 10]
    assert_as_the_network(poses_of(tracked), (6, 10), stumbling())
    for first, last in ((6, 9), (10, 15)):
        T_found, T_true = (
            se3_inverse(T_world[first]) @ T_world[last]
            for T_world in (poses_of(tracked), [shot.T_true for shot in walk()])
        )
        np.testing.assert_allclose(T_found, T_true, atol=0.012, err_msg="measured: 0.004")


def test_another_lens_is_followed_from_its_second_image_on() -> None:
    shots = [*walk()[:6], *walk(50.0, 6, 10), *walk()[10:]]
    assert shots[6].intrinsics.fx / shots[5].intrinsics.fx > np.exp(ZOOM_THRESHOLD)
    tracked = followed(shots)
    assert np.flatnonzero(landmarks_of(tracked) == 0).tolist() == [0, 6, 10]
    assert_as_the_network(poses_of(tracked), (6, 10), stumbling())
    assert_near(poses_of(tracked)[10:], first=10)


@pytest.mark.parametrize(
    ("factor", "resumes"), [(0.89, True), (0.92, False), (1.09, False), (1.12, True)]
)
def test_a_focal_length_is_another_one_from_a_tenth_on(factor: float, resumes: bool) -> None:
    shots = [shot.with_focal(factor) if k >= 3 else shot for k, shot in enumerate(walk()[:6])]
    landmarks = landmarks_of(followed(shots, stumbling()[:6]))
    assert np.flatnonzero(landmarks == 0).tolist() == ([0, 3] if resumes else [0])


def test_a_focal_length_that_wobbles_is_the_first_one_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    wobbling = [shot.with_focal(np.exp(rng.uniform(-0.09, 0.09))) for shot in walk()[1:8]]
    for one, other in zip(usual()[:8], followed([walk()[0], *wobbling]), strict=True):
        np.testing.assert_array_equal(one.T_world_camera, other.T_world_camera)
        assert one.landmarks == other.landmarks


def test_the_first_image_and_the_first_after_a_restart_are_where_the_network_says() -> None:
    odometry = VisualOdometry()
    elsewhere = motion((0.1, 0.2, 0.3), (5.0, 6.0, 7.0))
    runs: list[list[TrackedPose]] = [[], []]
    for run in runs:
        for shot, T in zip(walk()[:4], stumbling()[:4], strict=True):
            run.append(odometry.step(shot.prediction, elsewhere @ T, shot.intrinsics))
        odometry.reset()
    for first, second in zip(*runs, strict=True):
        np.testing.assert_array_equal(first.T_world_camera, second.T_world_camera)
    assert landmarks_of(runs[0])[0] == 0
    np.testing.assert_array_equal(poses_of(runs[0])[0], elsewhere)
    assert landmarks_of(runs[0])[1:].min() > 0
    # The same way from there as from anywhere else.
    np.testing.assert_allclose(poses_of(runs[0])[3], elsewhere @ poses_of(usual())[3], atol=1e-6)


def test_a_thing_that_moves_before_a_camera_that_stands_does_not_take_it_along() -> None:
    rng = np.random.default_rng(0)
    coat = cv2.GaussianBlur(rng.integers(0, 255, (36, 36, 3)).astype(np.uint8), (0, 0), 1.5)
    shots = []
    for index in range(12):
        rgb, depth = walk()[0].prediction.rgb.copy(), walk()[0].depth.copy()
        columns = slice(80 - 4 * index, 116 - 4 * index)
        rgb[40:76, columns], depth[40:76, columns] = coat, 1.0
        shots.append(walk()[0].with_rgb(rgb).with_depth(depth))
    T_last = followed(shots, STANDING)[-1].T_world_camera
    T_first = walk()[0].T_true
    # Measured: 5 mm. A thing twice as large in the picture, as near as this one, does take it along.
    assert np.linalg.norm(T_last[:3, 3] - T_first[:3, 3]) < 0.02


def test_a_lamp_that_goes_dim_does_not_move_a_camera_that_stands() -> None:
    picture = walk()[0].prediction.rgb
    shots = [walk()[0].with_rgb((picture * 0.94**index).astype(np.uint8)) for index in range(12)]
    poses = poses_of(followed(shots, STANDING))
    assert np.abs(np.array(poses) - poses[0]).max() < 0.01


def test_a_calibration_counts_from_its_first_image_on() -> None:
    odometry, shot = VisualOdometry(), walk()[0]
    guessed = replace(shot.intrinsics, fx=shot.intrinsics.fx * 1.05, fy=shot.intrinsics.fy * 1.05)
    found = [
        odometry.step(
            walk()[k].prediction,
            stumbling()[k],
            guessed if k < 2 else shot.intrinsics,
            calibrated=k >= 2,
        )
        for k in range(5)
    ]
    assert [tracked.landmarks > 0 for tracked in found] == [False, True, False, True, True]


def test_after_a_gap_a_few_landmarks_that_are_left_by_chance_are_not_believed() -> None:
    odometry, first = VisualOdometry(), walk()[0]
    odometry.step(first.prediction, np.eye(4), first.intrinsics)
    upper = first.prediction.rgb.copy()
    upper[20:] = 128  # what is left are fewer than a fifth of the landmarks
    tracked = odometry.step(first.with_rgb(upper).prediction, np.eye(4), first.intrinsics)
    assert tracked.landmarks == 0


def test_the_noise_of_a_camera_that_stands_is_no_parallax() -> None:
    rng, first = np.random.default_rng(0), walk()[0]
    odometry, farthest = VisualOdometry(), 0.0
    for _ in range(100):
        noisy = first.prediction.rgb + rng.normal(0.0, 4.0, first.prediction.rgb.shape)
        shot = first.with_rgb(noisy.clip(0, 255).astype(np.uint8))
        T = odometry.step(shot.prediction, np.eye(4), shot.intrinsics, calibrated=True).T_world_camera
        farthest = max(farthest, float(np.linalg.norm(T[:3, 3])))
    points = odometry.refine_points(shot.prediction, shot.intrinsics)
    smoothed = refine_points(
        shot.prediction.points_camera,
        to_gray(shot.prediction.rgb),
        Landmarks.empty(),
        T,
        shot.intrinsics,
    )
    assert farthest < 0.01, "measured: 6 mm, and 28 mm if each view counted"
    np.testing.assert_array_equal(points, smoothed, err_msg="depths are the network's")


def test_an_estimate_of_the_focal_length_that_drifts_costs_no_landmarks() -> None:
    drifting = [shot.with_focal(1.007**k) for k, shot in enumerate(walk())]
    tracked = followed(drifting)
    assert drifting[-1].intrinsics.fx > walk()[0].intrinsics.fx * np.exp(ZOOM_THRESHOLD)
    assert np.flatnonzero(landmarks_of(tracked) == 0).tolist() == [0]
    assert_near(poses_of(tracked))
    for shot in tracked:
        assert shot.intrinsics.fx == walk()[0].intrinsics.fx, "the first is kept"
