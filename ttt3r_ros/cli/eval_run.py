# SPDX-License-Identifier: Apache-2.0
"""An evaluation from end to end: sequences, network, figures, files."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ttt3r_ros.errors import SourceError, Ttt3rError
from ttt3r_ros.evaluation.datasets import DATASETS, find_sequences
from ttt3r_ros.evaluation.measurement import Measurement, Result, evaluate
from ttt3r_ros.evaluation.plots import write_plot
from ttt3r_ros.evaluation.protocols import protocols_of
from ttt3r_ros.evaluation.record import record
from ttt3r_ros.evaluation.sampling import SampledSequence
from ttt3r_ros.evaluation.tables import Evaluation, report
from ttt3r_ros.io.atomic import complete_file, require_writable
from ttt3r_ros.io.sources import SourceOptions, open_source
from ttt3r_ros.model.runtime.loading import load_backend
from ttt3r_ros.offline.run_settings import all_settings, config_of
from ttt3r_ros.pipeline.reconstructor import Reconstructor

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from ttt3r_ros.config import Config
    from ttt3r_ros.evaluation.datasets import Found
    from ttt3r_ros.evaluation.protocols import Protocol
    from ttt3r_ros.model.runtime.backend import TorchBackend

_PUBLISHED_RESET = 0  # the published evaluations never begin the state anew
_AS_MADE = -1


@dataclass(frozen=True)
class _Work:
    """One pass: a sequence and the protocols that show it in the same way."""

    sequence: str
    path: Path
    protocols: list[Protocol]


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, print the tables and write the files; return the exit status."""
    protocols = protocols_of(arguments.dataset, arguments.protocols, arguments.lengths)
    found, absent = _found(protocols, arguments)
    config = _config(arguments)
    require_writable(arguments.output)
    backend, facts = load_backend(config)
    about = {
        "dataset": arguments.dataset,
        "root": arguments.root.resolve().name,
        "settings": all_settings(config),
        "network": {**facts, "reset_interval": _reset_interval(config, backend)},
        "not_there": absent,
    }
    results: list[Result] = []
    undrawn = 0
    try:
        for work in _works(found):
            of_work, is_drawn = _evaluated(work, backend, config, arguments.output)
            results += of_work
            undrawn += not is_drawn
    finally:  # an interruption keeps what is finished
        if results:
            evaluations = [_evaluation(protocol, found[protocol], results) for protocol in found]
            table = report(evaluations, _ours(config, facts, _reset_interval(config, backend)), absent)
            _write(arguments.output / "table.md", table)
            _write(arguments.output / "results.json", record(evaluations, **about))
    print(table, end="")
    print(f"results: {arguments.output}/table.md, results.json and a picture of each sequence")
    failed = _without_figures(results)
    if failed:
        print(f"ttt3r_ros: nothing could be evaluated of {', '.join(failed)}", file=sys.stderr)
    return 1 if failed or undrawn else 0


def _evaluation(protocol: Protocol, found: Found, results: list[Result]) -> Evaluation:
    of_protocol = [result for result in results if result.protocol == protocol.name]
    done = {result.sequence for result in of_protocol}
    not_run = tuple(name for name in found.paths if name not in done)
    return Evaluation(protocol, of_protocol, tuple(found.missing), not_run)


def _found(
    protocols: list[Protocol], arguments: argparse.Namespace
) -> tuple[dict[Protocol, Found], dict[str, str]]:
    """Return the sequences of each protocol that has any there, and why the others have none, by their titles.

    Raises:
        SourceError: none has, or one that was asked for by name has not.
    """
    found: dict[Protocol, Found] = {}
    absent: dict[str, str] = {}
    problem: SourceError | None = None
    for protocol in protocols:
        dataset = DATASETS[protocol.dataset]
        try:
            found[protocol] = find_sequences(
                dataset, arguments.root, protocol.sequences, arguments.sequences, protocol.places
            )
        except SourceError as error:
            problem = problem or error
            absent[f"{dataset.title}, {protocol.name}"] = str(error)
    if problem is not None and (arguments.protocols or not found):
        raise problem
    return found, absent


