# SPDX-License-Identifier: Apache-2.0
"""End the node if its worker hangs or has died.

A thread of its own, on the steady clock: a service that waits for the current frame blocks the executor's timers, and
the clock of a simulation may stand still.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from ttt3r_ros.errors import Ttt3rError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ttt3r_ros.pipeline.worker import Worker

PERIOD_S = 1.0
_FIRST_FRAME_FACTOR = 10.0  # the first frame also compiles the network
_SLOWEST_FRAME_FACTOR = 10.0


class WorkerError(Ttt3rError):
    """The worker thread has died, or does not finish its frame."""


class WorkerWatchdog:
    """Calls ``on_failure`` once, on its own thread, if the worker has died or exceeds its limit.

    The limit of one frame is the timeout, or ten times the longest frame so far if that is more. Only time in which
    the watchdog itself runs counts, so a suspended process does not fail when it continues.
    """

    def __init__(
        self, worker: Worker[Any], timeout_s: float, on_failure: Callable[[BaseException], None]
    ) -> None:
        """Prepare; a timeout of 0 disables the limit, not the check for a dead thread."""
        self._worker = worker
        self._timeout_s = timeout_s
        self._on_failure = on_failure
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ttt3r_watchdog", daemon=True)

    def start(self) -> None:
        """Start to watch; the worker has been started."""
        self._thread.start()

    def stop(self) -> None:
        """End watching; call it before the worker is stopped."""
        self._stopped.set()

    @property
    def limit_s(self) -> float:
        """Return the longest permitted duration of a frame [s]."""
        longest_s = self._worker.longest_s
        if not longest_s:
            return _FIRST_FRAME_FACTOR * self._timeout_s
        return max(self._timeout_s, _SLOWEST_FRAME_FACTOR * longest_s)

    def _run(self) -> None:
        watched_s, before_s = 0.0, time.monotonic()
        current: float | None = None  # start of the frame that is watched
        while not self._stopped.wait(PERIOD_S):
            now_s = time.monotonic()
            elapsed_s, before_s = min(now_s - before_s, 2 * PERIOD_S), now_s
            started_s = self._worker.started_s
            watched_s = watched_s + elapsed_s if started_s is not None and started_s == current else 0.0
            current = started_s
            if (error := self._error(watched_s)) is not None:
                self._on_failure(error)
                return

    def _error(self, watched_s: float) -> BaseException | None:
        if not self._worker.is_alive():
            return self._worker.failure or WorkerError("the worker thread has ended without an error")
        if self._timeout_s and watched_s > self.limit_s:
            return WorkerError(
                f"the worker hangs: one image takes more than {watched_s:.0f} s, the longest before took"
                f" {self._worker.longest_s:.1f} s; worker_timeout is {self._timeout_s:g} s; it executes"
                f" {self._worker.position()}"
            )
        return None
