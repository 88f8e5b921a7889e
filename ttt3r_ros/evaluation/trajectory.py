# SPDX-License-Identifier: Apache-2.0
"""How far a trajectory is from ground truth, by evo."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from evo import EvoException
from evo.core import metrics, sync
from evo.core.trajectory import PoseTrajectory3D

from ttt3r_ros.errors import SourceError
from ttt3r_ros.geometry import quat_xyzw_from_rotation, se3_inverse, transform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ttt3r_ros.io.sequence import StampedPose
    from ttt3r_ros.types import Float64Array

MAX_TIME_DIFFERENCE_S = 0.02
_PARTS = 8


@dataclass(frozen=True)
class TrajectoryError:
    """Absolute trajectory error (root mean square of positions [m]) over associated poses.

    Only together do these tell the truth: aligning with a scale hides a wrong one.
    """

    se3_m: float  # after rigid alignment
    sim3_m: float  # after alignment with a scale
    scale: float  # ground truth = scale * estimate
    scale_spread: float  # deviation of that scale, as a factor above 1, between the eighths of the walk
    rpe_m: float  # error of the motion from one frame to the next, root mean square
    rpe_sim3_m: float  # the same after alignment with a scale
    rpe_deg: float
    steps: int  # motions between neighboring frames that both have a true pose; the three above are NaN without one
    pairs: int
    length_m: float  # of the ground truth
    T_truth_estimate: Float64Array  # (4, 4) the rigid alignment


@dataclass(frozen=True)
class TrajectoryComparison:
    """Associated positions (N, 3) in the world of the truth, and what they come to."""

    error: TrajectoryError
    stamps_s: Float64Array  # (N,)
    true_m: Float64Array
    rigid_m: Float64Array  # the estimate after rigid alignment
    similar_m: Float64Array  # the estimate after alignment with a scale

    def true_in_estimate(self) -> Float64Array:
        """Return the true positions (N, 3) in the world of the estimate, after rigid alignment."""
        return transform(se3_inverse(self.error.T_truth_estimate), self.true_m)

    def errors_m(self) -> tuple[Float64Array, Float64Array]:
        """Return the distances (N,) from the truth after rigid alignment and after one with a scale."""
        rigid, similar = (
            np.linalg.norm(moved - self.true_m, axis=1) for moved in (self.rigid_m, self.similar_m)
        )
        return rigid, similar


def compared(
    truth: list[StampedPose], estimate: list[StampedPose], places: Mapping[int, int] | None = None
) -> TrajectoryComparison:
    """Compare stamped poses (stamp_ns, T_world_camera); the two worlds may differ.

    ``places`` (stamp_ns -> number) tells which frames are neighbors, so that no motion across a gap counts as one
    step; without it the poses of the estimate are taken to follow each other.

    Raises:
        SourceError: fewer than three poses have a partner, or they do not span a plane.
    """
    try:
        reference, moving = sync.associate_trajectories(
            _trajectory(truth), _trajectory(estimate), max_diff=MAX_TIME_DIFFERENCE_S
        )
        rigid, similar = copy.deepcopy(moving), copy.deepcopy(moving)
        rotation, translation, _ = rigid.align(reference)
        _, _, scale = similar.align(reference, correct_scale=True)
    except (EvoException, ValueError, IndexError) as error:
        msg = f"trajectories of {len(truth)} and {len(estimate)} poses cannot be compared: {error}"
        raise SourceError(msg) from error
    if places is None:
        places = {stamp_ns: place for place, (stamp_ns, _) in enumerate(estimate)}
    place_at_s = {stamp_ns * 1e-9: place for stamp_ns, place in places.items()}
    runs = _runs(np.array([place_at_s[stamp_s] for stamp_s in moving.timestamps]))
    figures = TrajectoryError(
        se3_m=_position_rmse(reference, rigid),
        sim3_m=_position_rmse(reference, similar),
        scale=float(scale),
        scale_spread=_scale_spread(reference, moving),
        rpe_m=_step_rmse(reference, moving, metrics.PoseRelation.translation_part, runs),
        rpe_sim3_m=_step_rmse(reference, similar, metrics.PoseRelation.translation_part, runs),
        rpe_deg=_step_rmse(reference, moving, metrics.PoseRelation.rotation_angle_deg, runs),
        steps=sum(len(run) - 1 for run in runs),
        pairs=reference.num_poses,
        length_m=float(reference.path_length),
        T_truth_estimate=_rigid(rotation, translation),
    )
    return TrajectoryComparison(
        figures,
        reference.timestamps,
        reference.positions_xyz,
        rigid.positions_xyz,
        similar.positions_xyz,
    )


def _trajectory(poses: list[StampedPose]) -> PoseTrajectory3D:
    quats_xyzw = np.array([quat_xyzw_from_rotation(T[:3, :3]) for _, T in poses]).reshape(-1, 4)
    return PoseTrajectory3D(
        positions_xyz=np.array([T[:3, 3] for _, T in poses]).reshape(-1, 3),
        orientations_quat_wxyz=quats_xyzw[:, [3, 0, 1, 2]],
        timestamps=np.array([stamp_ns * 1e-9 for stamp_ns, _ in poses]),
    )


def _rigid(rotation: Float64Array, translation: Float64Array) -> Float64Array:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = rotation, translation
    return T


def _position_rmse(reference: PoseTrajectory3D, estimate: PoseTrajectory3D) -> float:
    error = metrics.APE(metrics.PoseRelation.translation_part)
    error.process_data((reference, estimate))
    return float(error.get_statistic(metrics.StatisticsType.rmse))


def _runs(places: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the indices of poses in runs of neighbors, those of at least two."""
    cuts = np.flatnonzero(np.diff(places) != 1) + 1
    return [run for run in np.split(np.arange(len(places)), cuts) if len(run) > 1]


