# SPDX-License-Identifier: Apache-2.0
"""Map one recording from end to end: open, map every frame, and write all results even after a problem."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from ttt3r_ros.config import Config
from ttt3r_ros.errors import ConfigError, SourceError, Ttt3rError
from ttt3r_ros.io.run_folder import DEFAULT_OUTPUTS, STATE, RunFolder
from ttt3r_ros.io.sources import SourceOptions, open_source
from ttt3r_ros.model.runtime.loading import load_backend
from ttt3r_ros.offline.folder import resume as saved_runs
from ttt3r_ros.offline.folder.active_run import ActiveRun, finish_run
from ttt3r_ros.offline.folder.fingerprint import RunFingerprint, compute_fingerprint
from ttt3r_ros.offline.folder.lock import LockedFolder, RunFolderError, lock_folder
from ttt3r_ros.offline.mapper import RecordingMapper
from ttt3r_ros.offline.options import require_offline_settings, resolve_outputs
from ttt3r_ros.offline.outputs import RunOutputs
from ttt3r_ros.offline.process_memory import memory_bytes
from ttt3r_ros.offline.progress import show_progress
from ttt3r_ros.offline.recorded_sensors import RecordedSensors
from ttt3r_ros.offline.result import RunResult, read_result
from ttt3r_ros.offline.signals import StopRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ttt3r_ros.io.sequence import ImageSequence
    from ttt3r_ros.offline.folder.active_run import OnFrame
    from ttt3r_ros.types import Frame

_CHECKPOINT_INTERVAL_S = 60.0  # what a killed run loses at most
logger = logging.getLogger(__name__)


def map_recording(
    source: str | Path,
    output: str | Path,
    config: Config | None = None,
    *,
    outputs: Iterable[str] | None = None,
    options: SourceOptions | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = False,
    on_frame: OnFrame | None = None,
) -> RunResult:
    """Map a bag, a video, a folder of images, a dataset sequence or a webcam, and write the results into a folder.

    The first Ctrl-C ends the run after the current frame; results are written and `RunResult.interrupted` is true.

    Args:
        source: path, ``webcam``, ``webcam:1`` or ``/dev/video1``
        output: run folder, created if it does not exist
        config: settings; default: those of ``ttt3r_ros params``
        outputs: names of outputs, ``default`` or ``all``; default: ``default``, or the outputs of the resumed run
        options: topic, dataset format, calibration, frame selection
        resume: continue the interrupted run in the folder
        overwrite: replace the run in the folder
        progress: show the progress on standard error
        on_frame: called after each frame with its record and, unless it was skipped, its update

    Raises:
        Ttt3rError: the run could not start; the contents of the folder are unchanged. Later problems are in the result.
    """
    config, options = config or Config(), options or SourceOptions()
    require_offline_settings(config)
    if resume and overwrite:
        msg = "resume and overwrite exclude each other"
        raise ConfigError(msg)
    names = (
        () if outputs is None else resolve_outputs([outputs] if isinstance(outputs, str) else outputs)
    )
    text, folder = str(source), Path(output).expanduser().resolve()
    sequence = open_source(text, options, config.images_rectified)
    fingerprint = compute_fingerprint(text, options, config, names)
    with StopRequest() as stop, lock_folder(folder) as locked:
        if resume:
            fingerprint, saved = _load_saved_run(fingerprint, locked, sequence)
            if saved is None and locked.has_finished_run:
                return read_result(folder)
        else:
            _require_no_run(locked, overwrite=overwrite)
            fingerprint, saved = _with_outputs(fingerprint), None
        locked.require_free(fingerprint.outputs, Path(fingerprint.source))
        mapping, facts = _create_mapping(sequence, config, saved)
        frames = _with_next(_remaining_frames(sequence, mapping, stop))
        first = next(frames, None)
        if stop.is_requested:
            return RunResult(folder, sequence.name, interrupted=True)
        if first is None and saved is None:
            msg = f"{fingerprint.source}: no frame could be mapped (source contains no images)"
            raise SourceError(msg)
        run = _create_run(fingerprint, sequence, config, folder, mapping, facts)
        run.on_frame = on_frame
        run.begin = partial(locked.begin, fingerprint.outputs, overwrite=saved is None)
        if saved is not None:
            run.begin_once()
        try:
            with show_progress(
                sequence.name, len(sequence), run.resumed_at, enabled=progress
            ) as advance:
                _map_frames(run, chain([] if first is None else [first], frames), stop, advance)
            run.interrupted = stop.is_requested
            if not run.has_begun and locked.files():
                # The run in the folder stays: it is better than a run without a frame.
                return _without_frames(run)
            run.begin_once()
            return finish_run(run)
        finally:
            run.outputs.close()


def _without_frames(run: ActiveRun) -> RunResult:
    """Return the result of an interrupted run; raise `SourceError` with the reason if no frame could be mapped."""
    if run.interrupted:
        return RunResult(run.folder, run.source.name, interrupted=True)
    reason = "; ".join(run.problems) or run.no_frames
    msg = f"{reason}; the earlier run in {run.folder} is kept"
    raise SourceError(msg)


def _with_outputs(
    fingerprint: RunFingerprint, outputs: tuple[str, ...] = DEFAULT_OUTPUTS
) -> RunFingerprint:
    """Return the fingerprint with these outputs unless it has some."""
    return replace(fingerprint, outputs=fingerprint.outputs or outputs)


def _require_no_run(locked: LockedFolder, *, overwrite: bool) -> None:
    existing = locked.files()
    if existing and not overwrite:
        names = ", ".join(path.name for path in existing[:3])
        msg = f"{locked.folder} already contains a run ({names})"
        raise RunFolderError(msg, "resume", "overwrite")


def _load_saved_run(
    fingerprint: RunFingerprint, locked: LockedFolder, source: ImageSequence
) -> tuple[RunFingerprint, saved_runs.SavedRun | None]:
    """Return the outputs to write and the run to continue; no run if it is complete or has no state.

    Raises:
        RunFolderError: a finished run without a state cannot be continued.
        ConfigError: the run in the folder has another source or other settings.
        SourceError: the source is live, or the state is damaged.
    """
    folder = locked.folder
    if getattr(source, "live", False):
        msg = f"{source.name} is live: its run cannot be resumed"
        raise SourceError(msg)
    fresh = _with_outputs(fingerprint)
    if locked.has_finished_run and fresh.is_complete(RunFolder(folder).meta):
        return fresh, None
    if not (folder / STATE).exists():
        if locked.has_finished_run:
            msg = f"{folder} contains a run without {STATE}, which cannot be resumed"
            raise RunFolderError(msg, "overwrite")
        logger.warning("%s contains no %s to resume from: starting at the first frame", folder, STATE)
        return fresh, None
    saved = saved_runs.read_run(folder / STATE)
    fingerprint = _with_outputs(fingerprint, saved.outputs)
    fingerprint.require_same(saved.fingerprint)
    if "bag" in fingerprint.outputs and not locked.has_finished_run:
        logger.warning("the bag of the killed run in %s is lost: starting at the first frame", folder)
        return fingerprint, None
    return fingerprint, saved


def _create_mapping(
    source: ImageSequence, config: Config, saved: saved_runs.SavedRun | None
) -> tuple[RecordingMapper, dict[str, str]]:
    robot = RecordedSensors(config, source, logger.warning)
    backend, facts = load_backend(config)
    mapping = RecordingMapper(backend, config, robot, robot.warnings.warn)
    if saved is not None:
        try:
            mapping.load_state_dict(saved.state)
        except SourceError as error:
            msg = f"{saved.path} cannot be resumed: {error}; --overwrite starts again"
            raise SourceError(msg) from error
    return mapping, facts


def _create_run(
    fingerprint: RunFingerprint,
    source: ImageSequence,
    config: Config,
    folder: Path,
    mapping: RecordingMapper,
    facts: dict[str, str],
) -> ActiveRun:
    first = len(mapping.records)
    outputs = RunOutputs(folder, fingerprint.outputs, config, mapping.sensors, first)
    mapping.before_reset = outputs.before_reset
    return ActiveRun(fingerprint, source, config, folder, mapping, outputs, facts, resumed_at=first)


def _map_frames(
    run: ActiveRun,
    frames: Iterator[tuple[Frame, Frame | None]],
    stop: StopRequest,
    advance: Callable[[int], None],
) -> None:
    """Map every frame; an error ends the loop and is a problem of the run."""
    started = saved_at = time.monotonic()
    try:
        for frame, upcoming in frames:
            _map_frame(run, frame, upcoming)
            advance(len(run.mapping.reconstructor.map.voxels))
            if time.monotonic() - saved_at > _CHECKPOINT_INTERVAL_S:
                if run.writes_state:
                    run.save_state()
                saved_at = time.monotonic()
            if stop.is_requested:
                break
    except Ttt3rError as error:
        run.problems.append(str(error))
    except Exception as error:  # the results so far are written after any failure
        logger.exception("frame %d", len(run.mapping.records))
        run.problems.append(f"frame {len(run.mapping.records)}: {type(error).__name__}: {error}")
    run.seconds = time.monotonic() - started


def _map_frame(run: ActiveRun, frame: Frame, upcoming: Frame | None) -> None:
    update = run.mapping.process(frame, upcoming)
    index = len(run.mapping.records) - 1
    if update is not None:
        run.begin_once()
        run.outputs.add(index, update)
        run.previews.add(index, update)
    run.memory_mib.append(memory_bytes() / 2**20)
    if run.on_frame is not None:
        run.on_frame(run.mapping.records[index], update)


def _remaining_frames(
    source: ImageSequence, mapping: RecordingMapper, stop: StopRequest
) -> Iterator[Frame]:
    """Yield the frames that the saved run has not mapped, preprocessed.

    Raises:
        SourceError: the source breaks off, or its stamps differ from those of the saved run.
    """
    done = list(mapping.records)
    for count, raw in enumerate(source.frames()):
        if stop.is_requested:
            return
        if count >= len(done):
            yield mapping.prepare(raw)
        elif raw.stamp_ns != done[count].stamp_ns:
            msg = (
                f"frame {count} of {source.name} has the stamp {raw.stamp_ns}; "
                f"expected {done[count].stamp_ns} as in the interrupted run"
            )
            raise SourceError(msg)


def _with_next(frames: Iterator[Frame]) -> Iterator[tuple[Frame, Frame | None]]:
    """Yield each frame with the next one. The last frame before an error of the source is yielded first."""
    current = next(frames, None)
    while current is not None:
        try:
            upcoming = next(frames, None)
        except SourceError:
            yield current, None
            raise
        yield current, upcoming
        current = upcoming
