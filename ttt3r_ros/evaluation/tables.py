# SPDX-License-Identifier: Apache-2.0
"""Results as text and Markdown: published figures above ours, and every sequence by itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ttt3r_ros.evaluation.datasets import DATASETS
from ttt3r_ros.evaluation.measurement import mean_of
from ttt3r_ros.evaluation.protocols import DEPTH, POSE, RECONSTRUCTION
from ttt3r_ros.evaluation.published import published

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ttt3r_ros.evaluation.measurement import Result
    from ttt3r_ros.evaluation.protocols import Protocol

TITLES = {
    "ate_sim3_m": "ATE after Sim(3) alignment [m]",
    "abs_rel.metric": "AbsRel, metric",
    "abs_rel.scale": "AbsRel, one scale per sequence",
    "delta1.scale": "share within 1.25, one scale per sequence",
    "abs_rel.shift": "AbsRel, one scale and shift per sequence",
    "accuracy_mean.scaled": "accuracy, mean [m]",
    "completion_mean.scaled": "completion, mean [m]",
    "normals_mean.scaled": "consistency of normals, mean",
}
_COLUMNS: dict[str, tuple[tuple[str, str], ...]] = {
    POSE: (
        ("path m", "length_m"), ("ATE SE(3) m", "ate_se3_m"), ("ATE Sim(3) m", "ate_sim3_m"),
        ("scale", "scale"), ("spread", "scale_spread"), ("RPE m", "rpe_m"), ("RPE Sim(3) m", "rpe_sim3_m"),
        ("RPE deg", "rpe_deg"),
    ),
    DEPTH: (
        ("AbsRel metric", "abs_rel.metric"), ("<1.25", "delta1.metric"), ("AbsRel scale", "abs_rel.scale"),
        ("<1.25", "delta1.scale"), ("scale", "scale"), ("AbsRel scale&shift", "abs_rel.shift"),
        ("<1.25", "delta1.shift"),
    ),
    RECONSTRUCTION: (
        ("Acc mean metric", "accuracy_mean.metric"), ("Comp", "completion_mean.metric"),
        ("NC", "normals_mean.metric"), ("Acc mean scaled", "accuracy_mean.scaled"),
        ("med", "accuracy_median.scaled"), ("Comp mean", "completion_mean.scaled"),
        ("med", "completion_median.scaled"), ("NC mean", "normals_mean.scaled"),
        ("med", "normals_median.scaled"), ("scale", "scale"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Evaluation:
    """All results of one protocol."""

    protocol: Protocol
    results: list[Result]
    missing: tuple[str, ...] = ()  # sequences of the protocol that are not there

    def of_length(self, length: int) -> list[Result]:
        """Return the results of one length, in the order of the sequences."""
        return [result for result in self.results if result.length == length]

    def mean(self, length: int) -> dict[str, float]:
        """Return the mean figures over the sequences that have any."""
        return mean_of(self.of_length(length), self.protocol.mean)

    def sequences_text(self) -> str:
        """Return of how many of the protocol's sequences the means are."""
        good = {result.sequence for result in self.results if not result.problem}
        every = {result.sequence for result in self.results} | set(self.missing)
        return f"{len(good)} of {len(every)} sequences"


def report(evaluations: Iterable[Evaluation], ours: str) -> str:
    """Return all tables in Markdown; ``ours`` names rule and weights of our rows."""
    parts = []
    for evaluation in evaluations:
        protocol = evaluation.protocol
        parts.append(f"## {DATASETS[protocol.dataset].title}, {protocol.name}")
        parts.append(_conditions(evaluation, ours))
        parts += [
            _comparison(evaluation, metric, ours)
            for metric in protocol.headlines
            if published(protocol.dataset, protocol.name, metric)
        ]
        parts.append(_sequences(evaluation))
    return "\n\n".join(parts) + "\n"


def _conditions(evaluation: Evaluation, ours: str) -> str:
    protocol = evaluation.protocol
    text = f"This run: {ours}. Protocol of {protocol.source}; {evaluation.sequences_text()}, mean over {protocol.mean}."
    if evaluation.missing:
        text += f" Not there: {', '.join(evaluation.missing)}."
    return text


def _comparison(evaluation: Evaluation, metric: str, ours: str) -> str:
    """Return what others published of one figure, and ours in the last row, at every length."""
    protocol = evaluation.protocol
    theirs = published(protocol.dataset, protocol.name, metric)
    lengths = protocol.lengths
    rows = [
        [
            row.method,
            "published weights",
            *(_cell(row.values.get(length)) for length in lengths),
            row.source,
        ]
        for row in theirs
        if set(row.values) & set(lengths)
    ]
    means = [evaluation.mean(length).get(metric) for length in lengths]
    rows.append(["**this run**", ours, *map(_cell, means), evaluation.sequences_text()])
    header = [
        TITLES.get(metric, metric),
        "weights",
        *(_length_text(length) for length in lengths),
        "source",
    ]
    return _table(header, rows, text_columns=(0, 1, len(header) - 1))


def _sequences(evaluation: Evaluation) -> str:
    """Return every result in a row of its own, the worst and the failed ones too."""
    columns = _COLUMNS[evaluation.protocol.task]
    rows = []
    for length in evaluation.protocol.lengths:
        for result in evaluation.of_length(length):
            figures = [_cell(result.metrics.get(key)) for _, key in columns]
            figures = [result.problem, *[""] * (len(columns) - 1)] if result.problem else figures
            rows.append([result.sequence, _length_text(length), _frames_text(result), *figures])
        mean = evaluation.mean(length)
        figures = [_cell(mean.get(key)) for _, key in columns]
        rows.append([f"**mean**, {evaluation.sequences_text()}", _length_text(length), "", *figures])
    return _table(
        ["sequence", "first", "frames", *(title for title, _ in columns)], rows, text_columns=(0,)
    )


def _length_text(length: int) -> str:
    return str(length) if length else "all"


def _frames_text(result: Result) -> str:
    return f"{result.frames} (-{result.refused})" if result.refused else str(result.frames)


def _cell(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"


def _table(header: list[str], rows: list[list[str]], text_columns: tuple[int, ...]) -> str:
    rules = ["---" if column in text_columns else "--:" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rules, *rows))
