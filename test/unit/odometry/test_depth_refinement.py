# SPDX-License-Identifier: Apache-2.0
"""Depth refinement with exact landmarks, and in the whole pipeline on a rendered path."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeBackend, FakeState
from hypothesis import given
from hypothesis import strategies as st
from motions import motion
from rendered_path import FRAMES, WIDTH, frames_of_path, network_poses, path_shots

from ttt3r_ros.config import from_mapping
from ttt3r_ros.odometry.depth_refinement import (
    MAX_RELATIVE_STD,
    MIN_LANDMARKS,
    compute_depth_factor,
    log_scale_correction,
    refine_points,
)
from ttt3r_ros.odometry.landmarks import Landmarks
from ttt3r_ros.pipeline.reconstructor import Reconstructor
from ttt3r_ros.types import Intrinsics, Prediction, UInt8Array, Update

CAMERA = Intrinsics(200.0, 200.0, 79.5, 59.5, 160, 120)
T_WORLD_CAMERA = motion(turn=(0.4, -1.1, 0.3), move=(3.0, -2.0, 0.5))  # any pose
ROWS, COLUMNS = np.indices((CAMERA.height, CAMERA.width))
TRUE_M = 2.0 + 0.01 * COLUMNS + 0.005 * ROWS
BEHIND = np.diag([-1.0, 1.0, -1.0, 1.0])


def landmarks(count: int = 200, *, deviation: float = 0.01, seed: int = 0) -> Landmarks:
    """Return landmarks of the true depth at random pixels."""
    rng = np.random.default_rng(seed)
    columns, rows = rng.integers(0, (CAMERA.width, CAMERA.height), (count, 2)).T
    pixels = np.column_stack((columns, rows)).astype(np.float32)
    seen = Landmarks.initialize(pixels, TRUE_M[rows, columns], CAMERA, T_WORLD_CAMERA)
    return replace(seen, variance=(deviation * seen.inverse_depth) ** 2)


def factor(depth: np.ndarray, marks: Landmarks | None = None) -> np.ndarray:
    found = log_scale_correction(depth.astype(np.float32), marks or landmarks(), T_WORLD_CAMERA)
    assert found is not None
    assert (found.shape, found.dtype) == (depth.shape, np.float32)
    exact: np.ndarray = np.exp(found)
    return exact


def error(depth: np.ndarray) -> float:
    """Return the mean relative error."""
    return float((np.abs(depth - TRUE_M) / TRUE_M).mean())


@pytest.mark.parametrize("wrong", [0.01, 0.7, 1.0, 40.0])
def test_a_common_factor_of_all_depths_is_corrected(wrong: float) -> None:
    np.testing.assert_allclose(factor(TRUE_M * wrong) * wrong, 1.0, atol=1e-5)


def test_most_of_a_missing_slope_is_corrected() -> None:
    flat = np.full(TRUE_M.shape, 2.8)
    assert error(flat) > 0.13
    assert error(flat * factor(flat)) < 0.035, "measured: 0.026"


def test_a_too_near_part_is_corrected_and_the_rest_is_kept() -> None:
    wrong = TRUE_M.copy()
    wrong[:, 100:] *= 0.75
    better = factor(wrong)
    assert np.abs(better[:, :70] - 1.0).max() < 0.06, "measured: 0.04"
    assert np.abs(better[:, 130:] * 0.75 - 1.0).max() < 0.06, "measured: 0.04"


def test_without_landmarks_nearby_the_median_of_all_applies() -> None:
    marks = landmarks(400)
    left = marks.select(marks.pixels[:, 0] < 40)
    np.testing.assert_allclose(factor(TRUE_M / 1.2, left), 1.2, atol=1e-5)


def test_a_few_outliers_change_little() -> None:
    marks = landmarks()
    off = np.arange(len(marks)) % 10 == 0
    wrong = replace(marks, inverse_depth=np.where(off, 3.0, 1.0) * marks.inverse_depth)
    assert np.abs(factor(TRUE_M, wrong) - 1.0).max() < 0.02, "measured: 0.01"


def test_landmarks_of_uncertain_depth_change_nothing() -> None:
    unsure = landmarks(deviation=1.01 * MAX_RELATIVE_STD)
    assert log_scale_correction(TRUE_M.astype(np.float32), unsure, T_WORLD_CAMERA) is None
    half = replace(
        landmarks(), variance=np.where(np.arange(200) % 2, landmarks().variance, unsure.variance)
    )
    wrong = np.where(np.arange(200) % 2, 1.0, 0.5) * half.inverse_depth
    np.testing.assert_allclose(factor(TRUE_M, replace(half, inverse_depth=wrong)), 1.0, atol=1e-5)


@pytest.mark.parametrize(
    ("count", "is_corrected"), [(0, False), (MIN_LANDMARKS - 1, False), (MIN_LANDMARKS, True)]
)
def test_the_correction_needs_twelve_landmarks(count: int, is_corrected: bool) -> None:
    found = log_scale_correction(TRUE_M.astype(np.float32), landmarks(count), T_WORLD_CAMERA)
    assert (found is not None) == is_corrected


def test_landmarks_outside_the_view_or_without_depth_are_ignored() -> None:
    marks = landmarks()
    beside = replace(marks, pixels=marks.pixels + np.float32(500.0))
    assert log_scale_correction(TRUE_M.astype(np.float32), beside, T_WORLD_CAMERA) is None
    assert log_scale_correction(TRUE_M.astype(np.float32), marks, T_WORLD_CAMERA @ BEHIND) is None
    for nothing in (np.nan, 0.0, -1.0):
        holed = np.where(COLUMNS < 80, TRUE_M, nothing)
        np.testing.assert_allclose(factor(holed), 1.0, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(1, 160), (120, 40), (3, 5), (384, 512)])
def test_images_of_any_size_are_corrected(height: int, width: int) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.uniform(0.0, (width - 1, height - 1), (50, 2)).astype(np.float32)
    marks = replace(
        Landmarks.initialize(pixels, np.full(50, 3.0), CAMERA, T_WORLD_CAMERA),
        variance=np.full(50, 1e-6),
    )
    np.testing.assert_allclose(factor(np.full((height, width), 2.0), marks), 1.5, rtol=1e-5)


@given(st.floats(0.05, 20.0), st.integers(0, 5))
def test_the_unit_of_the_depths_does_not_matter(unit: float, seed: int) -> None:
    flat = np.full(TRUE_M.shape, 2.8)
    marks = landmarks(60, seed=seed)
    np.testing.assert_allclose(factor(flat * unit, marks) * unit, factor(flat, marks), rtol=1e-4)


SKEW = Intrinsics(200.0, 150.0, 60.0, 40.5, 160, 120)


def on_rays(depth: np.ndarray, camera: Intrinsics) -> np.ndarray:
    """Return the points (h, w, 3) of depths, with the inverse of the camera matrix."""
    pixels = np.stack((COLUMNS, ROWS, np.ones_like(ROWS)), axis=-1)
    points: np.ndarray = np.where(np.isfinite(depth), depth, 1.0)[..., None] * (
        pixels @ np.linalg.inv(camera.matrix()).T
    )
    points[..., 2] = depth
    return points.astype(np.float32)


def test_points_lie_on_the_rays_of_a_camera_with_unequal_axes() -> None:
    even = np.full(TRUE_M.shape, 3.0, np.float32)
    wrong_rays = on_rays(even, SKEW) * np.float32([1.4, 0.7, 1.0])
    gray = np.full(TRUE_M.shape, 90, np.uint8)
    found = refine_points(wrong_rays, gray, Landmarks.empty(), T_WORLD_CAMERA, SKEW)
    np.testing.assert_allclose(found, on_rays(even, SKEW), rtol=1e-5, atol=1e-6)


def test_mirrored_landmarks_give_the_mirrored_correction() -> None:
    marks = landmarks()
    mirrored = replace(
        marks, pixels=np.float32([CAMERA.width - 1, 0]) + marks.pixels * np.float32([-1, 1])
    )
    flat = np.full(TRUE_M.shape, 2.8)
    np.testing.assert_allclose(factor(flat, mirrored)[:, ::-1], factor(flat, marks), rtol=1e-5)


def test_a_certain_landmark_has_more_weight() -> None:
    marks = landmarks()
    sure = np.arange(len(marks)) % 3 == 0
    deviation = np.where(sure, 0.01, 0.12)
    weighted = replace(
        marks,
        inverse_depth=np.where(sure, 1.0, 0.8) * marks.inverse_depth,
        variance=(deviation * marks.inverse_depth) ** 2,
    )
    assert np.abs(factor(TRUE_M, weighted) - 1.0).mean() < 0.04, "a mean of all would be 0.16"


def test_the_weight_of_a_landmark_falls_smoothly_with_its_variance() -> None:
    strengths = [
        float(np.log(factor(TRUE_M * 0.5, landmarks(30, deviation=share * MAX_RELATIVE_STD))).mean())
        for share in (0.5, 0.9, 0.97, 0.999)
    ]
    assert strengths[0] == pytest.approx(np.log(2.0), rel=0.01)
    assert strengths == sorted(strengths, reverse=True)
    assert strengths[-1] < 0.05


def in_patches(depth: np.ndarray, size: int = 16) -> np.ndarray:
    """Return depths as one plane parallel to the image for each patch."""
    rows, columns = np.indices(depth.shape) // size * size + size // 2
    flat: np.ndarray = depth[rows.clip(0, depth.shape[0] - 1), columns.clip(0, depth.shape[1] - 1)]
    return flat


def refine(depth: np.ndarray, image: np.ndarray, marks: Landmarks | None = None) -> np.ndarray:
    marks = Landmarks.empty() if marks is None else marks
    factor = compute_depth_factor(
        depth.astype(np.float32), image.astype(np.uint8), marks, T_WORLD_CAMERA
    )
    assert factor.dtype == np.float32
    better: np.ndarray = depth * factor
    return better


def test_a_plane_in_patches_is_smoothed_to_a_plane() -> None:
    steps = in_patches(TRUE_M)
    smooth = refine(steps, np.full(TRUE_M.shape, 90))
    assert np.abs(np.diff(steps, axis=1)).max() > 0.15
    assert np.abs(np.diff(smooth, axis=1)).max() < 0.02
    assert error(smooth) < 0.6 * error(steps)


def test_a_depth_step_is_kept_at_image_edges_only() -> None:
    near_and_far = np.where(COLUMNS < 64, 2.0, 3.0)
    edge = np.where(COLUMNS < 64, 40, 160)
    kept, gone = refine(near_and_far, edge), refine(near_and_far, np.full(edge.shape, 100))
    assert (kept[:, 64] - kept[:, 63]).min() > 0.9
    assert (gone[:, 64] - gone[:, 63]).max() < 0.1


def test_smoothed_depths_are_aligned_with_landmarks() -> None:
    flat = np.full(TRUE_M.shape, 2.8)
    assert error(refine(flat, np.full(flat.shape, 90), landmarks())) < 0.035, "measured: 0.03"


@pytest.mark.parametrize("nothing", [np.nan, np.inf, 0.0, -1.0, 1e-42, 3e38])
def test_pixels_without_valid_depth_do_not_change_or_spread(nothing: float) -> None:
    depth = np.where(COLUMNS < 50, 3.0, 5.0)
    hole = (COLUMNS - 25) ** 2 + (ROWS - 60) ** 2 < 100
    holed = np.where(hole, np.float32(nothing), depth)
    better = refine(holed, np.full(holed.shape, 90))
    np.testing.assert_array_equal(better[hole], holed[hole])
    np.testing.assert_allclose(better[:, :25][~hole[:, :25]], 3.0, rtol=1e-4)
    points = on_rays(holed.astype(np.float32), SKEW)
    points[..., :2] *= -1.0  # wrong rays of the network
    found = refine_points(
        points, np.full(hole.shape, 90, np.uint8), Landmarks.empty(), T_WORLD_CAMERA, SKEW
    )
    np.testing.assert_array_equal(found[hole], points[hole])
    nowhere = np.full(TRUE_M.shape, nothing)
    np.testing.assert_array_equal(refine(nowhere, np.full(nowhere.shape, 90)), nowhere)


class BiasedBackend(FakeBackend):
    """Predicts depths that are up to a fifth too near on the right and too far on the left."""

    pose_source = "visual_odometry"

    def step(self, rgb: UInt8Array, state: FakeState) -> tuple[Prediction, FakeState]:
        shot = path_shots()[state.seen]
        ramp = np.linspace(1.2, 1 / 1.2, WIDTH)
        answer = shot.with_depth(shot.depth * ramp).prediction
        return replace(answer, T_segment_camera=network_poses()[state.seen]), FakeState(state.seen + 1)


def run_pipeline(backend: FakeBackend | None = None, **values: object) -> list[Update]:
    mapping = Reconstructor(backend or BiasedBackend(), from_mapping({"map.voxel_size": 0.2, **values}))
    return [mapping.step(frame) for frame in frames_of_path(FRAMES)]


def depth_errors(updates: list[Update]) -> np.ndarray:
    """Return the mean relative error of each image's depth after one scale."""
    ratios = [
        update.prediction.points_camera[..., 2] / shot.depth
        for update, shot in zip(updates, path_shots(), strict=True)
    ]
    return np.array([np.abs(ratio / np.median(ratio) - 1.0).mean() for ratio in ratios])