def _config(arguments: argparse.Namespace) -> Config:
    """Return the settings; without another wish, published weights run without resets, as they were evaluated."""
    if arguments.update_rule:
        arguments.set_ = [*arguments.set_, f"update_rule={arguments.update_rule}"]
    config = config_of(arguments)
    wished = any(text.startswith("reset_interval=") for text in arguments.set_)
    if config.model_path and config.reset_interval == _AS_MADE and not wished:
        config = replace(config, reset_interval=_PUBLISHED_RESET)
    return config


def _reset_interval(config: Config, backend: TorchBackend) -> int:
    return backend.reset_interval if config.reset_interval == _AS_MADE else config.reset_interval


def _ours(config: Config, facts: dict[str, Any], reset_interval: int) -> str:
    whose = "" if config.model_path else "the package's own "
    resets = f"reset every {reset_interval} frames" if reset_interval else "no resets"
    by_odometry = ", poses by visual odometry" if facts["pose_source"] == "visual_odometry" else ""
    return f"{config.update_rule}, {resets}{by_odometry}, {whose}{facts['weights']}"


def _works(found: dict[Protocol, Found]) -> Iterator[_Work]:
    """Return the passes that are needed, those of a sequence one after the other."""
    passes: dict[tuple[Path, Any], _Work] = {}
    for protocol, sequences in found.items():
        for name, path in sequences.paths.items():
            work = passes.setdefault((path, protocol.sampling), _Work(name, path, []))
            work.protocols.append(protocol)
    yield from sorted(passes.values(), key=lambda work: work.sequence)


def _evaluated(
    work: _Work, backend: TorchBackend, config: Config, output: Path
) -> tuple[list[Result], bool]:
    """Return the figures of a pass, or why there are none, and whether its picture could be written."""
    first = work.protocols[0]
    try:
        source = open_source(str(work.path), SourceOptions(layout=DATASETS[first.dataset].layout))
        sequence = SampledSequence(source, first.sampling, backend.size.geometry)
        measured = evaluate(work.sequence, sequence, Reconstructor(backend, config), work.protocols)
    except (Ttt3rError, OSError) as error:
        print(f"{work.sequence}: {error}", file=sys.stderr)
        return [
            Result(work.sequence, protocol.name, length, problem=str(error))
            for protocol in work.protocols
            for length in protocol.lengths
        ], True
    _tell(work, measured)
    problem = _drawn(work, measured, output)
    if not problem:
        return measured.results, True
    print(f"{work.sequence}: {problem}", file=sys.stderr)
    return [replace(one, remarks=(*one.remarks, problem)) for one in measured.results], False


def _drawn(work: _Work, measured: Measurement, output: Path) -> str:
    """Draw a pass; return why that failed, nothing if it did not."""
    names = "_".join(protocol.name for protocol in work.protocols)
    picture = output / f"{work.sequence.replace('/', '_')}_{names}.png"
    try:
        write_plot(picture, f"{work.protocols[0].dataset} {work.sequence}: {names}", measured.curves)
    except Exception as error:  # whatever it is, the figures of hours must not be lost with it
        return f"the picture could not be drawn: {error}"
    return ""


def _tell(work: _Work, measured: Measurement) -> None:
    last = measured.results[-1]
    print(f"{work.sequence}: {last.frames} frames at {last.frames_per_s:.1f} frames/s", file=sys.stderr)


def _without_figures(results: list[Result]) -> list[str]:
    names = dict.fromkeys(result.sequence for result in results)
    good = {result.sequence for result in results if result.metrics}
    return [name for name in names if name not in good]


def _write(path: Path, text: str) -> None:
    with complete_file(path) as file:
        file.write(text.encode("utf-8"))
