# SPDX-License-Identifier: Apache-2.0
"""Trajectory: poses relative to keyframes, deltas for readers, saving."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from ttt3r_ros.errors import SourceError
from ttt3r_ros.geometry import (
    pose_matrix,
    pose_matrix_xyzw,
    quat_xyzw_from_rotation,
    rotation_from_quat_wxyz,
    se3_inverse,
)
from ttt3r_ros.mapping.trajectory import Trajectory

NOW_NS = 1_785_000_000_123_456_789


def pose(k: int) -> np.ndarray:
    return pose_matrix(np.array([k, 2.0 * k, -k, 1.0, 0.1 * k, 0.2, 0.3]))


def test_poses_are_returned_in_order_with_exact_stamps() -> None:
    trajectory = Trajectory()
    for k in range(4):
        trajectory.append(NOW_NS + k, pose(k))
    stamps_ns, poses = trajectory.poses()
    assert len(trajectory) == 4
    assert stamps_ns == [NOW_NS + k for k in range(4)]
    for k, row in enumerate(poses):
        np.testing.assert_allclose(row[:3], [k, 2.0 * k, -k])
        np.testing.assert_allclose(
            rotation_from_quat_wxyz(row[[6, 3, 4, 5]]), pose(k)[:3, :3], atol=1e-12
        )


def test_poses_of_an_empty_trajectory_have_no_rows() -> None:
    stamps_ns, poses = Trajectory().poses()
    assert stamps_ns == []
    assert poses.shape == (0, 7)


def test_a_cleared_trajectory_can_be_filled_again() -> None:
    trajectory = Trajectory()
    trajectory.append(1, pose(1))
    trajectory.clear()
    assert len(trajectory) == 0
    trajectory.append(2, pose(2))
    assert trajectory.poses()[0] == [2]


def test_returned_poses_are_a_copy() -> None:
    trajectory = Trajectory()
    trajectory.append(1, pose(1))
    stamps_ns, poses = trajectory.poses()
    trajectory.append(2, pose(2))
    trajectory.clear()
    assert (stamps_ns, poses.shape) == ([1], (1, 7))


def test_concurrent_reads_have_one_pose_per_stamp() -> None:
    trajectory = Trajectory()

    def write() -> None:
        for k in range(2000):
            trajectory.append(k, pose(k))

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        stamps_ns, poses = trajectory.poses()
        assert poses.shape == (len(stamps_ns), 7)
        np.testing.assert_array_equal(poses[:, 0], stamps_ns)
    writer.join()
    assert len(trajectory) == 2000


def test_concurrent_reads_have_all_poses_moved_or_none() -> None:
    trajectory = Trajectory()
    for k in range(200):
        trajectory.append(k, pose(k))
    T, moves = np.eye(4), 10
    T[2, 3] = 1.0

    def transform() -> None:
        for _ in range(moves):
            trajectory.transform(T)

    mover = threading.Thread(target=transform)
    mover.start()
    while mover.is_alive():
        _, poses = trajectory.poses()
        assert len(poses) == 200
        np.testing.assert_allclose(poses[:, 2] + np.arange(200), poses[0, 2], atol=1e-9)
    mover.join()
    assert trajectory.poses()[1][0, 2] == moves


def test_delta_has_the_appended_poses() -> None:
    trajectory = Trajectory()
    trajectory.append(1, pose(1))
    first = trajectory.delta(-1, 0)
    trajectory.append(2, pose(2))
    then = trajectory.delta(first.revision, 1)
    assert (first.start, first.poses[:, 0].tolist()) == (0, [1.0])
    assert (then.start, then.poses[:, 0].tolist()) == (1, [2.0])
    assert (then.epoch, then.revision) == (first.epoch, first.revision)


def test_delta_after_a_transform_has_all_poses_in_the_same_epoch() -> None:
    trajectory = Trajectory()
    trajectory.append(1, pose(1))
    first = trajectory.delta(-1, 0)
    trajectory.transform(np.eye(4))
    then = trajectory.delta(first.revision, 1)
    assert (then.epoch, then.start, len(then.poses)) == (first.epoch, 0, 1)
    assert then.revision == trajectory.revision > first.revision


def test_clearing_and_loading_start_a_new_epoch() -> None:
    trajectory = Trajectory()
    trajectory.append(1, pose(1))
    saved = trajectory.state_dict()
    before = trajectory.delta(-1, 0)
    trajectory.clear()
    cleared = trajectory.delta(before.revision, 1)
    trajectory.load_state_dict(saved)
    restored = trajectory.delta(cleared.revision, 0)
    assert before.epoch < cleared.epoch < restored.epoch
    assert (len(cleared.poses), restored.start, len(restored.poses)) == (0, 0, 1)


def test_transform_equals_moving_every_row_to_the_last_bit() -> None:
    trajectory, T = Trajectory(), pose(3)
    for k in range(50):
        trajectory.append(k, pose(k))
    before = trajectory.poses()[1]
    trajectory.transform(T)
    trajectory.append(50, pose(7))
    moved = [T @ T_map_camera for T_map_camera in pose_matrix_xyzw(before)]
    expected = [(*M[:3, 3], *quat_xyzw_from_rotation(M[:3, :3])) for M in (*moved, pose(7))]
    np.testing.assert_array_equal(trajectory.poses()[1], expected)


def test_a_correction_costs_one_pose_per_keyframe() -> None:
    trajectory = Trajectory()
    for k in range(50):
        trajectory.append(k, pose(k))
    stored = trajectory.state_dict()["poses"]
    trajectory.transform(pose(1))
    trajectory.set_keyframe_poses({0: pose(2)})
    np.testing.assert_array_equal(trajectory.state_dict()["poses"], stored)
    assert trajectory.keyframe_poses.shape == (2, 4, 4)


def with_keyframes() -> Trajectory:
    """Poses 0 and 1 are relative to the identity, 2 and 3 to keyframe 1, 4 and 5 to keyframe 2."""
    trajectory = Trajectory()
    for k in range(6):
        if k in (2, 4):
            assert trajectory.add_keyframe(pose(k)) == k // 2
        trajectory.append(k, pose(k))
    return trajectory


def matrices(trajectory: Trajectory) -> np.ndarray:
    return pose_matrix_xyzw(trajectory.poses()[1])


def test_keyframes_do_not_change_the_poses_in_the_map() -> None:
    np.testing.assert_allclose(matrices(with_keyframes()), [pose(k) for k in range(6)], atol=1e-12)


def test_poses_move_with_their_keyframe() -> None:
    trajectory, T = with_keyframes(), pose(9)
    revision, before = trajectory.revision, matrices(trajectory)
    trajectory.set_keyframe_poses({1: T})
    expected = before.copy()
    expected[2:4] = T @ se3_inverse(pose(2)) @ before[2:4]
    np.testing.assert_allclose(matrices(trajectory), expected, atol=1e-12)
    assert trajectory.revision == revision + 1


def test_delta_of_a_later_keyframe_is_composed_alike() -> None:
    trajectory = with_keyframes()
    trajectory.set_keyframe_poses({2: pose(9)})
    delta = trajectory.delta(trajectory.revision, 3)
    np.testing.assert_array_equal(delta.poses, trajectory.poses()[1][3:])


def test_delta_after_a_keyframe_correction_has_all_poses() -> None:
    trajectory = with_keyframes()
    known = trajectory.delta(-1, 0)
    trajectory.set_keyframe_poses({1: pose(9)})
    delta = trajectory.delta(known.revision, len(known.poses))
    assert (delta.epoch, delta.start, len(delta.poses)) == (known.epoch, 0, 6)


def test_transform_moves_the_poses_of_all_keyframes() -> None:
    trajectory, T = with_keyframes(), pose(9)
    trajectory.transform(T)
    trajectory.append(6, T @ pose(6))
    np.testing.assert_allclose(matrices(trajectory), [T @ pose(k) for k in range(7)], atol=1e-11)


@pytest.mark.parametrize("keyframe_id", [-1, 3])
def test_an_unknown_keyframe_changes_nothing(keyframe_id: int) -> None:
    trajectory = with_keyframes()
    before = trajectory.poses()[1]
    with pytest.raises(KeyError, match=str(keyframe_id)):
        trajectory.set_keyframe_poses({0: pose(1), keyframe_id: pose(2)})
    np.testing.assert_array_equal(trajectory.poses()[1], before)


def test_a_loaded_trajectory_continues_to_the_last_bit() -> None:
    whole, loaded = with_keyframes(), Trajectory()
    loaded.load_state_dict(whole.state_dict())
    for trajectory in (whole, loaded):
        trajectory.append(6, pose(6))
        trajectory.transform(pose(1))
    for name, array in whole.state_dict().items():
        np.testing.assert_array_equal(loaded.state_dict()[name], array, err_msg=name)
    np.testing.assert_array_equal(loaded.poses()[1], whole.poses()[1])


def test_invalid_arrays_are_refused_and_change_nothing() -> None:
    valid = with_keyframes().state_dict()
    sheared = valid["keyframe_poses"].copy()
    sheared[1, 3, 0] = 1.0
    invalid = {
        "stamps_ns": valid["stamps_ns"][1:],
        "keyframe_ids": valid["keyframe_ids"] + 1,
        "poses": valid["poses"] * np.nan,
        "keyframe_poses": sheared,
    }
    trajectory = with_keyframes()
    for name, array in invalid.items():
        for arrays in (valid | {name: array}, {key: valid[key] for key in valid if key != name}):
            with pytest.raises(SourceError):
                trajectory.load_state_dict(arrays)
    with pytest.raises(SourceError):
        trajectory.load_state_dict(valid | {"keyframe_poses": valid["keyframe_poses"][:0]})
    np.testing.assert_array_equal(trajectory.poses()[1], with_keyframes().poses()[1])
