# SPDX-License-Identifier: Apache-2.0
"""Warnings that repeat: the first one of each kind is logged, the others are counted."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_KINDS = 200
_NUMBER = re.compile(r"[-+]?\d[\d.]*(?:[eE][-+]?\d+)?|\bnan\b|[-+]?\binf\b")


def kind_of(text: str) -> str:
    """Return a warning without its numbers: warnings that differ in nothing else are of one kind."""
    return _NUMBER.sub("#", text)


class RepeatedWarnings:
    """Logs the first warning of each kind, from any thread, and counts the others for a summary."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._first: dict[str, str] = {}  # text by kind
        self._counts: dict[str, int] = {}  # of further warnings by kind

    def warn(self, text: str, kind: str = "") -> None:
        """Log a warning unless one of its kind was logged; the default kind is the text without its numbers."""
        kind = kind or kind_of(text)
        with self._lock:
            if kind in self._first:
                self._counts[kind] += 1
                return
            if len(self._first) >= _MAX_KINDS:
                kind = "warnings of other kinds"
                self._first.setdefault(kind, kind)
                self._counts[kind] = self._counts.get(kind, 0) + 1
                return
            self._first[kind], self._counts[kind] = text, 0
        self._log(text)

    def summarize(self) -> None:
        """Log how often each kind repeated, and count from zero."""
        with self._lock:
            repeated = [(self._first[kind], count) for kind, count in self._counts.items() if count]
            self._counts = dict.fromkeys(self._counts, 0)
        for text, count in repeated:
            self._log(f"{count} more warnings like this: {text}")
