# SPDX-License-Identifier: Apache-2.0
"""Progress of a run on standard error: a bar on a terminal, otherwise a line every few seconds."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from ttt3r_ros.offline.process_memory import memory_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from tqdm import tqdm

_LINE_INTERVAL_S = 5.0
_CLOSED_STREAM = (OSError, ValueError)  # the reader of the stream has gone; the run continues without it


class Progress:
    """Shows frames, frames per second, remaining time, memory and voxels."""

    def __init__(self, name: str, total: int, done: int = 0, stream: TextIO | None = None) -> None:
        """Start; ``total`` 0: unknown. ``done`` frames of an earlier run do not count in the rate."""
        self._stream: TextIO | None = stream or sys.stderr  # None: it was closed
        self._name, self._total, self._first, self._done = name, total, done, done
        self._started = self._printed = time.monotonic()
        self._bar: tqdm[None] | None = None
        if self._stream is not None and self._stream.isatty():
            from tqdm import tqdm  # noqa: PLC0415 - an optional extra

            self._bar = tqdm(
                total=total or None, initial=done, desc=name, unit="frame", dynamic_ncols=True,
                file=self._stream,
            )  # fmt: skip

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            with suppress(*_CLOSED_STREAM):
                self._bar.close()

    def advance(self, voxels: int) -> None:
        """Count a frame, and print the progress if it is due."""
        self._done += 1
        if self._bar is not None:
            self._bar.set_postfix_str(f"{_mib(memory_bytes())}, {voxels} voxels", refresh=False)
            with suppress(*_CLOSED_STREAM):
                self._bar.update()
        elif time.monotonic() - self._printed >= _LINE_INTERVAL_S:
            self._printed = time.monotonic()
            print_line(self._line(voxels), self._stream)

    def _line(self, voxels: int) -> str:
        rate_hz = (self._done - self._first) / max(time.monotonic() - self._started, 1e-9)
        of, left = "", ""
        if self._total:
            of = f" of {self._total}"
            left = f", {_clock(max(0, self._total - self._done) / max(rate_hz, 1e-9))} left"
        return (
            f"{self._name}: {self._done}{of} frames, {rate_hz:.1f} frames/s{left},"
            f" {_mib(memory_bytes())}, {voxels} voxels"
        )


@contextmanager
def show_progress(name: str, total: int, done: int, *, enabled: bool) -> Iterator[Callable[[int], None]]:
    """Yield the function to call after each frame with the number of voxels; log messages go above the bar."""
    if not enabled:
        yield lambda _: None
        return
    from tqdm.contrib.logging import logging_redirect_tqdm  # noqa: PLC0415 - an optional extra

    with logging_redirect_tqdm(), Progress(name, total, done) as progress:
        yield progress.advance


def print_line(text: str, stream: TextIO | None) -> None:
    """Print a line, unless the stream was closed."""
    if stream is not None:
        with suppress(*_CLOSED_STREAM):
            print(text, file=stream, flush=True)


def _mib(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
