# SPDX-License-Identifier: Apache-2.0
"""Results as text and Markdown: published figures above ours, and every sequence by itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ttt3r_ros.evaluation.datasets import DATASETS
from ttt3r_ros.evaluation.measurement import mean_of, with_figure
from ttt3r_ros.evaluation.protocols import DEPTH, POSE, RECONSTRUCTION
from ttt3r_ros.evaluation.published import find_published

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ttt3r_ros.evaluation.measurement import Result
    from ttt3r_ros.evaluation.protocols import Protocol

TITLES = {
    "ate_sim3_m": "ATE after Sim(3) alignment [m]",
    "abs_rel.metric": "AbsRel, metric",
    "delta1.metric": "share within 1.25, metric",
    "abs_rel.scale": "AbsRel, one scale per sequence",
    "delta1.scale": "share within 1.25, one scale per sequence",
    "abs_rel.shift": "AbsRel, one scale and shift per sequence",
    "accuracy_mean.scaled": "accuracy, mean [m]",
    "completion_mean.scaled": "completion, mean [m]",
    "normals_mean.scaled": "consistency of normals, mean",
}
# What an alignment with a scale hides is always shown beside it.
_BESIDE = {"ate_sim3_m": (("ATE SE(3) [m]", "ate_se3_m"), ("scale", "scale"))}
_SHORT = "†"
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
    not_run: tuple[str, ...] = ()  # sequences that an interruption came before

    def of_length(self, length: int) -> list[Result]:
        """Return the results of one length, in the order of the sequences."""
        return [result for result in self.results if result.length == length]

    def mean(self, length: int) -> dict[str, float]:
        """Return the mean of each figure over the sequences that have it."""
        return mean_of(self.of_length(length), self.protocol.mean)

    def counts(self, length: int) -> dict[str, int]:
        """Return over how many sequences each of these means is."""
        results = self.of_length(length)
        return {figure: len(with_figure(results, figure)) for figure in self.mean(length)}

    def short(self, length: int) -> list[Result]:
        """Return the results that count at a length although the sequence has fewer frames."""
        return [r for r in self.of_length(length) if not r.problem and r.frames < length]

    @property
    def sequences(self) -> int:
        """Return how many sequences the protocol has, whether they are there or not."""
        known = {result.sequence for result in self.results} | set(self.missing) | set(self.not_run)
        return max(self.protocol.count, len(known))

    def sequences_text(self, figure: str) -> str:
        """Return of how many of the protocol's sequences the means of a figure are, at each length."""
        lengths = self.protocol.lengths
        counts = [self.counts(length).get(figure, 0) for length in lengths]
        if len(set(counts)) == 1:
            return f"{counts[0]} of {self.sequences} sequences"
        each = (
            f"{_length_text(length)}: {count}" for length, count in zip(lengths, counts, strict=True)
        )
        return f"{', '.join(each)} of {self.sequences} sequences"


def report(evaluations: Iterable[Evaluation], ours: str, absent: Mapping[str, str] | None = None) -> str:
    """Return all tables in Markdown.

    ``ours`` has rule and weights of our rows, ``absent`` the protocols without data and the reason.
    """
    parts = []
    for evaluation in evaluations:
        protocol = evaluation.protocol
        parts.append(f"## {DATASETS[protocol.dataset].title}, {protocol.name}")
        parts.append(_conditions(evaluation, ours))
        parts += [
            _comparison(evaluation, metric, ours)
            for metric in protocol.headlines
            if find_published(protocol.dataset, protocol.name, metric)
        ]
        parts.append(_sequences(evaluation))
        parts += _footnotes(evaluation)
    for title, reason in (absent or {}).items():
        parts += [f"## {title}", f"Not there: {reason}"]
    return "\n\n".join(parts) + "\n"


