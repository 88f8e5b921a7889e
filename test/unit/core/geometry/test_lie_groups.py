# SPDX-License-Identifier: Apache-2.0
"""Group axioms, exponential and logarithm of SO(3), SE(3) and Sim(3)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.spatial.transform import Rotation

from ttt3r_ros.geometry import (
    T_BODY_OPTICAL,
    interpolate_pose,
    is_identity,
    mean_velocity,
    orthonormalize,
    pose_matrix,
    pose_matrix_xyzw,
    se3,
    se3_exp,
    se3_inverse,
    se3_log,
    sim3,
    sim3_exp,
    sim3_inverse,
    sim3_log,
    sim3_scale,
    skew,
    so3_exp,
    so3_log,
    transform,
)

meters = st.floats(-1e3, 1e3)
positions = st.tuples(meters, meters, meters).map(np.array)
components = st.floats(-1.0, 1.0)
axes = (
    st.tuples(components, components, components)
    .map(np.array)
    .filter(lambda axis: np.linalg.norm(axis) > 1e-3)
    .map(lambda axis: axis / np.linalg.norm(axis))
)
# Zero, tiny, ordinary and nearly half turns.
angles = st.one_of(
    st.just(0.0), st.floats(1e-300, 1e-6), st.floats(0.0, 3.0), st.floats(3.0, np.pi - 1e-6)
)
vectors = st.builds(lambda axis, angle: axis * angle, axes, angles)
log_scales = st.one_of(st.just(0.0), st.floats(-1e-6, 1e-6), st.floats(-2.0, 2.0))
rotations = vectors.map(so3_exp)
half_turns = axes.map(lambda axis: 2 * np.outer(axis, axis) - np.eye(3))
motions = st.builds(se3, rotations, positions)
near_positions = st.tuples(*[st.floats(-10.0, 10.0)] * 3).map(np.array)
similarities = st.builds(
    lambda rotation, t, log_scale: sim3(rotation, t, float(np.exp(log_scale))),
    st.one_of(rotations, half_turns),
    near_positions,
    log_scales,
)
sim3_tangents = st.builds(lambda *parts: np.hstack(parts), near_positions, vectors, log_scales)


@given(motions, motions, motions)
def test_rigid_motions_are_a_group(T_a: np.ndarray, T_b: np.ndarray, T_c: np.ndarray) -> None:
    np.testing.assert_allclose(se3_inverse(T_a) @ T_a, np.eye(4), atol=1e-9)
    np.testing.assert_allclose(T_a @ se3_inverse(T_a), np.eye(4), atol=1e-9)
    np.testing.assert_allclose(se3_inverse(T_a @ T_b), se3_inverse(T_b) @ se3_inverse(T_a), atol=1e-8)
    np.testing.assert_allclose((T_a @ T_b) @ T_c, T_a @ (T_b @ T_c), atol=1e-8)


@given(similarities, similarities, similarities)
def test_similarities_are_a_group(S_a: np.ndarray, S_b: np.ndarray, S_c: np.ndarray) -> None:
    np.testing.assert_allclose(sim3_inverse(S_a) @ S_a, np.eye(4), atol=1e-10)
    np.testing.assert_allclose(S_a @ sim3_inverse(S_a), np.eye(4), atol=1e-10)
    np.testing.assert_allclose(sim3_inverse(S_a @ S_b), sim3_inverse(S_b) @ sim3_inverse(S_a), atol=1e-8)
    np.testing.assert_allclose((S_a @ S_b) @ S_c, S_a @ (S_b @ S_c), atol=1e-8)
    assert sim3_scale(S_a @ S_b) == pytest.approx(sim3_scale(S_a) * sim3_scale(S_b))


@given(motions)
def test_the_inverse_of_a_motion_is_that_of_the_similarity_of_scale_1(T: np.ndarray) -> None:
    np.testing.assert_allclose(sim3_inverse(T), se3_inverse(T), atol=1e-9)
    assert sim3_scale(T) == pytest.approx(1.0)


@given(vectors)
def test_the_logarithm_undoes_the_exponential_of_so3(vector: np.ndarray) -> None:
    np.testing.assert_allclose(so3_log(so3_exp(vector)), vector, atol=1e-9)


@given(sim3_tangents)
def test_the_logarithm_undoes_the_exponential_of_sim3_and_se3(tangent: np.ndarray) -> None:
    np.testing.assert_allclose(sim3_log(sim3_exp(tangent)), tangent, atol=1e-8)
    np.testing.assert_allclose(se3_log(se3_exp(tangent[:6])), tangent[:6], atol=1e-8)


@given(similarities)
def test_the_exponential_undoes_the_logarithm_up_to_half_turns(S: np.ndarray) -> None:
    np.testing.assert_allclose(sim3_exp(sim3_log(S)), S, atol=1e-9)
    T = se3(S[:3, :3] / sim3_scale(S), S[:3, 3])
    np.testing.assert_allclose(se3_exp(se3_log(T)), T, atol=1e-9)
    np.testing.assert_allclose(so3_exp(so3_log(T[:3, :3])), T[:3, :3], atol=1e-9)


@given(sim3_tangents)
def test_the_exponential_is_the_matrix_exponential(tangent: np.ndarray) -> None:
    generator = np.zeros((4, 4))
    generator[:3, :3] = skew(tangent[3:6]) + tangent[6] * np.eye(3)
    generator[:3, 3] = tangent[:3]
    np.testing.assert_allclose(sim3_exp(tangent), expm(generator), atol=1e-10)


@given(vectors)
def test_rotation_vectors_agree_with_scipy(vector: np.ndarray) -> None:
    rotation = Rotation.from_rotvec(vector).as_matrix()
    np.testing.assert_allclose(so3_exp(vector), rotation, atol=1e-12)
    np.testing.assert_allclose(so3_log(rotation), vector, atol=1e-9)


def test_the_identity_has_the_zero_tangent_vector() -> None:
    np.testing.assert_array_equal(so3_log(np.eye(3)), np.zeros(3))
    np.testing.assert_array_equal(se3_log(np.eye(4)), np.zeros(6))
    np.testing.assert_array_equal(sim3_log(np.eye(4)), np.zeros(7))
    np.testing.assert_array_equal(sim3_exp(np.zeros(7)), np.eye(4))


def test_a_similarity_scales_rotates_and_translates_points() -> None:
    S = sim3(so3_exp(np.array([0.0, 0.0, np.pi / 2])), np.array([1.0, 2.0, 3.0]), 2.0)
    np.testing.assert_allclose(transform(S, np.array([1.0, 0.0, 0.0])), [1.0, 4.0, 3.0], atol=1e-15)


@given(motions)
def test_a_motion_is_a_right_handed_orthonormal_frame(T: np.ndarray) -> None:
    np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(T[:3, :3]) == pytest.approx(1.0)
    np.testing.assert_array_equal(T[3], [0, 0, 0, 1])


def test_a_network_pose_is_position_then_quaternion_with_w_first() -> None:
    quarter_about_z = (np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5))
    T = pose_matrix(np.array([1.0, 2.0, 3.0, *quarter_about_z]))
    np.testing.assert_allclose(T @ (1.0, 0.0, 0.0, 1.0), [1.0, 3.0, 3.0, 1.0], atol=1e-15)


def test_a_batch_of_poses_is_converted_pose_by_pose() -> None:
    poses = np.random.default_rng(0).normal(size=(5, 7))
    np.testing.assert_array_equal(pose_matrix(poses), [pose_matrix(pose) for pose in poses])


def test_a_pose_of_a_file_has_w_last() -> None:
    position, (w, x, y, z) = (1.0, 2.0, 3.0), (0.1, -0.5, 0.7, 0.3)
    network, file = np.array([*position, w, x, y, z]), np.array([*position, x, y, z, w])
    np.testing.assert_array_equal(pose_matrix_xyzw(file), pose_matrix(network))
    np.testing.assert_array_equal(pose_matrix_xyzw(np.array([file, file])), [pose_matrix(network)] * 2)
    assert pose_matrix_xyzw(np.empty((0, 7))).shape == (0, 4, 4)


@given(motions, st.integers(0, 2**32 - 1))
def test_orthonormalize_removes_small_distortion(T: np.ndarray, seed: int) -> None:
    distorted = T.copy()
    distorted[:3, :3] += np.random.default_rng(seed).normal(scale=1e-4, size=(3, 3))
    rigid = orthonormalize(distorted)
    np.testing.assert_allclose(rigid[:3, :3] @ rigid[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rigid[:3, :3]) == pytest.approx(1.0)
    np.testing.assert_allclose(rigid, T, atol=2e-3)
    np.testing.assert_array_equal(rigid[:3, 3], T[:3, 3])
    np.testing.assert_array_equal(rigid[3], [0, 0, 0, 1])


def test_orthonormalize_never_returns_a_mirror() -> None:
    assert np.linalg.det(orthonormalize(np.diag([1.0, 1.0, -1.0, 1.0]))[:3, :3]) == pytest.approx(1.0)


@given(motions, motions)
def test_interpolation_is_linear_in_translation_and_even_in_rotation(
    T_begin: np.ndarray, T_end: np.ndarray
) -> None:
    np.testing.assert_allclose(interpolate_pose(T_begin, T_end, 0.0), T_begin, atol=1e-9)
    np.testing.assert_allclose(interpolate_pose(T_begin, T_end, 1.0), T_end, atol=1e-9)
    half = interpolate_pose(T_begin, T_end, 0.5)
    np.testing.assert_allclose(half[:3, 3], (T_begin[:3, 3] + T_end[:3, 3]) / 2, atol=1e-9)
    first, second = (se3_inverse(T_begin) @ half)[:3, :3], (se3_inverse(half) @ T_end)[:3, :3]
    np.testing.assert_allclose(first, second, atol=1e-9)


@given(motions, st.lists(positions, min_size=1, max_size=5))
def test_points_are_transformed_like_homogeneous_coordinates(
    T: np.ndarray, points: list[np.ndarray]
) -> None:
    stacked = np.array(points)
    expected = (np.column_stack((stacked, np.ones(len(points)))) @ T.T)[:, :3]
    np.testing.assert_allclose(transform(T, stacked), expected, atol=1e-8)
    np.testing.assert_allclose(transform(T, stacked[None])[0], expected, atol=1e-8)


def test_transformed_points_have_the_precision_of_the_input() -> None:
    points = np.ones((2, 3), np.float32)
    assert transform(T_BODY_OPTICAL, points).dtype == np.float32
    assert transform(T_BODY_OPTICAL, points.astype(np.float64)).dtype == np.float64


def test_the_mean_velocity_of_a_step_is_its_translation_and_rotation_per_second() -> None:
    step = se3(so3_exp(np.array([0.0, 0.0, 0.2])), np.array([1.0, 0.0, 0.0]))
    linear, angular = mean_velocity(step, 0.5)
    np.testing.assert_allclose(linear, [2.0, 0.0, 0.0])
    np.testing.assert_allclose(angular, [0.0, 0.0, 0.4], atol=1e-12)
    assert not np.any(mean_velocity(step, 0.0))


def test_only_the_exact_identity_is_the_identity() -> None:
    assert is_identity(np.eye(4))
    assert not is_identity(np.eye(4) + 1e-15 * np.eye(4, k=3))


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
