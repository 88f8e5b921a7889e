# SPDX-License-Identifier: Apache-2.0
"""Stamps in text files: the unit of a column is detected, every number is exact, and stray numbers are errors."""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from ttt3r_ros.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_MAX_DIGITS = 25  # before the point; more are no stamp in any unit
_MAX_NS = 2**63 - 1
_MAX_S = 1e11  # of seconds since 1970; a larger number is of a smaller unit
_MIN_EPOCH_S = 1e9  # 2001; larger stamps are times since 1970
_MIN_STEP_S, _MAX_STEP_S = 1e-4, 1e3  # between two rows
_MIN_COMMON_STEP_S = 4e-3  # shorter ones may be of another unit
_MAX_EPOCH_STEP_S = 1e4  # of times since 1970
_TYPICAL_STEP_S = 0.05  # decides between units that are all possible
_MAX_SPREAD_NS = 10**17  # from the median of a file; three years


def parse_stamps_ns(path: Path, rows: Sequence[tuple[int, str]], unit: str = "s") -> list[int]:
    """Return stamps [ns] of rows: line number and text. ``unit`` is that of the format.

    Another unit is used if the stamps or their steps are impossible in that one, such as seconds of 10^18.

    Raises:
        SourceError: a stamp is not a number, negative or too large, or far from the others; the message has its line.
    """
    values = [_parse(path, line, text) for line, text in rows]
    if not values:
        return []
    factor = NANOSECONDS[detect_unit(values, unit)]
    middle = median(values)
    for (line, text), value in zip(rows, values, strict=True):
        if abs(value - middle) * factor > _MAX_SPREAD_NS:
            msg = (
                f"{path}:{line}: the stamp {_shorten(text)} is far from the others, whose median is {middle:.12g}; "
                "expected one clock and one unit in a file"
            )
            raise SourceError(msg)
    return [
        _nanoseconds(path, line, value, factor) for (line, _), value in zip(rows, values, strict=True)
    ]


def parse_seconds_ns(path: Path, line: int, text: str) -> int:
    """Return the stamp [ns] of decimal seconds, exactly; a float has too few digits.

    Raises:
        SourceError: the text is not a number of at least 0, or too large.
    """
    return _nanoseconds(path, line, _parse(path, line, text), NANOSECONDS["s"])


def detect_unit(values: Sequence[Decimal], unit: str) -> str:
    """Return the unit of stamps in the order of a file: the given one if it is possible, else the most probable one."""
    middle = float(median(values))
    ordered = sorted(values)
    steps = [float(b - a) for a, b in pairwise(ordered) if b > a]
    step = median(steps) if steps else 0.0
    whole = all(value == value.to_integral_value() for value in values)

    def is_possible(candidate: str) -> bool:
        seconds = NANOSECONDS[candidate] * 1e-9
        if middle * seconds >= _MAX_S:
            return False
        if candidate == "s" and not whole:
            return True
        longest_s = _MAX_EPOCH_STEP_S if middle * seconds >= _MIN_EPOCH_S else _MAX_STEP_S
        return not step or _MIN_STEP_S <= step * seconds <= longest_s

    candidates = [candidate for candidate in NANOSECONDS if is_possible(candidate)]
    epoch = [c for c in candidates if middle * NANOSECONDS[c] * 1e-9 >= _MIN_EPOCH_S]
    is_common = step * NANOSECONDS[unit] * 1e-9 >= _MIN_COMMON_STEP_S
    if unit in epoch or (unit in candidates and (is_common or not epoch)):
        return unit
    return min(
        epoch or candidates or [unit],
        key=lambda candidate: _decades(step * NANOSECONDS[candidate] * 1e-9 / _TYPICAL_STEP_S),
    )


def _decades(ratio: float) -> float:
    return abs(math.log10(ratio)) if ratio > 0 else 0.0


def _parse(path: Path, line: int, text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite() or value < 0 or value.adjusted() >= _MAX_DIGITS:
        problem = "negative" if value.is_finite() and value < 0 else "not a stamp"
        msg = f"{path}:{line}: '{_shorten(text)}' is {problem}; expected a time of at least 0"
        raise SourceError(msg)
    return value


def _nanoseconds(path: Path, line: int, value: Decimal, factor: int) -> int:
    stamp_ns = int(value * factor)
    if stamp_ns > _MAX_NS:
        msg = f"{path}:{line}: the stamp {value:.12g} is too large; expected seconds below {_MAX_NS // 10**9}"
        raise SourceError(msg)
    return stamp_ns


def _shorten(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
