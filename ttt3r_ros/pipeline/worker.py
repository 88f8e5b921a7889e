# SPDX-License-Identifier: Apache-2.0
"""The one thread that owns the network, and the slot through which it gets the newest frame."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

ItemT = TypeVar("ItemT")
logger = logging.getLogger(__name__)


class LatestSlot(Generic[ItemT]):
    """Holds at most one item; a newer one replaces it, so that latency stays bounded under load."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: ItemT | None = None
        self._closed = False

    def put(self, item: ItemT) -> ItemT | None:
        """Leave an item; return the one that nobody took in time or, once closed, will take."""
        with self._condition:
            if self._closed:
                return item
            dropped, self._item = self._item, item
            self._condition.notify()
            return dropped

    def take(self) -> ItemT | None:
        """Wait for an item; None once the slot is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._item is not None or self._closed)
            item, self._item = self._item, None
            return None if self._closed else item

    def close(self) -> ItemT | None:
        """Wake the taker for the last time; return the item that nobody will take."""
        with self._condition:
            self._closed = True
            dropped, self._item = self._item, None
            self._condition.notify_all()
            return dropped


class Worker(Generic[ItemT]):
    """Runs ``process`` on the newest item in a thread of its own.

    An exception in ``process`` ends the thread, stays in ``failure`` and is reported through ``on_failure``:
    a dead thread behind a live node would be the worst failure a robot can have.
    """

    def __init__(
        self, process: Callable[[ItemT], None], on_failure: Callable[[BaseException], None]
    ) -> None:
        self._slot: LatestSlot[ItemT] = LatestSlot()
        self._process = process
        self._on_failure = on_failure
        self._thread = threading.Thread(target=self._run, name="ttt3r_worker", daemon=True)
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, item: ItemT) -> ItemT | None:
        """Hand over an item; return the one it displaced, if any."""
        return self._slot.put(item)

    def stop(self, timeout_s: float = 10.0) -> ItemT | None:
        """Let the running item finish, then end the thread; return the item that was still waiting, if any."""
        dropped = self._slot.close()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                logger.warning("the worker did not finish its frame within %.0f s", timeout_s)
        return dropped

    def _run(self) -> None:
        while (item := self._slot.take()) is not None:
            try:
                self._process(item)
            except Exception as error:  # noqa: PERF203 - whatever it was, the main thread must know
                self.failure = error
                self._on_failure(error)
                return
