# SPDX-License-Identifier: Apache-2.0
"""Where the camera has been."""

from __future__ import annotations

import threading

import numpy as np

from ttt3r_ros.geometry import pose_matrix, rotation_from_quat_wxyz
from ttt3r_ros.mapping.trajectory import Trajectory

NOW_NS = 1_785_000_000_123_456_789


def pose(k: int) -> np.ndarray:
    return pose_matrix(np.array([k, 2.0 * k, -k, 1.0, 0.1 * k, 0.2, 0.3]))


def test_poses_come_back_in_order_with_exact_stamps() -> None:
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


def test_no_poses_are_a_table_without_rows() -> None:
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


def test_what_was_read_does_not_change_when_more_is_added() -> None:
    trajectory = Trajectory()
    trajectory.append(1, pose(1))
    stamps_ns, poses = trajectory.poses()
    trajectory.append(2, pose(2))
    trajectory.clear()
    assert (stamps_ns, poses.shape) == ([1], (1, 7))


def test_a_reader_never_sees_a_stamp_without_its_pose() -> None:
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


def test_a_reader_sees_all_poses_moved_or_none() -> None:
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


def test_the_news_are_the_poses_that_were_appended() -> None:
    trajectory = Trajectory()
    trajectory.append(1, pose(1))
    first = trajectory.delta(-1, 0)
    trajectory.append(2, pose(2))
    then = trajectory.delta(first.revision, 1)
    assert (first.start, first.poses[:, 0].tolist()) == (0, [1.0])
    assert (then.start, then.poses[:, 0].tolist()) == (1, [2.0])
    assert (then.epoch, then.revision) == (first.epoch, first.revision)


def test_once_poses_have_moved_all_of_them_are_news_and_no_new_beginning() -> None:
    trajectory = Trajectory()
    trajectory.append(1, pose(1))
    first = trajectory.delta(-1, 0)
    trajectory.transform(np.eye(4))
    then = trajectory.delta(first.revision, 1)
    assert (then.epoch, then.start, len(then.poses)) == (first.epoch, 0, 1)
    assert then.revision == trajectory.revision > first.revision


def test_forgetting_and_restoring_are_new_beginnings() -> None:
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
