# SPDX-License-Identifier: Apache-2.0
"""Rigid motions, rays and focal lengths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ttt3r_ros.geometry import (
    T_BODY_OPTICAL,
    focal_median,
    focal_weiszfeld,
    orthonormalize,
    pose_matrix,
    pose_matrix_xyzw,
    quat_xyzw_from_rotation,
    ray_map,
    rotation_from_quat_wxyz,
    se3_inverse,
    so3_log,
    transform,
)

meters = st.floats(-1e3, 1e3)
positions = st.tuples(meters, meters, meters).map(np.array)
components = st.floats(-1.0, 1.0)
quaternions = (
    st.tuples(components, components, components, components)
    .map(np.array)
    .filter(lambda quat: np.linalg.norm(quat) > 1e-3)
)
HALF_TURNS = [(0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0, 0.6, 0, 0.8), (0, -0.6, 0.8, 0)]


def motion(quat_wxyz: np.ndarray, position: np.ndarray) -> np.ndarray:
    return pose_matrix(np.concatenate((position, quat_wxyz)))


motions = st.builds(motion, quaternions, positions)


@given(motions, motions, motions)
def test_rigid_motions_are_a_group(T_a: np.ndarray, T_b: np.ndarray, T_c: np.ndarray) -> None:
    np.testing.assert_allclose(se3_inverse(T_a) @ T_a, np.eye(4), atol=1e-9)
    np.testing.assert_allclose(T_a @ se3_inverse(T_a), np.eye(4), atol=1e-9)
    np.testing.assert_allclose(se3_inverse(T_a @ T_b), se3_inverse(T_b) @ se3_inverse(T_a), atol=1e-8)
    np.testing.assert_allclose((T_a @ T_b) @ T_c, T_a @ (T_b @ T_c), atol=1e-8)


@given(motions)
def test_a_pose_matrix_is_a_right_handed_orthonormal_frame(T: np.ndarray) -> None:
    np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(T[:3, :3]) == pytest.approx(1.0)
    np.testing.assert_array_equal(T[3], [0, 0, 0, 1])


def test_a_network_pose_is_position_then_quaternion_with_w_first() -> None:
    quarter_about_z = (np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5))
    T = pose_matrix(np.array([1.0, 2.0, 3.0, *quarter_about_z]))
    np.testing.assert_allclose(T @ (1.0, 0.0, 0.0, 1.0), [1.0, 3.0, 3.0, 1.0], atol=1e-15)


@given(
    st.lists(
        st.builds(lambda q, p: np.concatenate((p, q)), quaternions, positions), min_size=1, max_size=4
    )
)
def test_a_batch_of_poses_is_converted_pose_by_pose(poses: list[np.ndarray]) -> None:
    np.testing.assert_array_equal(pose_matrix(np.array(poses)), [pose_matrix(pose) for pose in poses])


def test_a_pose_of_a_file_is_the_same_with_w_last() -> None:
    position, (w, x, y, z) = (1.0, 2.0, 3.0), (0.1, -0.5, 0.7, 0.3)
    network, file = np.array([*position, w, x, y, z]), np.array([*position, x, y, z, w])
    np.testing.assert_array_equal(pose_matrix_xyzw(file), pose_matrix(network))
    np.testing.assert_array_equal(pose_matrix_xyzw(np.array([file, file])), [pose_matrix(network)] * 2)
    assert pose_matrix_xyzw(np.empty((0, 7))).shape == (0, 4, 4)


@given(quaternions)
def test_rotations_agree_with_scipy_in_both_quaternion_conventions(quat_wxyz: np.ndarray) -> None:
    expected = Rotation.from_quat(quat_wxyz[[1, 2, 3, 0]])
    np.testing.assert_allclose(rotation_from_quat_wxyz(quat_wxyz), expected.as_matrix(), atol=1e-12)
    quat_xyzw = quat_xyzw_from_rotation(expected.as_matrix())
    assert quat_xyzw[3] >= 0
    assert abs(quat_xyzw @ expected.as_quat()) == pytest.approx(1.0, abs=1e-12)


@given(quaternions)
def test_a_rotation_survives_the_way_through_its_quaternion(quat_wxyz: np.ndarray) -> None:
    rotation = rotation_from_quat_wxyz(quat_wxyz)
    again = rotation_from_quat_wxyz(quat_xyzw_from_rotation(rotation)[[3, 0, 1, 2]])
    np.testing.assert_allclose(again, rotation, atol=1e-12)


@pytest.mark.parametrize("quat_wxyz", HALF_TURNS)
def test_half_turns_have_an_exact_quaternion(quat_wxyz: tuple[float, ...]) -> None:
    rotation = rotation_from_quat_wxyz(np.array(quat_wxyz, float))
    quat_xyzw = quat_xyzw_from_rotation(rotation)
    np.testing.assert_allclose(rotation_from_quat_wxyz(quat_xyzw[[3, 0, 1, 2]]), rotation, atol=1e-12)
    assert np.linalg.norm(so3_log(rotation)) == pytest.approx(np.pi)


def test_the_quaternion_of_no_rotation_is_the_unit_one() -> None:
    np.testing.assert_allclose(quat_xyzw_from_rotation(np.eye(3)), [0, 0, 0, 1], atol=1e-15)


@given(quaternions, st.floats(1e-12, np.pi - 1e-6))
def test_a_rotation_vector_is_axis_times_angle(quat: np.ndarray, angle: float) -> None:
    axis = quat[:3] + (0.0, 0.0, 1e-2)
    axis = axis / np.linalg.norm(axis) if np.linalg.norm(axis) > 1e-6 else np.array([1.0, 0.0, 0.0])
    rotation = Rotation.from_rotvec(axis * angle).as_matrix()
    np.testing.assert_allclose(so3_log(rotation), axis * angle, atol=1e-9)


def test_no_rotation_has_the_zero_rotation_vector() -> None:
    np.testing.assert_array_equal(so3_log(np.eye(3)), np.zeros(3))


@given(motions, st.integers(0, 2**32 - 1))
def test_the_nearest_rigid_motion_undoes_small_distortion(T: np.ndarray, seed: int) -> None:
    distorted = T.copy()
    distorted[:3, :3] += np.random.default_rng(seed).normal(scale=1e-4, size=(3, 3))
    rigid = orthonormalize(distorted)
    np.testing.assert_allclose(rigid[:3, :3] @ rigid[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rigid[:3, :3]) == pytest.approx(1.0)
    np.testing.assert_allclose(rigid, T, atol=2e-3)
    np.testing.assert_array_equal(rigid[:3, 3], T[:3, 3])
    np.testing.assert_array_equal(rigid[3], [0, 0, 0, 1])


def test_the_nearest_rigid_motion_to_a_mirror_is_not_a_mirror() -> None:
    assert np.linalg.det(orthonormalize(np.diag([1.0, 1.0, -1.0, 1.0]))[:3, :3]) == pytest.approx(1.0)


@given(motions, st.lists(positions, min_size=1, max_size=5))
def test_points_move_as_homogeneous_coordinates_do(T: np.ndarray, points: list[np.ndarray]) -> None:
    stacked = np.array(points)
    expected = (np.column_stack((stacked, np.ones(len(points)))) @ T.T)[:, :3]
    np.testing.assert_allclose(transform(T, stacked), expected, atol=1e-8)
    np.testing.assert_allclose(transform(T, stacked[None])[0], expected, atol=1e-8)


def test_points_keep_their_precision() -> None:
    points = np.ones((2, 3), np.float32)
    assert transform(T_BODY_OPTICAL, points).dtype == np.float32
    assert transform(T_BODY_OPTICAL, points.astype(np.float64)).dtype == np.float64


@pytest.mark.parametrize(
    ("optical", "body"),
    [((0, 0, 1), (1, 0, 0)), ((1, 0, 0), (0, -1, 0)), ((0, 1, 0), (0, 0, -1))],
    ids=["forward", "right", "down"],
)
def test_optical_axes_are_right_down_forward_of_the_body(
    optical: tuple[float, ...], body: tuple[float, ...]
) -> None:
    np.testing.assert_array_equal(T_BODY_OPTICAL[:3, :3] @ optical, body)
    assert np.linalg.det(T_BODY_OPTICAL) == pytest.approx(1.0)


K = np.array([[50.0, 0.0, 3.0], [0.0, 40.0, 2.0], [0.0, 0.0, 1.0]])


def test_rays_of_the_first_camera_start_at_zero_and_go_through_their_pixels() -> None:
    rays = ray_map(np.eye(4), K, 5, 7)
    assert rays.shape == (5, 7, 6)
    assert rays.dtype == np.float32
    np.testing.assert_array_equal(rays[..., :3], np.zeros((5, 7, 3)))
    np.testing.assert_allclose(rays[2, 3, 3:], [0, 0, 1], atol=1e-7)
    u, v = 6, 4
    direction = np.array([(u - 3.0) / 50.0, (v - 2.0) / 40.0, 1.0])
    np.testing.assert_allclose(rays[v, u, 3:], direction / np.linalg.norm(direction), atol=1e-7)


@given(motions)
def test_ray_directions_contain_the_translation_as_the_published_weights_expect(T: np.ndarray) -> None:
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
def test_both_estimators_are_exact_on_clean_points(focal: float) -> None:
    points = scene(focal)
    assert focal_weiszfeld(points) == pytest.approx(focal, rel=1e-5)
    assert focal_median(points) == pytest.approx(focal, rel=1e-5)


def test_the_median_survives_one_point_in_ten_being_wrong() -> None:
    points = scene(30.0)
    wrong = np.random.default_rng(1).random(points.shape[:2]) < 0.1
    points[wrong] = np.random.default_rng(2).normal(size=(int(wrong.sum()), 3))
    points[wrong, 2] = np.abs(points[wrong, 2]) * 1e-4
    assert focal_median(points) == pytest.approx(30.0, rel=0.01)
    assert focal_weiszfeld(points) != pytest.approx(30.0, rel=0.01), "or the median would be needless"


def test_masked_points_have_no_vote() -> None:
    points = scene(30.0)
    points[:, :20] = scene(90.0)[:, :20]
    mask = np.zeros(points.shape[:2], bool)
    mask[:, 20:] = True
    assert focal_median(points, mask) == pytest.approx(30.0, rel=1e-5)
    assert focal_median(points, ~mask) == pytest.approx(90.0, rel=1e-5)


def test_no_vote_gives_no_focal_length() -> None:
    points = scene(30.0)
    assert np.isnan(focal_median(points, np.zeros(points.shape[:2], bool)))
    assert np.isnan(focal_median(np.full_like(points, np.nan)))


def test_points_behind_the_camera_do_not_give_a_negative_focal_length() -> None:
    points = scene(30.0) * np.array([1.0, 1.0, -1.0], np.float32)
    assert focal_median(points) == 0.0
    assert focal_weiszfeld(points) == 0.0
