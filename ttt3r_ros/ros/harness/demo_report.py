# SPDX-License-Identifier: Apache-2.0
"""Report of a demo run: counts of images, trajectory error, preview figure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.config import MapConfig
from ttt3r_ros.errors import SourceError
from ttt3r_ros.evaluation.metrics.trajectory import compare_trajectories
from ttt3r_ros.io.export.point_cloud import read_ply
from ttt3r_ros.io.trajectory_files import read_tum
from ttt3r_ros.mapping.voxel_map import PointCloud
from ttt3r_ros.viewer.preview import FrameSample, RunPreview, write_preview

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ttt3r_ros.io.sequence import ImageSequence, StampedPose
    from ttt3r_ros.ros.harness.player import Player
    from ttt3r_ros.types import Float64Array, Frame


@dataclass
class PlayedFrames:
    """Frames that the player has sent."""

    stamps_ns: list[int] = field(default_factory=list)
    samples: list[Frame] = field(default_factory=list)
    seconds: float = 0.0
    problem: str = ""  # read error that ended the source early


@dataclass(frozen=True)
class DemoResult:
    """A finished run, whose results the node has saved in ``output``."""

    name: str
    sequence: ImageSequence
    played: PlayedFrames
    player: Player
    output: Path

    @property
    def rate_hz(self) -> float:
        """Return the rate of mapped frames."""
        return self.player.stats.processed / self.played.seconds if self.played.seconds else 0.0


def report(result: DemoResult) -> int:
    """Print counts and error, write the preview figure; return the exit status."""
    stats, sent = result.player.stats, len(result.played.stamps_ns)
    estimate = read_tum(result.output / "trajectory.txt")
    error_text, true_positions = _compare(result, estimate)
    _draw(result, estimate, true_positions, error_text)
    lost = sent - stats.received
    print(
        f"images: {sent} sent = {stats.processed} processed + {stats.dropped} dropped"
        f" + {stats.skipped} skipped + {stats.refused} refused + {lost} lost in transit;"
        f" {result.rate_hz:.1f} frames/s, including reading and sending the images;"
        f" latency from image to results {result.player.facts.get('latency_ms', 'unknown')} ms in the node"
    )
    if result.played.problem:
        print(f"the sequence ended early: {result.played.problem}")
    print(f"trajectory: {error_text}")
    print(f"weights: {result.player.facts.get('weights', 'unknown')}")
    print(f"results: {result.output}/preview.png, map.ply, trajectory.txt, node.log")
    complete = stats.processed and sent == stats.finished + lost and not result.played.problem
    return 0 if complete else 1


def _compare(result: DemoResult, estimate: list[StampedPose]) -> tuple[str, Float64Array]:
    """Return the error against ground truth as text, and the true positions aligned to the estimate."""
    truth = result.sequence.ground_truth()
    no_positions = np.empty((0, 3))
    if not truth:
        return "no ground truth", no_positions
    try:
        comparison = compare_trajectories(truth, estimate)
    except SourceError as problem:
        return f"error not available: {problem}", no_positions
    error = comparison.error
    text = (
        f"ATE {error.se3_m:.3f} m (SE3), {error.sim3_m:.3f} m (Sim3, scale {error.scale:.3f})"
        f" over {error.length_m:.1f} m, {error.pairs} poses"
    )
    if error.undetermined:
        text += f"; undetermined: {error.undetermined}"
    return text, comparison.true_in_estimate()


def _draw(
    result: DemoResult, estimate: list[StampedPose], true_positions: Float64Array, error_text: str
) -> None:
    processed, sent = result.player.stats.processed, len(result.played.stamps_ns)
    points, rgb = read_ply(result.output / "map.ply")
    depths = result.player.depths
    preview = RunPreview(
        title=f"{result.name}: {processed} of {sent} frames at {result.rate_hz:.1f} frames/s · {error_text}",
        cloud=PointCloud(points, rgb),
        voxel_size_m=MapConfig().voxel_size,
        positions=np.array([T[:3, 3] for _, T in estimate]).reshape(-1, 3),
        true_positions=true_positions,
        samples=[
            FrameSample(f"frame at {frame.stamp_ns * 1e-9:.2f} s", frame.rgb, depths[frame.stamp_ns])
            for frame in _frames_of(depths, result)
        ],
    )
    write_preview(result.output / "preview.png", preview)


def _frames_of(stamps_ns: Iterable[int], result: DemoResult) -> list[Frame]:
    """Return the frames with these stamps; frames that are not samples are read again."""
    found = {frame.stamp_ns: frame for frame in result.played.samples}
    missing = set(stamps_ns) - set(found)
    for frame in result.sequence.frames() if missing else ():
        if frame.stamp_ns in missing:
            found[frame.stamp_ns] = frame
            missing.discard(frame.stamp_ns)
        if not missing:
            break
    return [found[stamp_ns] for stamp_ns in sorted(stamps_ns) if stamp_ns in found]
