# SPDX-License-Identifier: Apache-2.0
"""What the subcommands' arguments have in common: numbers within bounds, and extras that may not be installed."""

from __future__ import annotations

import argparse
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ttt3r_ros.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    """Return a type for argparse: whole numbers from ``low`` to ``high``, None: without end."""

    def parse(text: str) -> int:
        value = int(text)
        if high is not None and not low <= value <= high:
            msg = f"{value} is not between {low} and {high}"
            raise argparse.ArgumentTypeError(msg)
        if value < low:
            msg = f"{value} is negative" if low == 0 else f"{value} is less than {low}"
            raise argparse.ArgumentTypeError(msg)
        return value

    parse.__name__ = "whole number"  # as argparse calls what is none
    return parse


def rate_hz(*, zero: bool = False) -> Callable[[str], float]:
    """Return a type for argparse: rates up to 1000 Hz, 0 only where that means something."""

    def parse(text: str) -> float:
        value = float(text)
        if not 0 <= value <= 1000 or (value == 0 and not zero):
            msg = f"{text} is not a rate {'from 0' if zero else 'above 0 and'} up to 1000 Hz"
            raise argparse.ArgumentTypeError(msg)
        return value

    parse.__name__ = "rate"  # as argparse calls what is none
    return parse


@contextmanager
def needing(who: str, how: str) -> Iterator[None]:
    """Turn a missing module of others into one line: who needs it, and how to get it.

    Raises:
        ConfigError: a module is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("ttt3r_ros"):
            raise
        msg = f"{who} needs the module {error.name}: {how}"
        raise ConfigError(msg) from error