def test_the_pipeline_refines_depths_and_keeps_poses() -> None:
    with_refinement, without = run_pipeline(), run_pipeline(refine_depth=False)
    before, after = depth_errors(without), depth_errors(with_refinement)
    np.testing.assert_allclose(before, before[0], rtol=0.1)
    np.testing.assert_allclose(after[0], before[0], rtol=0.1, err_msg="no corners are tracked yet")
    assert after[FRAMES // 2 :].max() < 0.85 * before[0], (
        "measured: 0.76; the path of 0.4 m has little parallax"
    )
    for one, other in zip(with_refinement, without, strict=True):
        np.testing.assert_array_equal(one.T_map_camera, other.T_map_camera)


def test_points_lie_on_the_rays_of_the_calibrated_camera() -> None:
    class WideBackend(BiasedBackend):
        def step(self, rgb: UInt8Array, state: FakeState) -> tuple[Prediction, FakeState]:
            answer, after = super().step(rgb, state)
            return replace(
                answer, points_camera=answer.points_camera * np.float32([1.3, 1.3, 1.0])
            ), after

    camera = path_shots()[0].intrinsics
    for update in run_pipeline(WideBackend()):
        x, y, z = np.moveaxis(update.prediction.points_camera, -1, 0)
        v, u = np.indices(z.shape)
        np.testing.assert_allclose(x / z * camera.fx + camera.cx, u, atol=1e-3)
        np.testing.assert_allclose(y / z * camera.fy + camera.cy, v, atol=1e-3)


def test_with_distortion_the_rays_of_the_network_are_kept() -> None:
    points = np.random.default_rng(0).uniform(1.0, 2.0, (120, 160, 3)).astype(np.float32)
    distorted = replace(CAMERA, distortion_model="plumb_bob", distortion=(0.1, 0.0, 0.0, 0.0, 0.0))
    gray = np.full((120, 160), 90, np.uint8)
    kept = refine_points(points, gray, Landmarks.empty(), T_WORLD_CAMERA, distorted)
    np.testing.assert_allclose(kept / kept[..., 2:], points / points[..., 2:], rtol=1e-5)


def test_without_refinement_depths_are_those_of_the_network() -> None:
    for values in ({"refine_depth": False}, {"pose_source": "network"}):
        for k, update in enumerate(run_pipeline(**values)):
            answer, _ = BiasedBackend().step(path_shots()[k].prediction.rgb, FakeState(k))
            np.testing.assert_array_equal(update.prediction.points_camera, answer.points_camera)
