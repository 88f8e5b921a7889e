# SPDX-License-Identifier: Apache-2.0
"""Errors of a trajectory against ground truth, computed by evo."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from evo import EvoException
from evo.core import lie_algebra, metrics, sync
from evo.core.trajectory import PoseTrajectory3D

from ttt3r_ros.errors import SourceError
from ttt3r_ros.evaluation.metrics.alignment import align_degenerate
from ttt3r_ros.geometry import quat_xyzw_from_rotation, se3_inverse, transform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ttt3r_ros.io.sequence import StampedPose
    from ttt3r_ros.types import Float64Array

MAX_TIME_DIFFERENCE_S = 0.02
_SCALE_PARTS = 8


@dataclass(frozen=True)
class TrajectoryError:
    """Absolute trajectory error (root mean square of positions [m]) over associated poses.

    Both alignments belong together: one with a scale hides a wrong scale.
    """

    se3_m: float  # after rigid alignment
    sim3_m: float  # after alignment with a scale, if the scale is determined
    scale: float  # ground truth = scale * estimate; NaN: undetermined
    scale_spread: float  # deviation of that scale, as a factor above 1, between eighths of the path
    rpe_m: float  # error of the motion from one frame to the next, root mean square
    rpe_sim3_m: float  # the same after alignment with a scale
    rpe_deg: float
    steps: int  # motions between neighboring frames with true poses; without one the three errors above are NaN
    pairs: int
    length_m: float  # of the ground truth
    T_truth_estimate: Float64Array  # (4, 4) the rigid alignment
    undetermined: str = ""  # what the trajectories do not determine of the alignment


@dataclass(frozen=True)
class TrajectoryComparison:
    """Associated positions (N, 3) in the world frame of the truth, and their errors."""

    error: TrajectoryError
    stamps_s: Float64Array  # (N,)
    true_m: Float64Array
    rigid_m: Float64Array  # the estimate after rigid alignment
    similar_m: Float64Array  # the estimate after alignment with a scale

    def true_in_estimate(self) -> Float64Array:
        """Return the true positions (N, 3) in the world frame of the estimate, after rigid alignment."""
        return transform(se3_inverse(self.error.T_truth_estimate), self.true_m)

    def errors_m(self) -> tuple[Float64Array, Float64Array]:
        """Return the distances (N,) from the truth after rigid alignment and after one with a scale."""
        rigid, similar = (
            np.linalg.norm(moved - self.true_m, axis=1) for moved in (self.rigid_m, self.similar_m)
        )
        return rigid, similar


def compare_trajectories(
    truth: list[StampedPose],
    estimate: list[StampedPose],
    frame_indices: Mapping[int, int] | None = None,
) -> TrajectoryComparison:
    """Compare stamped poses (stamp_ns, T_world_camera); the two world frames may differ.

    ``frame_indices`` (stamp_ns -> index) identifies neighboring frames, so that a motion across a gap is not a step;
    without it consecutive poses of the estimate are neighbors.

    Raises:
        SourceError: no pose has a partner in time.
    """
    try:
        reference, moving = sync.associate_trajectories(
            _trajectory(truth), _trajectory(estimate), max_diff=MAX_TIME_DIFFERENCE_S
        )
        rigid, similar = copy.deepcopy(moving), copy.deepcopy(moving)
        rotation, translation, scale, undetermined = _align(reference, rigid, similar)
    except (EvoException, ValueError, IndexError) as error:
        msg = f"trajectories of {len(truth)} and {len(estimate)} poses cannot be compared: {error}"
        raise SourceError(msg) from error
    if frame_indices is None:
        frame_indices = {stamp_ns: index for index, (stamp_ns, _) in enumerate(estimate)}
    index_at_s = {stamp_ns * 1e-9: index for stamp_ns, index in frame_indices.items()}
    runs = _runs(np.array([index_at_s[stamp_s] for stamp_s in moving.timestamps]))
    figures = TrajectoryError(
        se3_m=_position_rmse(reference, rigid),
        sim3_m=_position_rmse(reference, similar),
        scale=float(scale),
        scale_spread=_scale_spread(reference, moving) if math.isfinite(scale) else math.nan,
        rpe_m=_step_rmse(reference, moving, metrics.PoseRelation.translation_part, runs),
        rpe_sim3_m=_step_rmse(reference, similar, metrics.PoseRelation.translation_part, runs),
        rpe_deg=_step_rmse(reference, moving, metrics.PoseRelation.rotation_angle_deg, runs),
        steps=sum(len(run) - 1 for run in runs),
        pairs=reference.num_poses,
        length_m=float(reference.path_length),
        T_truth_estimate=lie_algebra.se3(rotation, translation),
        undetermined=undetermined,
    )
    return TrajectoryComparison(
        figures,
        reference.timestamps,
        reference.positions_xyz,
        rigid.positions_xyz,
        similar.positions_xyz,
    )


def _align(
    reference: PoseTrajectory3D, rigid: PoseTrajectory3D, similar: PoseTrajectory3D
) -> tuple[Float64Array, Float64Array, float, str]:
    """Align two copies of the estimate in place, without and with a scale.

    Returns the rotation and translation of the rigid alignment, the scale, and the undetermined quantities.
    """
    estimate_m, true_m = rigid.positions_xyz, reference.positions_xyz
    degenerate = align_degenerate(estimate_m, true_m)
    if degenerate is None:
        rotation, translation, _ = rigid.align(reference)
        _, _, scale = similar.align(reference, correct_scale=True)
        return rotation, translation, scale, ""
    rotation = degenerate.rotation
    mean_true, mean_rotated = true_m.mean(axis=0), rotation @ estimate_m.mean(axis=0)
    factor = degenerate.scale if math.isfinite(degenerate.scale) else 1.0
    rigid.transform(lie_algebra.se3(rotation, mean_true - mean_rotated))
    similar.scale(factor)
    similar.transform(lie_algebra.se3(rotation, mean_true - factor * mean_rotated))
    return rotation, mean_true - mean_rotated, degenerate.scale, degenerate.undetermined


def _trajectory(poses: list[StampedPose]) -> PoseTrajectory3D:
    quats_xyzw = np.array([quat_xyzw_from_rotation(T[:3, :3]) for _, T in poses]).reshape(-1, 4)
    return PoseTrajectory3D(
        positions_xyz=np.array([T[:3, 3] for _, T in poses]).reshape(-1, 3),
        orientations_quat_wxyz=quats_xyzw[:, [3, 0, 1, 2]],
        timestamps=np.array([stamp_ns * 1e-9 for stamp_ns, _ in poses]),
    )


def _position_rmse(reference: PoseTrajectory3D, estimate: PoseTrajectory3D) -> float:
    error = metrics.APE(metrics.PoseRelation.translation_part)
    error.process_data((reference, estimate))
    return float(error.get_statistic(metrics.StatisticsType.rmse))


def _runs(indices: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the positions of poses in runs of at least two neighboring frames."""
    cuts = np.flatnonzero(np.diff(indices) != 1) + 1
    return [run for run in np.split(np.arange(len(indices)), cuts) if len(run) > 1]


