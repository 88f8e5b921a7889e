# SPDX-License-Identifier: Apache-2.0
"""Rays of pixels, points of depth images and focal lengths of point maps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttt3r_ros.geometry import focal_median, focal_weiszfeld, pose_matrix, ray_map, unproject
from ttt3r_ros.types import Intrinsics

poses = st.lists(st.floats(-1.0, 1.0), min_size=7, max_size=7).map(np.array)
motions = poses.filter(lambda pose: np.linalg.norm(pose[3:]) > 1e-3).map(pose_matrix)

K = np.array([[50.0, 0.0, 3.0], [0.0, 40.0, 2.0], [0.0, 0.0, 1.0]])


def test_rays_of_the_first_camera_start_at_zero() -> None:
    rays = ray_map(np.eye(4), K, 5, 7)
    assert rays.shape == (5, 7, 6)
    assert rays.dtype == np.float32
    np.testing.assert_array_equal(rays[..., :3], np.zeros((5, 7, 3)))
    np.testing.assert_allclose(rays[2, 3, 3:], [0, 0, 1], atol=1e-7)
    u, v = 6, 4
    direction = np.array([(u - 3.0) / 50.0, (v - 2.0) / 40.0, 1.0])
    np.testing.assert_allclose(rays[v, u, 3:], direction / np.linalg.norm(direction), atol=1e-7)


@given(motions)
def test_ray_directions_contain_the_translation(T: np.ndarray) -> None:
    rays = ray_map(T, K, 2, 3)
    far_point = T @ (*(np.linalg.inv(K) @ (2.0, 1.0, 1.0)), 1.0)  # pixel u 2, v 1 at unit depth
    if np.linalg.norm(far_point[:3]) > 1e-3:
        np.testing.assert_allclose(
            rays[1, 2, 3:], far_point[:3] / np.linalg.norm(far_point[:3]), atol=1e-5
        )
    np.testing.assert_allclose(rays[1, 2, :3], T[:3, 3], rtol=1e-6, atol=1e-30)


def scene(focal: float, height: int = 24, width: int = 32, seed: int = 0) -> np.ndarray:
    """Return points (H, W, 3) of a bumpy wall seen through a lens of this focal length."""
    u, v = np.meshgrid(np.arange(width) - width // 2, np.arange(height) - height // 2)
    depth = np.random.default_rng(seed).uniform(1.0, 4.0, size=u.shape)
    return np.stack((u * depth / focal, v * depth / focal, depth), axis=-1).astype(np.float32)


@given(st.floats(5.0, 2000.0))
def test_both_focal_estimators_are_exact_on_clean_points(focal: float) -> None:
    points = scene(focal)
    assert focal_weiszfeld(points) == pytest.approx(focal, rel=1e-5)
    assert focal_median(points) == pytest.approx(focal, rel=1e-5)


def test_the_median_tolerates_ten_percent_outliers() -> None:
    points = scene(30.0)
    wrong = np.random.default_rng(1).random(points.shape[:2]) < 0.1
    points[wrong] = np.random.default_rng(2).normal(size=(int(wrong.sum()), 3))
    points[wrong, 2] = np.abs(points[wrong, 2]) * 1e-4
    assert focal_median(points) == pytest.approx(30.0, rel=0.01)
    assert focal_weiszfeld(points) != pytest.approx(30.0, rel=0.01)


def test_masked_points_are_ignored() -> None:
    points = scene(30.0)
    points[:, :20] = scene(90.0)[:, :20]
    mask = np.zeros(points.shape[:2], bool)
    mask[:, 20:] = True
    assert focal_median(points, mask) == pytest.approx(30.0, rel=1e-5)
    assert focal_median(points, ~mask) == pytest.approx(90.0, rel=1e-5)


def test_without_valid_points_the_focal_length_is_nan() -> None:
    points = scene(30.0)
    assert np.isnan(focal_median(points, np.zeros(points.shape[:2], bool)))
    assert np.isnan(focal_median(np.full_like(points, np.nan)))


def test_points_behind_the_camera_give_a_focal_length_of_zero() -> None:
    points = scene(30.0) * np.array([1.0, 1.0, -1.0], np.float32)
    assert focal_median(points) == 0.0
    assert focal_weiszfeld(points) == 0.0


CAMERA = Intrinsics(fx=50.0, fy=40.0, cx=3.0, cy=2.0, width=7, height=5)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_unprojected_points_project_to_their_pixels(kind: type) -> None:
    depth = np.random.default_rng(0).uniform(0.5, 4.0, (5, 7)).astype(kind)
    points = unproject(depth, CAMERA)
    assert points.dtype == kind
    np.testing.assert_array_equal(points[..., 2], depth)
    projected = points @ CAMERA.matrix().T
    v, u = np.indices(depth.shape)
    tolerance = 1e-5 if kind is np.float32 else 1e-13
    np.testing.assert_allclose(projected[..., 0] / depth, u, atol=tolerance)
    np.testing.assert_allclose(projected[..., 1] / depth, v, atol=tolerance)


def test_unknown_depth_gives_unknown_points() -> None:
    depth = np.full((5, 7), 2.0, np.float32)
    depth[1, 2] = np.nan
    unknown = np.isnan(unproject(depth, CAMERA))
    assert unknown[1, 2].all()
    assert unknown.sum() == 3
