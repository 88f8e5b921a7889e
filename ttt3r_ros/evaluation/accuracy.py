# SPDX-License-Identifier: Apache-2.0
"""Accuracy of a reconstructor on a sequence with ground truth."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ttt3r_ros.errors import ImageError, NonFiniteError, PlacementError, SourceError
from ttt3r_ros.evaluation.metrics.depth import DepthComparison, DepthError
from ttt3r_ros.evaluation.metrics.trajectory import TrajectoryError, compare_trajectories
from ttt3r_ros.geometry import pose_matrix_xyzw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ttt3r_ros.io.sequence import ImageSequence, StampedPose
    from ttt3r_ros.pipeline.reconstructor import Reconstructor
    from ttt3r_ros.types import Float32Array, Update


@dataclass
class FrameLog:
    """Frames of one pass over a sequence: processed, refused and without readable depth."""

    stamps_ns: list[int] = field(default_factory=list)  # of all frames
    # Stamp to index in the sequence, of the first frame with that stamp: neighbors differ by one.
    indices: dict[int, int] = field(default_factory=dict)
    refused_at: list[int] = field(default_factory=list)  # indices of refused frames
    unread_depths: list[tuple[int, str]] = field(default_factory=list)  # index and reason
    seconds: float = 0.0  # of the reconstructor alone

    @property
    def refused(self) -> int:
        """Return the number of refused frames."""
        return len(self.refused_at)

    @property
    def frames(self) -> int:
        """Return the number of frames with a pose."""
        return len(self.stamps_ns) - self.refused

    @property
    def frames_per_s(self) -> float:
        """Return the frame rate of the reconstructor."""
        return self.frames / max(self.seconds, 1e-9)


@dataclass(frozen=True)
class Accuracy:
    """Errors of one sequence."""

    frames: int
    refused: int  # images that could not be used
    frames_per_s: float  # of the reconstructor alone
    trajectory: TrajectoryError
    depth: DepthError | None
    unread_depths: int = 0  # files of true depth that could not be read


def measure(sequence: ImageSequence, reconstructor: Reconstructor[Any], limit: int = 0) -> Accuracy:
    """Process a sequence (its first ``limit`` frames, 0: all) and compare poses and depth with the truth.

    Depth is compared where the sequence has ``true_depth_m(stamp_ns) -> (h, w) meters or None``.

    Raises:
        SourceError: no pose can be compared.
    """
    depth, frame_log = DepthComparison(), FrameLog()
    for update in updates(sequence, reconstructor, frame_log, limit):
        true_m = read_depth_m(sequence, update, frame_log)
        if true_m is not None:
            depth.add(update.prediction, true_m)
    estimate = read_poses(reconstructor)
    return Accuracy(
        frames=frame_log.frames,
        refused=frame_log.refused,
        frames_per_s=frame_log.frames_per_s,
        trajectory=compare_trajectories(sequence.ground_truth(), estimate, frame_log.indices).error,
        depth=depth.error(),
        unread_depths=len(frame_log.unread_depths),
    )


def updates(
    sequence: ImageSequence, reconstructor: Reconstructor[Any], frame_log: FrameLog, limit: int = 0
) -> Iterator[Update]:
    """Process a sequence (its first ``limit`` frames, 0: all); record all frames, yield the updates."""
    for frame in sequence.frames():
        if limit and len(frame_log.stamps_ns) >= limit:
            break
        shown_before = len(frame_log.stamps_ns)
        frame_log.stamps_ns.append(frame.stamp_ns)
        # Two poses with one stamp cannot be associated with the truth.
        if frame.stamp_ns in frame_log.indices:
            frame_log.refused_at.append(shown_before)
            continue
        frame_log.indices[frame.stamp_ns] = _index_of(sequence, frame.stamp_ns, shown_before)
        started = time.perf_counter()
        try:
            update = reconstructor.step(frame)
        except (ImageError, NonFiniteError, PlacementError):
            frame_log.refused_at.append(shown_before)
            continue
        finally:
            frame_log.seconds += time.perf_counter() - started
        yield update


def read_poses(reconstructor: Reconstructor[Any]) -> list[StampedPose]:
    """Return the stamped poses (stamp_ns, T_map_camera) of all frames so far."""
    stamps_ns, poses = reconstructor.trajectory.poses()
    return list(zip(stamps_ns, pose_matrix_xyzw(poses), strict=True))


def read_depth_m(sequence: ImageSequence, update: Update, frame_log: FrameLog) -> Float32Array | None:
    """Return the measured depth of the current frame; None and a record in the log if it cannot be read."""
    try:
        return true_depth_m(sequence, update.frame.stamp_ns)
    except (SourceError, OSError) as error:
        frame_log.unread_depths.append((len(frame_log.stamps_ns) - 1, str(error)))
        return None


def true_depth_m(sequence: ImageSequence, stamp_ns: int) -> Float32Array | None:
    """Return the measured depth (h, w) of a frame; None if there is none, as in videos and bags."""
    measured = getattr(sequence, "true_depth_m", None)
    return None if measured is None else measured(stamp_ns)


def _index_of(sequence: ImageSequence, stamp_ns: int, shown_before: int) -> int:
    """Return the index of a frame: from the sampling, else counted with a gap for each broken file."""
    place_of: dict[int, int] | None = getattr(sequence, "place_of", None)
    return shown_before + sequence.skipped if place_of is None else place_of[stamp_ns]
