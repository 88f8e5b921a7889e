# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C, SIGTERM and SIGHUP as a request to stop; a second one interrupts at once."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130  # exit status


class StopRequest:
    """Handles signals while it is entered; `is_requested` after the first, `is_forced` after the second."""

    def __init__(self) -> None:
        self.is_requested = False
        self.is_forced = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        # Only the main thread may handle signals; in other threads the caller does.
        if threading.current_thread() is threading.main_thread():
            handled = [
                number for number in SIGNALS if number != signal.SIGHUP or not _is_ignored(number)
            ]
            self._previous = {number: signal.signal(number, self._on_signal) for number in handled}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: Any) -> None:  # noqa: ARG002
        if self.is_requested:
            self.is_forced = True
            raise KeyboardInterrupt
        self.is_requested = True


def _is_ignored(number: signal.Signals) -> bool:
    """Return whether a signal is ignored, as nohup does with SIGHUP."""
    return signal.getsignal(number) is signal.SIG_IGN
