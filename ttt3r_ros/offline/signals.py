# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C, SIGTERM and a terminal that goes away: the first asks to come to an end, a second one insists."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130  # exit status


class StopRequest:
    """While it is entered, `asked` tells whether somebody wants an end."""

    def __init__(self) -> None:
        self.asked = False
        self.insisted = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        # Only the main thread may take signals; elsewhere whoever started the thread does.
        if threading.current_thread() is threading.main_thread():
            heard = [number for number in SIGNALS if number != signal.SIGHUP or _is_heard(number)]
            self._before = {number: signal.signal(number, self._on_signal) for number in heard}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: Any) -> None:  # noqa: ARG002
        if self.asked:
            self.insisted = True
            raise KeyboardInterrupt
        self.asked = True


def _is_heard(number: signal.Signals) -> bool:
    """Tell whether a signal does something; nohup has SIGHUP ignored."""
    return signal.getsignal(number) is not signal.SIG_IGN
