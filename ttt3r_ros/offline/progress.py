# SPDX-License-Identifier: Apache-2.0
"""How far a run is: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import resource
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from tqdm import tqdm

if TYPE_CHECKING:
    from types import TracebackType

_LINE_EVERY_S = 5.0
_DEAF = (
    OSError,
    ValueError,
)  # who listened has gone; what is under way is worth more than being told of
_STATM = Path("/proc/self/statm")


class Progress:
    """Shows frames, frames per second, time left, memory and voxels on standard error."""

    def __init__(self, name: str, total: int, done: int = 0, stream: TextIO | None = None) -> None:
        """Begin; ``total`` 0: not known, ``done`` frames of an earlier run are not counted in the rate."""
        self._stream: TextIO | None = stream or sys.stderr  # None: it was closed
        self._name, self._total, self._first, self._done = name, total, done, done
        self._started = self._said = time.monotonic()
        self._bar: tqdm[None] | None = None
        if self._stream is not None and self._stream.isatty():
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
            with suppress(*_DEAF):
                self._bar.close()

    def advance(self, voxels: int) -> None:
        """Count a frame; say so if it is time."""
        self._done += 1
        if self._bar is not None:
            self._bar.set_postfix_str(f"{_mib(memory_bytes())}, {voxels} voxels", refresh=False)
            with suppress(*_DEAF):
                self._bar.update()
        elif time.monotonic() - self._said >= _LINE_EVERY_S:
            self._said = time.monotonic()
            _tell(self._line(voxels), self._stream)

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


def say(text: str) -> None:
    """Tell a user something on standard output, if there still is one."""
    _tell(text, sys.stdout)


def complain(problem: str) -> None:
    """Tell a user of a problem on standard error, if there still is one."""
    _tell(f"ttt3r_ros: {problem}", sys.stderr)


def _tell(text: str, stream: TextIO | None) -> None:
    if stream is not None:
        with suppress(*_DEAF):
            print(text, file=stream, flush=True)


def memory_bytes() -> int:
    """Return the memory that this process holds now; where the system does not tell, the most that it held."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    except OSError:
        return peak_memory_bytes()


def peak_memory_bytes() -> int:
    """Return the most memory that this process held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _mib(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
