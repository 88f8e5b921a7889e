# SPDX-License-Identifier: Apache-2.0
"""Figures of a finished run, for ``run.json`` and the report."""

from __future__ import annotations

import math
import platform
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros import __version__
from ttt3r_ros.errors import SourceError
from ttt3r_ros.geometry import pose_matrix_xyzw
from ttt3r_ros.io.frame_records import mapped_records

if TYPE_CHECKING:
    from ttt3r_ros.evaluation.metrics.trajectory import TrajectoryComparison
    from ttt3r_ros.io.frame_records import FrameRecord
    from ttt3r_ros.io.sequence import StampedPose
    from ttt3r_ros.mapping.voxel_map import PointCloud
    from ttt3r_ros.types import Float64Array

_FORMAT = 1
_MIN_FUSED_RATIO = 0.05  # of the pixels; with less the map is almost empty
_LIBRARIES = ("numpy", "torch", "opencv-python-headless", "rosbags")
STAGES = ("preprocess", "network", "step", "visual_odometry", "map", "frame")


@dataclass(frozen=True)
class RunSummary:
    """A finished run."""

    name: str
    source: str
    options: dict[str, Any]
    max_frames: int  # 0: all
    settings: dict[str, Any]  # all of them
    changed: dict[str, Any]  # those that differ from the defaults
    facts: dict[str, str]  # weights, device, precision
    records: list[FrameRecord]
    skipped: dict[str, int]  # by reason
    broken: int  # images that the source could not decode
    timings_s: list[dict[str, float]]  # of each frame; empty if skipped or mapped by an earlier process
    memory_mib: list[float]  # after each frame of this process
    peak_mib: float
    stamps_ns: list[int]
    poses: Float64Array  # (N, 7) T_map_camera: x, y, z, qx, qy, qz, qw
    truth: list[StampedPose]
    cloud: PointCloud
    seconds: float
    resumed_at: int
    interrupted: bool
    problems: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    @property
    def mapped(self) -> int:
        """Return the number of mapped images."""
        return len(self._mapped_records)

    @property
    def _mapped_records(self) -> list[FrameRecord]:
        return [record for record in self.records if not record.skipped]

    @property
    def fused_ratio(self) -> float:
        """Return the mean fraction of pixels fused into the map."""
        ratios = [record.fused_fraction for record in self._mapped_records]
        return float(np.mean(ratios)) if ratios else 0.0

    @property
    def tracked_ratio(self) -> float:
        """Return the fraction of mapped images whose pose was estimated from tracked corners."""
        tracked = [record.landmarks > 0 for record in self._mapped_records]
        return float(np.mean(tracked)) if tracked else 0.0

    @property
    def sparse_map_warning(self) -> str:
        """Return why the map is almost empty; an empty string if it is not."""
        if not self.mapped or self.fused_ratio >= _MIN_FUSED_RATIO:
            return ""
        return (
            f"only {100 * self.fused_ratio:.1f} % of the pixels were fused into the map: the others are below "
            f"map.min_confidence {self.settings['map.min_confidence']:g}, "
            f"or beyond map.max_range {self.settings['map.max_range']:g} m"
        )

    @property
    def rate_hz(self) -> float:
        """Return the frame rate of this process."""
        return (len(self.records) - self.resumed_at) / self.seconds if self.seconds else 0.0

    @property
    def path_m(self) -> float:
        """Return the length of the estimated path."""
        return float(np.linalg.norm(np.diff(self.poses[:, :3], axis=0), axis=1).sum())

    @cached_property
    def _comparison(self) -> tuple[TrajectoryComparison | None, str]:
        if not self.truth:
            return None, "the source has no ground truth"
        try:
            from ttt3r_ros.evaluation.metrics.trajectory import compare_trajectories  # noqa: PLC0415 - loads evo
        except ModuleNotFoundError as error:
            return None, f"the module {error.name} is not installed: pip install 'ttt3r_ros[eval]'"
        estimate = list(zip(self.stamps_ns, pose_matrix_xyzw(self.poses), strict=True))
        indices = {record.stamp_ns: record.index for record in mapped_records(self.records)}
        try:
            return compare_trajectories(self.truth, estimate, indices), ""
        except SourceError as error:
            return None, str(error)

    @property
    def comparison(self) -> TrajectoryComparison | None:
        """Return the comparison with ground truth, if there is ground truth."""
        return self._comparison[0]

    @property
    def no_comparison(self) -> str:
        """Return why there is no comparison."""
        return self._comparison[1]

    def stage_ms(self) -> dict[str, list[float | None]]:
        """Return the milliseconds of each stage for each frame; None where it was not measured."""
        return {
            stage: [round(1e3 * times[stage], 3) if stage in times else None for times in self.timings_s]
            for stage in STAGES
        }

    def as_json(self) -> dict[str, Any]:
        """Return the content of ``run.json``."""
        return {
            "format": _FORMAT,
            "name": self.name,
            "source": self.source,
            "options": self.options,
            "max_frames": self.max_frames,
            "frames": len(self.records),
            "mapped": self.mapped,
            "skipped": self.skipped,
            "broken": self.broken,
            "interrupted": self.interrupted,
            "problems": self.problems,
            "seconds": round(self.seconds, 3),
            "frames_per_second": round(self.rate_hz, 3),
            "resumed_at": self.resumed_at,
            "path_m": self.path_m,
            "points": len(self.cloud.points),
            "fused_ratio": round(self.fused_ratio, 4),
            "tracked_ratio": round(self.tracked_ratio, 4),
            "error": self.evaluation(),
            "outputs": self.outputs,
            "weights": self.facts.get("weights", ""),
            "facts": self.facts,
            "settings": self.settings,
            "changed_settings": self.changed,
            "versions": versions(),
            "peak_memory_mib": round(self.peak_mib, 1),
            "memory_mib": [round(value, 1) for value in self.memory_mib],
            "timings_ms": self.stage_ms(),
        }

    def evaluation(self) -> dict[str, Any] | None:
        """Return the errors against ground truth, None where undetermined; None without a comparison."""
        if self.comparison is None:
            return None
        error = self.comparison.error
        values: dict[str, float | int] = {
            "ate_se3_m": error.se3_m,
            "ate_sim3_m": error.sim3_m,
            "scale": error.scale,
            "rpe_m": error.rpe_m,
            "rpe_deg": error.rpe_deg,
            "pairs": error.pairs,
            "length_m": error.length_m,
        }
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        return {**finite, "undetermined": error.undetermined}


def versions() -> dict[str, str]:
    """Return the versions of the package, Python, the system and the main libraries."""
    found = {
        "ttt3r_ros": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
    }
    return found | {name: version(name) for name in _LIBRARIES if _is_installed(name)}


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