def _step_rmse(
    reference: PoseTrajectory3D,
    estimate: PoseTrajectory3D,
    relation: metrics.PoseRelation,
    runs: list[NDArray[np.int64]],
) -> float:
    """Return the root mean square of evo's errors of the steps in all runs."""
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
    """Return exp of the deviation of log(true / estimated path length) between parts of the path."""
    ends = np.unique(np.linspace(0, reference.num_poses - 1, _SCALE_PARTS + 1).astype(int))
    true_m, estimated_m = (np.diff(path.distances[ends]) for path in (reference, estimate))
    moved = (true_m > 1e-6) & (estimated_m > 1e-6)
    return float(np.exp(np.std(np.log(true_m[moved] / estimated_m[moved])))) if moved.any() else 1.0


class PosesByTime:
    """Stamped poses by time."""

    def __init__(self, poses: list[StampedPose]) -> None:
        ordered = sorted(poses, key=lambda pose: pose[0])
        self._stamps_ns = np.array([stamp_ns for stamp_ns, _ in ordered], np.int64)
        self._poses = [T for _, T in ordered]

    def at(self, stamp_ns: int) -> Float64Array | None:
        """Return the pose (4, 4) nearest in time; None beyond `MAX_TIME_DIFFERENCE_S`."""
        if not self._poses:
            return None
        index = int(np.argmin(np.abs(self._stamps_ns - stamp_ns)))
        near = abs(int(self._stamps_ns[index]) - stamp_ns) <= MAX_TIME_DIFFERENCE_S * 1e9
        return self._poses[index] if near else None
