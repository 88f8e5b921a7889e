# SPDX-License-Identifier: Apache-2.0
"""Odom never jumps; every correction is in map -> odom."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from motions import MOUNT, motion

from ttt3r_ros.geometry import T_BODY_OPTICAL, inverse, rotation_from_vector
from ttt3r_ros.odometry.pose_integrator import Placement, level_start

FORWARD = motion(move=(0.0, 0.0, 1.0))  # of an optical camera


def walk(placement: Placement, count: int, scale: float = 1.0, **known: np.ndarray) -> list:
    T, placed = np.eye(4), []
    for _ in range(count):
        placed.append(placement.advance(T, scale, **known))
        T = T @ FORWARD
    return placed


def test_a_camera_alone_walks_along_x_of_a_z_up_map() -> None:
    last = walk(Placement(), 4)[-1]
    np.testing.assert_allclose(last.T_map_camera[:3, 3], [3.0, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(last.T_map_camera[:3, :3], T_BODY_OPTICAL[:3, :3], atol=1e-12)


def test_with_a_mount_the_base_starts_at_the_origin_and_the_camera_where_it_is_mounted() -> None:
    first = Placement().advance(np.eye(4), 1.0, MOUNT)
    np.testing.assert_allclose(first.T_map_base, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(first.T_map_camera, MOUNT, atol=1e-12)


def test_a_robot_that_drives_level_stays_level_with_a_camera_that_looks_down() -> None:
    placement = Placement()
    T_base = [motion(move=(0.3 * step, 0.0, 0.0), turn=(0.0, 0.0, 0.1 * step)) for step in range(20)]
    for T_map_base in T_base:
        T_world_camera = inverse(MOUNT) @ T_map_base @ MOUNT
        placed = placement.advance(T_world_camera, 1.0, MOUNT)
        np.testing.assert_allclose(placed.T_odom_base, T_map_base, atol=1e-9)


def test_a_camera_that_turns_on_its_mast_does_not_turn_the_body() -> None:
    placement = Placement()
    for step in range(10):
        mount = motion(turn=(0.0, 0.0, 0.2 * step)) @ MOUNT
        placed = placement.advance(inverse(MOUNT) @ mount, 1.0, mount)
        np.testing.assert_allclose(placed.T_odom_base, np.eye(4), atol=1e-9)


def test_a_change_of_scale_changes_what_comes_and_nothing_that_was() -> None:
    placement = Placement()
    before = walk(placement, 3)[-1]
    T = np.eye(4)
    T[2, 3] = 3.0
    after = placement.advance(T, 0.5)
    step = inverse(before.T_odom_base) @ after.T_odom_base
    assert np.linalg.norm(step[:3, 3]) == pytest.approx(0.5)


def test_a_reset_moves_the_map_and_not_odom() -> None:
    placement = Placement()
    before = walk(placement, 5)[-1]
    placement.reopen()
    after = placement.advance(np.eye(4), 1.0)
    np.testing.assert_allclose(after.T_odom_base, before.T_odom_base, atol=1e-12)
    np.testing.assert_allclose(after.T_map_camera, T_BODY_OPTICAL, atol=1e-9)


def test_forgetting_begins_odom_anew() -> None:
    placement = Placement()
    walk(placement, 5)
    placement.forget()
    after = placement.advance(np.eye(4), 1.0)
    np.testing.assert_allclose(after.T_odom_base, T_BODY_OPTICAL, atol=1e-12)
    np.testing.assert_allclose(after.T_map_odom, np.eye(4), atol=1e-12)


def test_a_pose_given_by_hand_moves_the_map_and_not_odom() -> None:
    placement = Placement()
    before = walk(placement, 3, T_base_camera=MOUNT)[-1]
    wanted = motion(turn=(0.0, 0.0, 1.0), move=(4.0, 5.0, 0.0))
    placement.set_pose(wanted)
    T = np.eye(4)
    T[2, 3] = 2.0
    after = placement.advance(T, 1.0, MOUNT)  # the camera has not moved since
    np.testing.assert_allclose(after.T_odom_base, before.T_odom_base, atol=1e-12)
    np.testing.assert_allclose(after.T_map_base, wanted, atol=1e-9)


def test_a_session_goes_on_where_it_was_saved() -> None:
    first = Placement()
    last = walk(first, 3, T_base_camera=MOUNT)[-1]
    T_world_camera = np.eye(4)
    T_world_camera[2, 3] = 2.0
    second = Placement()
    second.restore(last.T_map_base, last.T_base_camera, T_world_camera)
    goes_on = second.advance(T_world_camera @ FORWARD, 1.0, MOUNT)
    expected = first.advance(T_world_camera @ FORWARD, 1.0, MOUNT)
    np.testing.assert_allclose(goes_on.T_map_base, expected.T_map_base, atol=1e-9)


def test_ten_thousand_steps_leave_rotations_rotations() -> None:
    placement = Placement()
    T, step = np.eye(4), motion(turn=(0.01, 0.02, 0.03), move=(0.01, 0.0, 0.0))
    for _ in range(10_000):
        placed = placement.advance(T, 1.0)
        T = T @ step
        if _ % 500 == 0:
            T[:3, :3] = np.linalg.qr(T[:3, :3])[0] * np.sign(np.diag(np.linalg.qr(T[:3, :3])[1]))
    R = placed.T_odom_base[:3, :3]
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-9)


@given(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0))
def test_gravity_levels_the_map_whatever_the_tilt_of_the_first_camera(roll: float, pitch: float) -> None:
    R_level_camera = rotation_from_vector(np.array([roll, 0.0, 0.0])) @ rotation_from_vector(
        np.array([0.0, pitch, 0.0])
    )
    up_camera = (R_level_camera @ T_BODY_OPTICAL[:3, :3]).T @ [0.0, 0.0, 1.0]
    for mount in (None, MOUNT):
        T_map_camera = level_start(mount, up_camera) @ (np.eye(4) if mount is None else mount)
        np.testing.assert_allclose(T_map_camera[:3, :3] @ up_camera, [0.0, 0.0, 1.0], atol=1e-9)
