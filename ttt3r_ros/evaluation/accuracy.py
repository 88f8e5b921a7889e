# SPDX-License-Identifier: Apache-2.0
"""How well a reconstructor does on a sequence with ground truth."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ttt3r_ros.errors import ImageError, NonFiniteError
from ttt3r_ros.evaluation.depth import DepthComparison, DepthError
from ttt3r_ros.evaluation.trajectory import TrajectoryError, trajectory_error
from ttt3r_ros.geometry import pose_matrix

if TYPE_CHECKING:
    from ttt3r_ros.io.sequence import Sequence
    from ttt3r_ros.pipeline.reconstructor import Reconstructor


@dataclass(frozen=True)
class Accuracy:
    """What came of one sequence."""

    frames: int
    refused: int  # images that could not be used
    frames_per_s: float  # of the reconstructor alone
    trajectory: TrajectoryError
    depth: DepthError | None


def measure(sequence: Sequence, reconstructor: Reconstructor[Any], limit: int = 0) -> Accuracy:
    """Show a sequence (its first ``limit`` frames, 0: all) and compare poses and depth with the truth.

    Depth is compared where the sequence has ``true_depth_m(stamp_ns) -> (h, w) metres or None``.

    Raises:
        SourceError: fewer than three poses can be compared.
    """
    depth = DepthComparison()
    true_depth_m = getattr(sequence, "true_depth_m", _nowhere)
    frames = refused = 0
    seconds = 0.0
    for frame in sequence.frames():
        if limit and frames + refused >= limit:
            break
        started = time.perf_counter()
        try:
            update = reconstructor.step(frame)
        except (ImageError, NonFiniteError):
            refused += 1
            continue
        finally:
            seconds += time.perf_counter() - started
        frames += 1
        true_m = true_depth_m(frame.stamp_ns)
        if true_m is not None:
            depth.add(update.prediction, true_m)
    stamps_ns, poses = reconstructor.trajectory.poses()
    matrices = pose_matrix(poses[:, [0, 1, 2, 6, 3, 4, 5]])
    return Accuracy(
        frames=frames,
        refused=refused,
        frames_per_s=frames / max(seconds, 1e-9),
        trajectory=trajectory_error(
            sequence.ground_truth(), list(zip(stamps_ns, matrices, strict=True))
        ),
        depth=depth.error(),
    )


def _nowhere(_stamp_ns: int) -> None:
    """Videos and bags come without depth to compare with."""
