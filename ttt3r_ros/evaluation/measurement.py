# SPDX-License-Identifier: Apache-2.0
"""One pass over a sequence, evaluated by all protocols with the same sampling."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ttt3r_ros.errors import SourceError
from ttt3r_ros.evaluation.accuracy import FrameLog, read_depth_m, read_poses, updates
from ttt3r_ros.evaluation.metrics.depth import DepthComparison
from ttt3r_ros.evaluation.metrics.reconstruction import ReconstructionComparison
from ttt3r_ros.evaluation.metrics.trajectory import compare_trajectories
from ttt3r_ros.evaluation.protocols import DEPTH, POSE, RECONSTRUCTION, Protocol

if TYPE_CHECKING:
    from ttt3r_ros.evaluation.metrics.trajectory import TrajectoryComparison
    from ttt3r_ros.io.sequence import ImageSequence, StampedPose
    from ttt3r_ros.pipeline.reconstructor import Reconstructor
    from ttt3r_ros.types import Float32Array, Update


@dataclass(frozen=True)
class Result:
    """Figures of one sequence, protocol and length, or the reason for their absence."""

    sequence: str
    protocol: str
    length: int  # requested frames, 0: all
    frames: int = 0  # processed
    refused: int = 0  # images of these that could not be processed
    frames_per_s: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    problem: str = ""
    remarks: tuple[str, ...] = ()  # restrictions of the figures


@dataclass(frozen=True)
class Curves:
    """Curves in the plot of a sequence."""

    trajectory: TrajectoryComparison | None
    depth_times_s: list[float]  # since the first frame
    depth_abs_rel: list[float]  # of a frame, after the one scale of the sequence


@dataclass(frozen=True)
class Measurement:
    """Results of one pass over a sequence."""

    results: list[Result]
    curves: Curves


def evaluate(
    name: str, sequence: ImageSequence, reconstructor: Reconstructor[Any], protocols: list[Protocol]
) -> Measurement:
    """Process a sampled sequence and evaluate it by protocols of the same sampling.

    Each length is a prefix of the same pass, because later frames do not change earlier results.
    """
    pass_ = _Pass(name, sequence, protocols)
    limits = [protocol.limit for protocol in protocols]
    limit = max(limits) if all(limits) else 0
    for update in updates(sequence, reconstructor, pass_.frame_log, limit):
        pass_.add(update)
    pass_.estimate = read_poses(reconstructor)
    results = [pass_.result(protocol, length) for protocol in protocols for length in protocol.lengths]
    return Measurement(results, pass_.curves())


class _Pass:
    """One pass over a sequence."""

    def __init__(self, name: str, sequence: ImageSequence, protocols: list[Protocol]) -> None:
        self.frame_log = FrameLog()
        self.estimate: list[StampedPose] = []
        self._name = name
        self._sequence = sequence
        self._depths = {
            protocol: DepthComparison(
                protocol.pixel_step, protocol.max_depth_m, protocol.clip_m, cv2.INTER_CUBIC
            )
            for protocol in protocols
            if protocol.task == DEPTH
        }
        self._reconstructions = {
            protocol: ReconstructionComparison(
                protocol.center, protocol.max_depth_m, protocol.icp_m, protocol.limit
            )
            for protocol in protocols
            if protocol.task == RECONSTRUCTION
        }
        self._without_lens = ""
        self._undetermined: dict[int, str] = {}  # of the alignment of the trajectory, by length

    def add(self, update: Update) -> None:
        """Add the update of the current frame."""
        if not self._depths and not self._reconstructions:
            return
        true_m = read_depth_m(self._sequence, update, self.frame_log)
        if true_m is None:
            return
        frame = len(self.frame_log.stamps_ns) - 1
        for depth in self._depths.values():
            depth.add(update.prediction, true_m, frame)
        self._add_points(update, true_m, frame)

    def _add_points(self, update: Update, true_m: Float32Array, frame: int) -> None:
        if self._without_lens:
            return
        try:
            for reconstruction in self._reconstructions.values():
                reconstruction.add(update, true_m, frame)
        except SourceError as error:
            self._without_lens = str(error)

    def result(self, protocol: Protocol, length: int) -> Result:
        """Return the figures of the first frames (0: all), or the reason for their absence."""
        frames = min(length or len(self.frame_log.stamps_ns), len(self.frame_log.stamps_ns))
        metrics: dict[str, float] = {}
        problem = ""
        try:
            metrics = _TASKS[protocol.task](self, protocol, length)
        except SourceError as error:
            problem = str(error)
        return Result(
            sequence=self._name,
            protocol=protocol.name,
            length=length,
            frames=frames,
            refused=sum(index < frames for index in self.frame_log.refused_at),
            frames_per_s=self.frame_log.frames_per_s,
            metrics=metrics,
            problem=problem,
            remarks=self._remarks(protocol, length, frames),
        )

    def _remarks(self, protocol: Protocol, length: int, frames: int) -> tuple[str, ...]:
        remarks: tuple[str, ...] = getattr(self._sequence, "remarks", ())
        unread = [why for frame, why in self.frame_log.unread_depths if frame < frames]
        if protocol.task != POSE and unread:
            remarks += (
                f"true depths that cannot be read are left out, {len(unread)}: {'; '.join(unread)}",
            )
        if protocol.task == POSE and self._undetermined.get(length):
            remarks += (f"undetermined: {self._undetermined[length]}",)
        return remarks

    def pose_metrics(self, _: Protocol, length: int) -> dict[str, float]:
        error = self._trajectory(length).error
        self._undetermined[length] = error.undetermined
        return {
            "ate_se3_m": error.se3_m,
            "ate_sim3_m": error.sim3_m,
            "scale": error.scale,
            "scale_spread": error.scale_spread,
            "rpe_m": error.rpe_m,
            "rpe_sim3_m": error.rpe_sim3_m,
            "rpe_deg": error.rpe_deg,
            "steps": error.steps,
            "length_m": error.length_m,
            "pairs": error.pairs,
        }

    def depth_metrics(self, protocol: Protocol, length: int) -> dict[str, float]:
        aligned = self._depths[protocol].align(length)
        if aligned is None:
            msg = f"{self._name} has no true depth"
            raise SourceError(msg)
        factor, shift_m = aligned.scale_and_shift
        return {
            **_by_alignment(aligned.figures),
            "scale": aligned.scale,
            "shift_factor": factor,
            "shift_m": shift_m,
            "pixels": aligned.pixels,
        }

    def reconstruction_metrics(self, protocol: Protocol, length: int) -> dict[str, float]:
        if self._without_lens:
            raise SourceError(self._without_lens)
        truth = self._sequence.ground_truth()
        error = self._reconstructions[protocol].error(truth, self.estimate, length)
        if error is None:
            msg = f"{self._name} has no frame with true depth and true pose"
            raise SourceError(msg)
        return {
            **_by_alignment(error.figures),
            "scale": error.scale,
            "views": error.frames,
            "points": error.points,
            "share": error.share,
        }

    def curves(self) -> Curves:
        """Return the curves of the whole pass."""
        trajectory = None
        with suppress(SourceError):  # the result has the reason
            trajectory = self._trajectory(0)
        stamps_ns = self.frame_log.stamps_ns
        errors: list[tuple[int, float]] = []
        for depth in self._depths.values():  # plotted with the scale of all mapped frames
            errors = depth.abs_rel_of_frames(depth.scale()) or errors
        times_s = [(stamps_ns[frame] - stamps_ns[0]) * 1e-9 for frame, _ in errors]
        return Curves(trajectory, times_s, [error for _, error in errors])

    def _trajectory(self, length: int) -> TrajectoryComparison:
        shown = set(self.frame_log.stamps_ns[: length or None])
        estimate = [pose for pose in self.estimate if pose[0] in shown]
        return compare_trajectories(self._sequence.ground_truth(), estimate, self.frame_log.indices)


_TASKS = {
    POSE: _Pass.pose_metrics,
    DEPTH: _Pass.depth_metrics,
    RECONSTRUCTION: _Pass.reconstruction_metrics,
}


def _by_alignment(figures: dict[str, Any]) -> dict[str, float]:
    return {
        f"{name}.{alignment}": float(value)
        for alignment, one in figures.items()
        for name, value in asdict(one).items()
    }


def with_figure(results: list[Result], figure: str) -> list[Result]:
    """Return the results that have a figure: without a problem, and the figure is finite."""
    return [
        result
        for result in results
        if not result.problem and math.isfinite(result.metrics.get(figure, math.nan))
    ]


def mean_of(results: list[Result], by: str = "sequences") -> dict[str, float]:
    """Return the mean of each figure over the results that have it, plain or weighted by pixels."""
    means = {}
    for figure in dict.fromkeys(name for result in results for name in result.metrics):
        good = with_figure(results, figure)
        weights = [result.metrics["pixels"] if by == "pixels" else 1.0 for result in good]
        if good:
            means[figure] = float(
                np.average([result.metrics[figure] for result in good], weights=weights)
            )
    return means
