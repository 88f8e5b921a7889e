# SPDX-License-Identifier: Apache-2.0
"""A run in progress, and the outputs written at its end."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ttt3r_ros.config import changed_settings
from ttt3r_ros.geometry import pose_matrix_xyzw
from ttt3r_ros.io.run_folder import REPORT, RUN, STATE
from ttt3r_ros.offline.folder.resume import save_run
from ttt3r_ros.offline.outputs import write_json
from ttt3r_ros.offline.previews import PreviewFrames
from ttt3r_ros.offline.process_memory import peak_memory_bytes
from ttt3r_ros.offline.result import RunResult, written_files
from ttt3r_ros.offline.summary import RunSummary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ttt3r_ros.config import Config
    from ttt3r_ros.io.frame_records import FrameRecord
    from ttt3r_ros.io.sequence import ImageSequence
    from ttt3r_ros.offline.folder.fingerprint import RunFingerprint
    from ttt3r_ros.offline.mapper import RecordingMapper
    from ttt3r_ros.offline.outputs import RunOutputs
    from ttt3r_ros.types import Update

    OnFrame = Callable[[FrameRecord, Update | None], None]


@dataclass
class ActiveRun:
    """A run in progress."""

    fingerprint: RunFingerprint
    source: ImageSequence
    config: Config
    folder: Path
    mapping: RecordingMapper
    outputs: RunOutputs
    facts: dict[str, str]
    resumed_at: int = 0  # first frame of this process
    on_frame: OnFrame | None = None
    problems: list[str] = field(default_factory=list)
    interrupted: bool = False
    seconds: float = 0.0
    memory_mib: list[float] = field(default_factory=list)
    previews: PreviewFrames = field(default_factory=PreviewFrames)
    begin: Callable[[], None] = lambda: None  # removes the earlier run in the folder
    has_begun: bool = False

    def begin_once(self) -> None:
        """Remove the earlier run in the folder, before the first result is written.

        Raises:
            OutputError: it cannot be removed, or the folder cannot be written.
        """
        if not self.has_begun:
            self.begin()
            self.has_begun = True

    @property
    def no_frames(self) -> str:
        """Return why no frame was mapped."""
        reasons = ", ".join(
            f"{count} {reason}" for reason, count in self.mapping.count_skipped().items()
        )
        return f"{self.fingerprint.source}: no frame could be mapped ({reasons or 'source contains no images'})"

    @property
    def writes_state(self) -> bool:
        """Return whether the state is an output, and something was mapped."""
        return "state" in self.fingerprint.outputs and len(self.mapping.reconstructor.trajectory) > 0

    def save_state(self) -> None:
        """Write the state that a resumed run continues from.

        Raises:
            OutputError: it cannot be written.
        """
        save_run(self.folder / STATE, self.fingerprint, self.mapping)

    def attempt(self, name: str, step: Callable[[], None]) -> None:
        """Write one output; a failure is a problem of the run and does not end it."""
        problem = self.outputs.attempt(name, step)
        if problem:
            self.problems.append(problem)


def finish_run(run: ActiveRun) -> RunResult:
    """Write the results of the whole run."""
    run.mapping.sensors.warnings.summarize()
    run.problems += run.outputs.finish(run.mapping)
    if run.writes_state:
        run.attempt("state", run.save_state)
    if not run.mapping.mapped and not run.interrupted and not run.problems:
        run.problems.append(run.no_frames)
    summary = _summarize(run)
    if "report" in run.fingerprint.outputs and run.mapping.mapped:
        from ttt3r_ros.offline.report.document import write_report  # noqa: PLC0415 - loads matplotlib

        run.attempt("report", lambda: write_report(run.folder / REPORT, summary, run.previews.select()))
        summary = replace(summary, problems=list(run.problems), outputs=list(run.outputs.written))
    run.attempt(RUN, lambda: write_json(run.folder / RUN, summary.as_json()))
    return _result(run, summary)


def _summarize(run: ActiveRun) -> RunSummary:
    reconstructor = run.mapping.reconstructor
    stamps_ns, poses = reconstructor.trajectory.poses()
    return RunSummary(
        name=run.source.name,
        source=run.fingerprint.source,
        options=run.fingerprint.options,
        max_frames=run.fingerprint.max_frames,
        settings=run.fingerprint.settings,
        changed=changed_settings(run.config),
        facts=run.facts,
        records=run.mapping.records,
        skipped=run.mapping.count_skipped(),
        broken=run.source.skipped,
        timings_s=run.mapping.timings_s,
        memory_mib=run.memory_mib,
        peak_mib=peak_memory_bytes() / 2**20,
        stamps_ns=stamps_ns,
        poses=poses,
        truth=run.source.ground_truth(),
        cloud=reconstructor.map.voxels.point_cloud(),
        seconds=run.seconds,
        resumed_at=run.resumed_at,
        interrupted=run.interrupted,
        problems=list(run.problems),
        outputs=list(run.outputs.written),
    )


def _result(run: ActiveRun, summary: RunSummary) -> RunResult:
    return RunResult(
        folder=run.folder,
        name=summary.name,
        stamps_ns=tuple(summary.stamps_ns),
        T_map_camera=pose_matrix_xyzw(summary.poses),
        records=tuple(summary.records),
        undecodable=summary.broken,
        files=written_files(run.folder, run.outputs.written),
        evaluation=summary.evaluation(),
        no_evaluation=summary.no_comparison,
        points=len(summary.cloud.points),
        path_m=summary.path_m,
        seconds=summary.seconds,
        frames_per_second=summary.rate_hz,
        resumed_at=summary.resumed_at,
        problems=tuple(dict.fromkeys(run.problems)),
        warnings=(summary.sparse_map_warning,) if summary.sparse_map_warning else (),
        interrupted=run.interrupted,
        resumable="state" in run.outputs.written and not getattr(run.source, "live", False),
    )
