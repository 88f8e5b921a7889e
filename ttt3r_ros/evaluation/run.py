# SPDX-License-Identifier: Apache-2.0
"""Evaluate a dataset: find its sequences, run the network, compute metrics, write tables and plots."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ttt3r_ros.config import setting_values
from ttt3r_ros.errors import SourceError, Ttt3rError
from ttt3r_ros.evaluation.datasets import DATASETS, find_sequences
from ttt3r_ros.evaluation.measurement import Measurement, Result, evaluate
from ttt3r_ros.evaluation.plots import write_plot
from ttt3r_ros.evaluation.protocols import protocols_of
from ttt3r_ros.evaluation.record import record
from ttt3r_ros.evaluation.sampling import SampledSequence
from ttt3r_ros.evaluation.tables import Evaluation, report
from ttt3r_ros.io.atomic import atomic_write, require_writable
from ttt3r_ros.io.sources import SourceOptions, open_source
from ttt3r_ros.model.runtime.loading import load_backend
from ttt3r_ros.pipeline.reconstructor import Reconstructor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from ttt3r_ros.config import Config
    from ttt3r_ros.evaluation.datasets import Found
    from ttt3r_ros.evaluation.protocols import Protocol
    from ttt3r_ros.model.runtime.backend import TorchBackend

_PUBLISHED_RESET = 0  # the published evaluations never reset the state
_OF_WEIGHTS = -1


@dataclass(frozen=True)
class _Pass:
    """A sequence and the protocols that sample it in the same way."""

    sequence: str
    path: Path
    protocols: list[Protocol]


@dataclass(frozen=True)
class DatasetEvaluation:
    """Results of all protocols on a dataset."""

    results: list[Result]
    table: str  # Markdown, as in table.md
    failed_plots: int

    def failed_sequences(self) -> list[str]:
        """Return the sequences for which no protocol has a result."""
        names = dict.fromkeys(result.sequence for result in self.results)
        succeeded = {result.sequence for result in self.results if result.metrics}
        return [name for name in names if name not in succeeded]


def evaluate_dataset(
    dataset: str,
    root: Path,
    output: Path,
    config: Config,
    *,
    sequences: Sequence[str] = (),
    protocols: Sequence[str] = (),
    lengths: Sequence[int] = (),
    on_progress: Callable[[str], None] = lambda _: None,
) -> DatasetEvaluation:
    """Evaluate the sequences below ``root``; write ``table.md``, ``results.json`` and plots into ``output``.

    ``sequences``, ``protocols`` and ``lengths`` [frames, 0: all] restrict or replace those of the dataset.
    ``on_progress`` gets a line of text after each sequence. After an interruption the finished results are written.

    Raises:
        Ttt3rError: unknown dataset or protocol, no sequences, weights or output folder cannot be used.
    """
    chosen = protocols_of(dataset, protocols, lengths)
    found, absent = _find_sequences(chosen, root, sequences, required=bool(protocols))
    require_writable(output)
    backend, facts = load_backend(config)
    reset_interval = (
        backend.reset_interval if config.reset_interval == _OF_WEIGHTS else config.reset_interval
    )
    about = {
        "dataset": dataset,
        "root": root.resolve().name,
        "settings": setting_values(config),
        "network": {**facts, "reset_interval": reset_interval},
        "not_there": absent,
    }
    results: list[Result] = []
    table, failed_plots = "", 0
    try:
        for work in _passes(found):
            new, is_plotted = _evaluate_pass(work, backend, config, output, on_progress)
            results += new
            failed_plots += not is_plotted
    finally:
        if results:
            evaluations = [_evaluation(protocol, found[protocol], results) for protocol in found]
            table = report(evaluations, _method(config, facts, reset_interval), absent)
            _write(output / "table.md", table)
            _write(output / "results.json", record(evaluations, **about))
    return DatasetEvaluation(results, table, failed_plots)


def with_published_reset(config: Config) -> Config:
    """Return the settings with no state resets for published weights, as in the published evaluations."""
    if config.model_path and config.reset_interval == _OF_WEIGHTS:
        return replace(config, reset_interval=_PUBLISHED_RESET)
    return config


def _evaluation(protocol: Protocol, found: Found, results: list[Result]) -> Evaluation:
    of_protocol = [result for result in results if result.protocol == protocol.name]
    done = {result.sequence for result in of_protocol}
    not_run = tuple(name for name in found.paths if name not in done)
    return Evaluation(protocol, of_protocol, tuple(found.missing), not_run)


def _find_sequences(
    protocols: list[Protocol], root: Path, sequences: Sequence[str], *, required: bool
) -> tuple[dict[Protocol, Found], dict[str, str]]:
    """Return the sequences of each protocol that has some, and by title why the other protocols have none.

    Raises:
        SourceError: no protocol has a sequence or, if ``required``, one of them has none.
    """
    found: dict[Protocol, Found] = {}
    absent: dict[str, str] = {}
    problem: SourceError | None = None
    for protocol in protocols:
        dataset = DATASETS[protocol.dataset]
        try:
            found[protocol] = find_sequences(
                dataset, root, protocol.sequences, sequences, protocol.places
            )
        except SourceError as error:
            problem = problem or error
            absent[f"{dataset.title}, {protocol.name}"] = str(error)
    if problem is not None and (required or not found):
        raise problem
    return found, absent


def _method(config: Config, facts: dict[str, Any], reset_interval: int) -> str:
    origin = "" if config.model_path else "the package's own "
    resets = f"reset every {reset_interval} frames" if reset_interval else "no resets"
    by_odometry = ", poses by visual odometry" if facts["pose_source"] == "visual_odometry" else ""
    return f"{config.update_rule}, {resets}{by_odometry}, {origin}{facts['weights']}"


def _passes(found: dict[Protocol, Found]) -> Iterator[_Pass]:
    """Yield the passes in the order of their sequences."""
    passes: dict[tuple[Path, Any], _Pass] = {}
    for protocol, sequences in found.items():
        for name, path in sequences.paths.items():
            work = passes.setdefault((path, protocol.sampling), _Pass(name, path, []))
            work.protocols.append(protocol)
    yield from sorted(passes.values(), key=lambda work: work.sequence)


def _evaluate_pass(
    work: _Pass,
    backend: TorchBackend,
    config: Config,
    output: Path,
    on_progress: Callable[[str], None],
) -> tuple[list[Result], bool]:
    """Return the results of a pass, and whether its plot could be written."""
    first = work.protocols[0]
    try:
        source = open_source(str(work.path), SourceOptions(format=DATASETS[first.dataset].format))
        sequence = SampledSequence(source, first.sampling, backend.size.geometry)
        measured = evaluate(work.sequence, sequence, Reconstructor(backend, config), work.protocols)
    except (Ttt3rError, OSError) as error:
        on_progress(f"{work.sequence}: {error}")
        return [
            Result(work.sequence, protocol.name, length, problem=str(error))
            for protocol in work.protocols
            for length in protocol.lengths
        ], True
    last = measured.results[-1]
    on_progress(f"{work.sequence}: {last.frames} frames at {last.frames_per_s:.1f} frames/s")
    problem = _plot(work, measured, output)
    if not problem:
        return measured.results, True
    on_progress(f"{work.sequence}: {problem}")
    return [replace(one, remarks=(*one.remarks, problem)) for one in measured.results], False


def _plot(work: _Pass, measured: Measurement, output: Path) -> str:
    """Plot a pass; return the error message, empty on success."""
    names = "_".join(protocol.name for protocol in work.protocols)
    path = output / f"{work.sequence.replace('/', '_')}_{names}.png"
    try:
        write_plot(path, f"{work.protocols[0].dataset} {work.sequence}: {names}", measured.curves)
    except Exception as error:  # a failed plot must not lose the results
        return f"the plot could not be written: {error}"
    return ""


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))
