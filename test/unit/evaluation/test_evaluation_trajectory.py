# SPDX-License-Identifier: Apache-2.0
"""How far a trajectory is from ground truth."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from ttt3r_ros.errors import SourceError
from ttt3r_ros.evaluation.metrics.trajectory import TrajectoryError, compare_trajectories
from ttt3r_ros.geometry import pose_matrix, se3_inverse

NOW_NS = 1_785_000_000 * 10**9
Stamped = list[tuple[int, np.ndarray]]


def trajectory_error(truth, estimate) -> TrajectoryError:
    return compare_trajectories(truth, estimate).error


def truth(count: int = 30, step_ns: int = 100_000_000) -> Stamped:
    """Return a helix of radius two meters."""
    poses = []
    for k in range(count):
        angle = 0.2 * k
        position = (2 * np.cos(angle), 2 * np.sin(angle), 0.05 * k)
        poses.append((NOW_NS + k * step_ns, pose_matrix(np.array([*position, 1.0, 0.0, 0.0, angle]))))
    return poses


T_OTHER = pose_matrix(np.array([5.0, -3.0, 1.0, 0.3, 0.5, -0.7, 0.2]))


def moved(poses: Stamped, scale: float = 1.0) -> Stamped:
    """Return the same motion in another world, at another scale."""
    moved_poses = []
    for stamp_ns, T in poses:
        scaled = T.copy()
        scaled[:3, 3] *= scale
        moved_poses.append((stamp_ns, T_OTHER @ scaled))
    return moved_poses


def test_the_same_walk_in_another_world_has_no_error() -> None:
    error = trajectory_error(truth(), moved(truth()))
    assert (error.se3_m, error.sim3_m) == pytest.approx((0.0, 0.0), abs=1e-9)
    assert error.scale == pytest.approx(1.0)
    assert error.pairs == 30
    steps = np.diff([T[:3, 3] for _, T in truth()], axis=0)
    assert error.length_m == pytest.approx(np.linalg.norm(steps, axis=1).sum())


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_a_wrong_scale_shows_in_the_rigid_error_and_as_the_scale_alone(scale: float) -> None:
    error = trajectory_error(truth(), moved(truth(), scale))
    assert error.sim3_m == pytest.approx(0.0, abs=1e-9)
    assert error.scale == pytest.approx(1 / scale), "ground truth = scale * estimate"
    spread = np.array([T[:3, 3] for _, T in truth()])
    deviation = np.sqrt(((spread - spread.mean(axis=0)) ** 2).sum(axis=1).mean())
    assert error.se3_m == pytest.approx(abs(1 - scale) * deviation, rel=1e-6)


def test_noise_of_a_known_size_is_the_error() -> None:
    rng = np.random.default_rng(0)
    noisy = moved(truth(400, 10_000_000))
    for _, T in noisy:
        T[:3, 3] += rng.normal(scale=0.1, size=3)
    error = trajectory_error(truth(400, 10_000_000), noisy)
    assert error.se3_m == pytest.approx(0.1 * np.sqrt(3), rel=0.05)
    assert error.sim3_m <= error.se3_m


def test_true_positions_are_given_in_the_world_of_the_estimate() -> None:
    estimate = moved(truth())
    positions = compare_trajectories(truth(), estimate).true_in_estimate()
    np.testing.assert_allclose(positions, [T[:3, 3] for _, T in estimate], atol=1e-9)


def test_poses_are_matched_by_time_and_those_without_a_partner_left_out() -> None:
    estimate = moved([(stamp_ns + 5_000_000, T) for stamp_ns, T in truth()[3::2]])
    error = trajectory_error(truth(), estimate)
    assert error.pairs == len(truth()[3::2])
    assert error.se3_m == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("reference", "estimate"),
    [
        (truth(), []),
        ([], truth()),
        (truth(), [(stamp_ns + 10**12, T) for stamp_ns, T in truth()]),
    ],
    ids=["no estimate", "no truth", "another time"],
)
def test_trajectories_without_a_common_pose_are_refused(reference: Stamped, estimate: Stamped) -> None:
    with pytest.raises(SourceError, match=f"{len(reference)} and {len(estimate)}"):
        trajectory_error(reference, estimate)


def test_the_alignment_is_the_one_of_evo() -> None:
    """Trajectories that determine the alignment have the figures of evo to the last bit."""
    from evo.core.geometry import umeyama_alignment

    rng = np.random.default_rng(0)
    noisy = moved(truth(), 0.7)
    for _, T in noisy:
        T[:3, 3] += rng.normal(scale=0.1, size=3)
    error = trajectory_error(truth(), noisy)
    true_m, estimate_m = (np.array([T[:3, 3] for _, T in poses]).T for poses in (truth(), noisy))
    rotation, translation, _ = umeyama_alignment(estimate_m, true_m)
    _, _, scale = umeyama_alignment(estimate_m, true_m, with_scale=True)
    np.testing.assert_array_equal(error.T_truth_estimate[:3, :3], rotation)
    np.testing.assert_array_equal(error.T_truth_estimate[:3, 3], translation)
    assert error.scale == scale
    assert error.undetermined == ""


def test_comparing_changes_neither_trajectory() -> None:
    reference, estimate = truth(), moved(truth())
    trajectory_error(reference, estimate)
    np.testing.assert_array_equal([T for _, T in estimate], [T for _, T in moved(truth())])
    np.testing.assert_array_equal([T for _, T in reference], [T for _, T in truth()])


def test_the_spread_of_the_scale_separates_a_drifting_scale_from_a_wrong_one() -> None:
    walk = truth(count=81)
    assert trajectory_error(walk, moved(walk, 2.0)).scale_spread == pytest.approx(1.0)
    positions = np.array([T[:3, 3] for _, T in walk])
    steps = np.diff(positions, axis=0) * np.where(np.arange(80) < 40, 1.0, 4.0)[:, None]
    changing = [(stamp_ns, T.copy()) for stamp_ns, T in walk]
    for (_, T), position in zip(
        changing, np.vstack((np.zeros(3), np.cumsum(steps, axis=0))), strict=True
    ):
        T[:3, 3] = position
    assert trajectory_error(walk, changing).scale_spread == pytest.approx(2.0), "half at 1, half at 1/4"


def test_the_error_of_a_step_is_that_of_the_motion_and_not_of_the_place() -> None:
    walk = truth()
    drifting = [(stamp_ns, T.copy()) for stamp_ns, T in walk]
    for k, (_, T) in enumerate(drifting):
        T[:3, 3] += k * np.array([0.0, 0.0, 0.01])
    error = trajectory_error(walk, drifting)
    assert error.rpe_m == pytest.approx(0.01, rel=1e-6)
    assert error.rpe_deg == pytest.approx(0.0, abs=1e-4)
    assert error.se3_m > 0.02


def drifting(poses: Stamped, T_step: np.ndarray) -> Stamped:
    """Return a motion of which each step ends by an extra motion (4, 4)."""
    moved_poses = [poses[0]]
    for (_, T_before), (stamp_ns, T) in pairwise(poses):
        moved_poses.append((stamp_ns, moved_poses[-1][1] @ se3_inverse(T_before) @ T @ T_step))
    return moved_poses


def test_a_turn_of_two_degrees_in_every_step_is_two_degrees() -> None:
    half = np.radians(2.0) / 2
    turn = pose_matrix(np.array([0.0, 0.0, 0.0, np.cos(half), 0.0, 0.0, np.sin(half)]))
    error = trajectory_error(truth(), drifting(truth(), turn))
    assert error.rpe_deg == pytest.approx(2.0, rel=1e-5)


def test_a_motion_across_a_gap_is_no_step() -> None:
    """A centimeter too much in every step: two where a frame is missing, and that does not count."""
    slip = np.eye(4)
    slip[0, 3] = 0.01
    walk = truth()
    estimate = [pose for k, pose in enumerate(drifting(walk, slip)) if k not in (10, 20, 22)]
    places = {stamp_ns: k for k, (stamp_ns, _) in enumerate(walk)}
    error = compare_trajectories(walk, estimate, places).error
    assert error.rpe_m == pytest.approx(0.01, rel=1e-6)
    assert (error.pairs, error.steps) == (27, 29 - 6)
    assert compare_trajectories(walk, estimate).error.rpe_m > 0.0105, "the gaps would count"


def test_frames_without_a_true_pose_are_gaps_too() -> None:
    slip = np.eye(4)
    slip[0, 3] = 0.01
    estimate = drifting(truth(), slip)
    error = trajectory_error([pose for k, pose in enumerate(truth()) if k != 15], estimate)
    assert error.rpe_m == pytest.approx(0.01, rel=1e-6)
    assert error.steps == 29 - 2


def test_without_neighbors_there_is_no_error_of_a_step() -> None:
    error = trajectory_error(truth()[::2], truth())
    assert (error.steps, error.pairs) == (0, 15)
    assert np.isnan([error.rpe_m, error.rpe_sim3_m, error.rpe_deg]).all()
