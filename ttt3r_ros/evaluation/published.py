# SPDX-License-Identifier: Apache-2.0
"""Published figures of online methods, read from ``published.csv``; docs/evaluation.md describes the sources."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Published:
    """One figure of a method at one or more numbers of frames (0: all), from one source."""

    method: str
    dataset: str
    protocol: str
    metric: str
    values: dict[int, float]
    source: str
    weights: str


def _read() -> tuple[Published, ...]:
    found: dict[tuple[str, ...], Published] = {}
    with files("ttt3r_ros.evaluation").joinpath("published.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            frames, value = int(row.pop("frames")), float(row.pop("value"))
            published_row = found.setdefault(tuple(row.values()), Published(**row, values={}))
            published_row.values[frames] = value
    return tuple(found.values())


PUBLISHED = _read()


def find_published(dataset: str, protocol: str, metric: str) -> list[Published]:
    """Return the published values of one figure."""
    return [
        row
        for row in PUBLISHED
        if (row.dataset, row.protocol, row.metric) == (dataset, protocol, metric)
    ]
