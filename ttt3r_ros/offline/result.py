# SPDX-License-Identifier: Apache-2.0
"""Result of an offline run, for Python callers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.frame_records import read_frames
from ttt3r_ros.io.run_folder import FILES, FRAMES, RunFolder

if TYPE_CHECKING:
    from pathlib import Path

    from ttt3r_ros.io.frame_records import FrameRecord
    from ttt3r_ros.types import Float64Array


def _no_poses() -> Float64Array:
    return np.empty((0, 4, 4))


@dataclass(frozen=True)
class RunResult:
    """Results of one call of `map_recording`; ``repr`` omits the values of single frames.

    The trajectory has a pose for every frame mapped since time last went back; `records` has all frames.
    """

    folder: Path  # run folder
    name: str  # of the source
    stamps_ns: tuple[int, ...] = field(default=(), repr=False)
    # (N, 4, 4) poses of the trajectory
    T_map_camera: Float64Array = field(default_factory=_no_poses, repr=False)
    # Of every decoded frame, those of an earlier process included.
    records: tuple[FrameRecord, ...] = field(default=(), repr=False)
    undecodable: int = 0  # images that could not be decoded
    files: dict[str, tuple[Path, ...]] = field(
        default_factory=dict
    )  # by output; image outputs: the folder
    evaluation: dict[str, Any] | None = None  # as in run.json; None: see `no_evaluation`
    no_evaluation: str = ""  # why there is no comparison with ground truth
    points: int = 0  # of the map
    path_m: float = 0.0  # length of the estimated path
    seconds: float = 0.0
    frames_per_second: float = 0.0
    resumed_at: int = 0  # first frame of this process
    problems: tuple[str, ...] = ()  # what could not be mapped or written
    warnings: tuple[str, ...] = ()
    interrupted: bool = False
    resumable: bool = False  # the run can be continued with ``resume=True``
    was_complete: bool = False  # an earlier run had done everything: nothing was mapped or written

    @property
    def mapped(self) -> int:
        """Return the number of mapped frames."""
        return sum(not record.skipped for record in self.records)

    @property
    def skipped(self) -> dict[str, int]:
        """Return the number of skipped frames by reason."""
        return dict(Counter(record.skipped for record in self.records if record.skipped))

    @property
    def is_ok(self) -> bool:
        """Return whether the run ended by itself and without a problem."""
        return not self.problems and not self.interrupted

    def summary(self) -> list[str]:
        """Return the result as lines for a user."""
        counts = "".join(f", {count} {reason}" for reason, count in self.skipped.items())
        counts += f", {self.undecodable} undecodable" if self.undecodable else ""
        frames = f"{self.name}: {self.mapped} of {len(self.records)} frames mapped{counts}"
        rate = f"{self.frames_per_second:.1f} frames/s"
        lines = [f"{frames}; {rate}, {self.path_m:.2f} m, {self.points} points"]
        if self.evaluation is not None:
            lines.append(_describe_errors(self.evaluation))
        return [*lines, *self.warnings]


def _describe_errors(error: dict[str, Any]) -> str:
    scale = "undetermined" if error["scale"] is None else f"{error['scale']:.3f}"
    text = (
        f"ATE {error['ate_se3_m']:.3f} m (SE3), {error['ate_sim3_m']:.3f} m (Sim3, scale {scale})"
        f" over {error['length_m']:.1f} m"
    )
    if error["rpe_m"] is not None:
        text += f"; RPE {error['rpe_m']:.4f} m, {error['rpe_deg']:.3f} deg per frame"
    if error["undetermined"]:
        text += f"; undetermined: {error['undetermined']}"
    return text


def written_files(folder: Path, outputs: list[str]) -> dict[str, tuple[Path, ...]]:
    """Return the existing files of outputs; folders of outputs that have an image per frame."""
    paths = {
        output: tuple(folder / name for name in FILES[output]) for output in outputs if output in FILES
    }
    return {output: tuple(path for path in found if path.exists()) for output, found in paths.items()}


def read_result(folder: Path) -> RunResult:
    """Return the result of a complete run from its folder.

    Raises:
        SourceError: the folder has no finished run, or a file in it is damaged.
    """
    run = RunFolder(folder)
    meta = run.meta
    try:
        stamps_ns, poses = run.poses()
    except SourceError:  # a run without a trajectory
        stamps_ns, poses = [], _no_poses()
    records = tuple(read_frames(folder / FRAMES)) if (folder / FRAMES).is_file() else ()
    return RunResult(
        folder=folder,
        name=meta["name"],
        stamps_ns=tuple(stamps_ns),
        T_map_camera=poses,
        records=records,
        undecodable=meta["broken"],
        files=written_files(folder, meta["outputs"]),
        evaluation=meta["error"],
        points=meta["points"],
        path_m=meta["path_m"],
        seconds=meta["seconds"],
        frames_per_second=meta["frames_per_second"],
        resumed_at=meta["resumed_at"],
        resumable=True,
        was_complete=True,
    )
