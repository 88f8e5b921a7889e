# SPDX-License-Identifier: Apache-2.0
"""One source from end to end: open, map every frame, write what there is, whatever happens meanwhile."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ttt3r_ros.errors import OutputError, SourceError, Ttt3rError
from ttt3r_ros.io.run_folder import DEFAULT_OUTPUTS, REPORT, RUN, STATE, RunFolder
from ttt3r_ros.model.runtime.loading import load_backend
from ttt3r_ros.offline import resume as run_state
from ttt3r_ros.offline.folder_lock import RunClaim, claimed
from ttt3r_ros.offline.mapper import RecordingMapper
from ttt3r_ros.offline.outputs import RunOutputs, write_json
from ttt3r_ros.offline.previews import Samples
from ttt3r_ros.offline.progress import Progress, complain, memory_bytes, peak_memory_bytes, say
from ttt3r_ros.offline.recorded_sensors import RecordedSensors
from ttt3r_ros.offline.run_settings import changed_settings
from ttt3r_ros.offline.signals import INTERRUPTED, StopRequest
from ttt3r_ros.offline.summary import RunSummary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ttt3r_ros.config import Config
    from ttt3r_ros.io.sequence import Sequence
    from ttt3r_ros.types import Frame

_CHECKPOINT_S = 60.0  # between two states, so that a run that is killed loses no more
logger = logging.getLogger(__name__)


@dataclass
class Run:
    """A run under way."""

    identity: run_state.Identity
    source: Sequence
    config: Config
    folder: Path
    mapping: RecordingMapper
    outputs: RunOutputs
    facts: dict[str, str]
    resumed_at: int = 0  # the frame with which it goes on
    problems: list[str] = field(default_factory=list)
    interrupted: bool = False
    seconds: float = 0.0
    memory_mib: list[float] = field(default_factory=list)
    samples: Samples = field(default_factory=Samples)

    @property
    def keeps_state(self) -> bool:
        """Return whether the state is wanted, and there is one to go on from."""
        return "state" in self.identity.outputs and len(self.mapping.reconstructor.trajectory) > 0

    def save_state(self) -> None:
        """Write what `--resume` goes on from.

        Raises:
            OutputError: it cannot be written.
        """
        run_state.save_run(self.folder / STATE, self.identity, self.mapping)

    def attempt(self, name: str, step: Callable[[], None]) -> None:
        """Write one output; where that fails, note the problem and go on."""
        problem = self.outputs.attempt(name, step)
        if problem:
            self.problems.append(problem)


def run_one(
    identity: run_state.Identity,
    source: Sequence,
    config: Config,
    folder: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> int:
    """Map a source into a folder; return the exit status: 0, 1 after a problem, 130 when interrupted.

    Raises:
        Ttt3rError: it could not begin; what was in the folder is still there.
    """
    with StopRequest() as stop, claimed(folder) as claim, logging_redirect_tqdm():
        if resume:
            identity, saved = _resumed(identity, claim, source)
            if saved is None and claim.ended:
                say(f"{folder}: nothing is left to do")
                return 0
        else:
            identity, saved = _fresh(identity, claim, overwrite=overwrite), None
        claim.require_room(identity.outputs, Path(identity.source))
        mapping, facts = _mapping(source, config, saved)
        frames = _one_ahead(_remaining(source, mapping, stop))
        first = next(frames, None)
        if stop.asked:
            return INTERRUPTED
        if first is None and saved is None:
            msg = f"{identity.source}: no frame could be mapped (there is none)"
            raise SourceError(msg)
        claim.begin(identity.outputs, afresh=saved is None)
        run = _begun(identity, source, config, folder, mapping, facts)
        try:
            with Progress(source.name, len(source), run.resumed_at) as progress:
                _map(run, chain([] if first is None else [first], frames), stop, progress)
            run.interrupted = stop.asked
            _finish(run)
        finally:
            run.outputs.close()
    return INTERRUPTED if run.interrupted else int(bool(run.problems))


def _fresh(identity: run_state.Identity, claim: RunClaim, *, overwrite: bool) -> run_state.Identity:
    there = claim.files()
    if there and not overwrite:
        names = ", ".join(path.name for path in there[:3])
        msg = (
            f"{claim.folder} holds a run already ({names}): --resume goes on with it, "
            "--overwrite replaces it"
        )
        raise OutputError(msg)
    return replace(identity, outputs=identity.outputs or DEFAULT_OUTPUTS)


def _resumed(
    identity: run_state.Identity, claim: RunClaim, source: Sequence
) -> tuple[run_state.Identity, run_state.SavedRun | None]:
    """Return what to write and from where to go on; nothing, where a run has ended, if it has done all."""
    folder = claim.folder
    if getattr(source, "live", False):
        msg = f"--resume: what {source.name} has shown does not come again"
        raise SourceError(msg)
    fresh = replace(identity, outputs=identity.outputs or DEFAULT_OUTPUTS)
    if claim.ended and fresh.is_done_by(RunFolder(folder).meta):
        return fresh, None
    if not (folder / STATE).exists():
        if claim.ended:
            msg = (
                f"{folder} holds a run without {STATE}, which cannot be resumed; --overwrite begins anew"
            )
            raise OutputError(msg)
        say(f"{folder} holds no {STATE} to resume from: beginning at the first frame")
        return fresh, None
    saved = run_state.read_run(folder / STATE)
    identity = replace(identity, outputs=identity.outputs or saved.outputs)
    identity.require_same(saved.identity)
    if "bag" in identity.outputs and not claim.ended:
        say("the bag of a run that was killed is lost: beginning at the first frame")
        return identity, None
    return identity, saved


def _mapping(
    source: Sequence, config: Config, saved: run_state.SavedRun | None
) -> tuple[RecordingMapper, dict[str, str]]:
    robot = RecordedSensors(config, source, _warn)
    backend, facts = load_backend(config)
    mapping = RecordingMapper(backend, config, robot, _warn)
    if saved is not None:
        run_state.restore_run(saved, mapping)
    return mapping, facts


def _begun(
    identity: run_state.Identity,
    source: Sequence,
    config: Config,
    folder: Path,
    mapping: RecordingMapper,
    facts: dict[str, str],
) -> Run:
    first = len(mapping.records)
    outputs = RunOutputs(folder, identity.outputs, config, mapping.sensors, first)
    mapping.before_reset = outputs.before_reset
    return Run(identity, source, config, folder, mapping, outputs, facts, resumed_at=first)


def _map(
    run: Run, frames: Iterator[tuple[Frame, Frame | None]], stop: StopRequest, progress: Progress
) -> None:
    """Show every frame; what ends it early is noted as a problem."""
    started = saved_at = time.monotonic()
    try:
        for frame, upcoming in frames:
            update = run.mapping.process(frame, upcoming)
            if update is not None:
                index = len(run.mapping.records) - 1
                run.outputs.add(index, update)
                run.samples.add(index, update)
            run.memory_mib.append(memory_bytes() / 2**20)
            progress.advance(len(run.mapping.reconstructor.map.voxels))
            if time.monotonic() - saved_at > _CHECKPOINT_S:
                if run.keeps_state:
                    run.save_state()
                saved_at = time.monotonic()
            if stop.asked:
                break
    except Ttt3rError as error:
        run.problems.append(str(error))
    except Exception as error:  # whatever it is, what was mapped is written
        logger.exception("frame %d", len(run.mapping.records))
        run.problems.append(f"frame {len(run.mapping.records)}: {type(error).__name__}: {error}")
    run.seconds = time.monotonic() - started


def _remaining(source: Sequence, mapping: RecordingMapper, stop: StopRequest) -> Iterator[Frame]:
    """Return the frames that were not shown yet, prepared.

    Raises:
        SourceError: the source breaks off, or is not the one that was begun with.
    """
    done = list(mapping.records)
    for count, raw in enumerate(source.frames()):
        if stop.asked:
            return
        if count >= len(done):
            yield mapping.prepare(raw)
        elif raw.stamp_ns != done[count].stamp_ns:
            msg = (
                f"--resume: frame {count} of {source.name} has the stamp {raw.stamp_ns}, "
                f"the interrupted run saw {done[count].stamp_ns}"
            )
            raise SourceError(msg)


def _one_ahead(frames: Iterator[Frame]) -> Iterator[tuple[Frame, Frame | None]]:
    """Return each frame with the one after it; where the source breaks off, the last good one comes first."""
    current = next(frames, None)
    while current is not None:
        try:
            upcoming = next(frames, None)
        except SourceError:
            yield current, None
            raise
        yield current, upcoming
        current = upcoming


def _finish(run: Run) -> None:
    """Write what there is, and say what became of it."""
    run.problems += run.outputs.finish(run.mapping)
    if run.keeps_state:
        run.attempt("state", run.save_state)
    if not run.mapping.mapped and not run.interrupted and not run.problems:
        reasons = ", ".join(f"{count} {reason}" for reason, count in run.mapping.skipped().items())
        run.problems.append(
            f"{run.identity.source}: no frame could be mapped ({reasons or 'there is none'})"
        )
    summary = _summary(run)
    if "report" in run.identity.outputs and run.mapping.mapped:
        from ttt3r_ros.offline.report.report import write_report  # noqa: PLC0415 - loads matplotlib

        run.attempt("report", lambda: write_report(run.folder / REPORT, summary, run.samples.chosen()))
        summary = replace(summary, problems=list(run.problems), outputs=list(run.outputs.written))
    run.attempt(RUN, lambda: write_json(run.folder / RUN, summary.as_json()))
    _tell(run, summary)


def _summary(run: Run) -> RunSummary:
    reconstructor = run.mapping.reconstructor
    stamps_ns, poses = reconstructor.trajectory.poses()
    return RunSummary(
        name=run.source.name,
        source=run.identity.source,
        options=run.identity.options,
        limit=run.identity.limit,
        settings=run.identity.settings,
        changed=changed_settings(run.config),
        facts=run.facts,
        records=run.mapping.records,
        skipped=run.mapping.skipped(),
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


def _tell(run: Run, summary: RunSummary) -> None:
    for line in [*summary.lines(), f"results: {run.folder}: {', '.join(run.outputs.written)}"]:
        say(line)
    for problem in dict.fromkeys(run.problems):
        complain(problem)
    if run.interrupted:
        hint = (
            ""
            if getattr(run.source, "live", False)
            else f"; --resume goes on with frame {len(summary.records)}"
        )
        complain(f"interrupted{hint}")


def _warn(text: str) -> None:
    with suppress(OSError, ValueError):  # nobody listens
        tqdm.write(f"WARNING: {text}", file=sys.stderr)  # not into the bar