def _step_rmse(
    reference: PoseTrajectory3D,
    estimate: PoseTrajectory3D,
    relation: metrics.PoseRelation,
    runs: list[NDArray[np.int64]],
) -> float:
    """Return the error of evo over each run by itself, the errors of all steps pooled."""
    errors = []
    for run in runs:
        step = metrics.RPE(relation, delta=1, delta_unit=metrics.Unit.frames, all_pairs=True)
        step.process_data((_part(reference, run), _part(estimate, run)))
        errors.append(step.error)
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2))) if errors else float("nan")


def _part(trajectory: PoseTrajectory3D, chosen: NDArray[np.int64]) -> PoseTrajectory3D:
    return PoseTrajectory3D(
        positions_xyz=trajectory.positions_xyz[chosen],
        orientations_quat_wxyz=trajectory.orientations_quat_wxyz[chosen],
        timestamps=trajectory.timestamps[chosen],
    )


def _scale_spread(reference: PoseTrajectory3D, estimate: PoseTrajectory3D) -> float:
    """Return exp of the deviation of log(true / estimated distance covered) between parts of the walk."""
    ends = np.unique(np.linspace(0, reference.num_poses - 1, _PARTS + 1).astype(int))
    true_m, estimated_m = (np.diff(path.distances[ends]) for path in (reference, estimate))
    moved = (true_m > 1e-6) & (estimated_m > 1e-6)
    return float(np.exp(np.std(np.log(true_m[moved] / estimated_m[moved])))) if moved.any() else 1.0


class PosesByTime:
    """Stamped poses, found by time."""

    def __init__(self, poses: list[StampedPose]) -> None:
        ordered = sorted(poses, key=lambda pose: pose[0])
        self._stamps_ns = np.array([stamp_ns for stamp_ns, _ in ordered], np.int64)
        self._poses = [T for _, T in ordered]

    def at(self, stamp_ns: int) -> Float64Array | None:
        """Return the pose (4, 4) nearest in time, if it is near enough."""
        if not self._poses:
            return None
        index = int(np.argmin(np.abs(self._stamps_ns - stamp_ns)))
        near = abs(int(self._stamps_ns[index]) - stamp_ns) <= MAX_TIME_DIFFERENCE_S * 1e9
        return self._poses[index] if near else None