def _conditions(evaluation: Evaluation, ours: str) -> str:
    protocol = evaluation.protocol
    count = evaluation.sequences_text(protocol.headlines[0])
    text = f"This run: {ours}. Protocol of {protocol.source}; {count}, mean over {protocol.mean}."
    if protocol.own_lengths and not protocol.is_own:
        text += f" Not in that protocol: first {', '.join(map(_length_text, protocol.own_lengths))}."
    if evaluation.missing:
        text += f" Not there: {', '.join(evaluation.missing)}."
    if evaluation.not_run:
        text += f" Not run, for the run was interrupted: {', '.join(evaluation.not_run)}."
    return text


def _footnotes(evaluation: Evaluation) -> list[str]:
    """Return paragraphs with short sequences and the remarks of the results."""
    lengths = evaluation.protocol.lengths
    frames = {r.sequence: r.frames for length in lengths for r in evaluation.short(length)}
    notes = [f"{name} has {count} frames" for name, count in frames.items()]
    paragraphs = (
        [f"{_SHORT} fewer frames than the head of the column: {', '.join(notes)}."] if notes else []
    )
    remarks: dict[str, list[str]] = {}
    for result in evaluation.results:
        for remark in result.remarks:
            remarks.setdefault(remark, []).append(result.sequence)
    for remark, names in remarks.items():
        paragraphs.append(f"Note, {', '.join(dict.fromkeys(names))}: {remark}.")
    return paragraphs


def _comparison(evaluation: Evaluation, metric: str, ours: str) -> str:
    """Return what others published of one figure, and ours in the last rows, at every length."""
    protocol = evaluation.protocol
    lengths = protocol.lengths
    rows = [
        [row.method, row.weights, *(_cell(row.values.get(length)) for length in lengths), row.source]
        for row in find_published(protocol.dataset, protocol.name, metric)
        if set(row.values) & set(lengths)
    ]
    for title, figure in (("", metric), *_BESIDE.get(metric, ())):
        means = [_mean_cell(evaluation, length, figure) for length in lengths]
        name = f"**this run**, {title}" if title else "**this run**"
        rows.append([name, ours, *means, evaluation.sequences_text(figure)])
    header = [
        TITLES.get(metric, metric),
        "weights",
        *(_length_text(length) for length in lengths),
        "source",
    ]
    return _table(header, rows, text_columns=(0, 1, len(header) - 1))


def _mean_cell(evaluation: Evaluation, length: int, figure: str) -> str:
    cell = _cell(evaluation.mean(length).get(figure))
    short = with_figure(evaluation.short(length), figure)
    return f"{cell} {_SHORT}" if cell and short else cell


def _sequences(evaluation: Evaluation) -> str:
    """Return every result in a row of its own, the worst and the failed ones too."""
    columns = _COLUMNS[evaluation.protocol.task]
    rows = []
    for length in evaluation.protocol.lengths:
        short = evaluation.short(length)
        for result in evaluation.of_length(length):
            figures = [_cell(result.metrics.get(key)) for _, key in columns]
            figures = [result.problem, *[""] * (len(columns) - 1)] if result.problem else figures
            frames = f"{_frames_text(result)} {_SHORT}" if result in short else _frames_text(result)
            rows.append([result.sequence, _length_text(length), frames, *figures])
        rows.append(_mean_row(evaluation, length, [key for _, key in columns]))
    return _table(
        ["sequence", "first", "frames", *(title for title, _ in columns)], rows, text_columns=(0,)
    )


def _mean_row(evaluation: Evaluation, length: int, figures: list[str]) -> list[str]:
    """Return the means; a mean over fewer sequences than the others has their number."""
    mean, counts = evaluation.mean(length), evaluation.counts(length)
    most = max((counts.get(figure, 0) for figure in figures), default=0)
    cells = [_cell(mean.get(figure)) for figure in figures]
    cells = [
        f"{cell} ({counts[figure]})" if cell and counts[figure] < most else cell
        for cell, figure in zip(cells, figures, strict=True)
    ]
    return [
        f"**mean**, {most} of {evaluation.sequences} sequences", _length_text(length), "", *cells
    ]  # fmt: skip


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
