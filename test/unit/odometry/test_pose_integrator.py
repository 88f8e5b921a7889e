# SPDX-License-Identifier: Apache-2.0
"""Odom never jumps; every correction is in map -> odom."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from motions import MOUNT, motion

from ttt3r_ros.geometry import T_BODY_OPTICAL, se3_inverse, so3_exp
from ttt3r_ros.odometry.pose_integrator import PoseIntegrator, initial_body_pose

FORWARD = motion(move=(0.0, 0.0, 1.0))  # of an optical camera


def walk(integrator: PoseIntegrator, count: int, scale: float = 1.0, **known: np.ndarray) -> list:
    T, body_pose = np.eye(4), []
    for _ in range(count):
        body_pose.append(integrator.integrate(T, scale, **known))
        T = T @ FORWARD
    return body_pose


def test_a_camera_without_mount_moves_along_x_of_a_z_up_map() -> None:
    last = walk(PoseIntegrator(), 4)[-1]
    np.testing.assert_allclose(last.T_map_camera[:3, 3], [3.0, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(last.T_map_camera[:3, :3], T_BODY_OPTICAL[:3, :3], atol=1e-12)


def test_with_a_mount_the_base_starts_at_the_origin() -> None:
    first = PoseIntegrator().integrate(np.eye(4), 1.0, MOUNT)
    np.testing.assert_allclose(first.T_map_base, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(first.T_map_camera, MOUNT, atol=1e-12)


def test_a_level_robot_stays_level_with_a_tilted_camera() -> None:
    integrator = PoseIntegrator()
    T_base = [motion(move=(0.3 * step, 0.0, 0.0), turn=(0.0, 0.0, 0.1 * step)) for step in range(20)]
    for T_map_base in T_base:
        T_world_camera = se3_inverse(MOUNT) @ T_map_base @ MOUNT
        body_pose = integrator.integrate(T_world_camera, 1.0, MOUNT)
        np.testing.assert_allclose(body_pose.T_odom_base, T_map_base, atol=1e-9)


def test_a_camera_that_pans_on_its_mount_does_not_turn_the_body() -> None:
    integrator = PoseIntegrator()
    for step in range(10):
        mount = motion(turn=(0.0, 0.0, 0.2 * step)) @ MOUNT
        body_pose = integrator.integrate(se3_inverse(MOUNT) @ mount, 1.0, mount)
        np.testing.assert_allclose(body_pose.T_odom_base, np.eye(4), atol=1e-9)


def test_a_change_of_scale_applies_to_later_steps_only() -> None:
    integrator = PoseIntegrator()
    before = walk(integrator, 3)[-1]
    T = np.eye(4)
    T[2, 3] = 3.0
    after = integrator.integrate(T, 0.5)
    step = se3_inverse(before.T_odom_base) @ after.T_odom_base
    assert np.linalg.norm(step[:3, 3]) == pytest.approx(0.5)


def test_a_reset_moves_the_map_and_not_odom() -> None:
    integrator = PoseIntegrator()
    before = walk(integrator, 5)[-1]
    integrator.start_new_map()
    after = integrator.integrate(np.eye(4), 1.0)
    np.testing.assert_allclose(after.T_odom_base, before.T_odom_base, atol=1e-12)
    np.testing.assert_allclose(after.T_map_camera, T_BODY_OPTICAL, atol=1e-9)


def test_a_full_reset_starts_a_new_odom() -> None:
    integrator = PoseIntegrator()
    walk(integrator, 5)
    integrator.reset()
    after = integrator.integrate(np.eye(4), 1.0)
    np.testing.assert_allclose(after.T_odom_base, T_BODY_OPTICAL, atol=1e-12)
    np.testing.assert_allclose(after.T_map_odom, np.eye(4), atol=1e-12)


def test_a_pose_set_from_outside_moves_the_map_and_not_odom() -> None:
    integrator = PoseIntegrator()
    before = walk(integrator, 3, T_base_camera=MOUNT)[-1]
    T_map_base = motion(turn=(0.0, 0.0, 1.0), move=(4.0, 5.0, 0.0))
    integrator.set_pose(T_map_base)
    T = np.eye(4)
    T[2, 3] = 2.0
    after = integrator.integrate(T, 1.0, MOUNT)  # the camera has not moved since
    np.testing.assert_allclose(after.T_odom_base, before.T_odom_base, atol=1e-12)
    np.testing.assert_allclose(after.T_map_base, T_map_base, atol=1e-9)


def test_a_map_is_continued_at_the_pose_of_another_integrator() -> None:
    first = PoseIntegrator()
    walk(first, 3, T_base_camera=MOUNT)
    T_world_camera = np.eye(4)
    T_world_camera[2, 3] = 2.0
    second = PoseIntegrator()
    second.continue_map(first, T_world_camera)
    goes_on = second.integrate(T_world_camera @ FORWARD, 1.0, MOUNT)
    expected = first.integrate(T_world_camera @ FORWARD, 1.0, MOUNT)
    np.testing.assert_allclose(goes_on.T_map_base, expected.T_map_base, atol=1e-9)


def test_ten_thousand_steps_keep_rotations_orthonormal() -> None:
    integrator = PoseIntegrator()
    T, step = np.eye(4), motion(turn=(0.01, 0.02, 0.03), move=(0.01, 0.0, 0.0))
    for _ in range(10_000):
        body_pose = integrator.integrate(T, 1.0)
        T = T @ step
        if _ % 500 == 0:
            T[:3, :3] = np.linalg.qr(T[:3, :3])[0] * np.sign(np.diag(np.linalg.qr(T[:3, :3])[1]))
    R = body_pose.T_odom_base[:3, :3]
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-9)


@given(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0))
def test_gravity_levels_the_map_for_any_tilt_of_the_first_camera(roll: float, pitch: float) -> None:
    R_level_camera = so3_exp(np.array([roll, 0.0, 0.0])) @ so3_exp(np.array([0.0, pitch, 0.0]))
    up_camera = (R_level_camera @ T_BODY_OPTICAL[:3, :3]).T @ [0.0, 0.0, 1.0]
    for mount in (None, MOUNT):
        T_map_camera = initial_body_pose(mount, up_camera) @ (np.eye(4) if mount is None else mount)
        np.testing.assert_allclose(T_map_camera[:3, :3] @ up_camera, [0.0, 0.0, 1.0], atol=1e-9)
