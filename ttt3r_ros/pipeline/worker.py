# SPDX-License-Identifier: Apache-2.0
"""The one thread that owns the network, and the queue through which it gets frames."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

ItemT = TypeVar("ItemT")
logger = logging.getLogger(__name__)


class FrameQueue(Generic[ItemT]):
    """Queue between several producers and one consumer.

    ``capacity`` 0 (keep_last): the newest item of each producer displaces its older one, unless that is reserved.
    Latency stays bounded under load. Otherwise (keep_all) all items wait in order, and a producer must check
    `has_room` first (back-pressure).
    """

    def __init__(self, capacity: int = 0) -> None:
        self._condition = threading.Condition()
        self._capacity = capacity
        self._items: deque[tuple[str, ItemT]] = deque()
        self._reserved = 0  # so many of the oldest items, which nobody displaces
        self._busy = False  # what was taken last is not done with
        self._closed = False

    def put(self, item: ItemT, producer: str = "") -> ItemT | None:
        """Leave an item; return the one that nobody took in time or, once closed, will take."""
        with self._condition:
            if self._closed:
                return item
            dropped = None if self._capacity else self._remove_oldest_of(producer)
            self._items.append((producer, item))
            self._condition.notify()
            return dropped

    def has_room(self) -> bool:
        """Tell whether an item may be put without another being lost or the queue growing too long."""
        return not self._capacity or len(self._items) < self._capacity

    def take(self) -> list[ItemT]:
        """Wait for items; return the oldest and those behind it that came from other producers, [] once closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._items or self._closed)
            self._reserved = 0
            if self._closed:
                return []
            taken = [self._items.popleft()[1] for _ in range(self._batch_size())]
            self._busy = True
            return taken

    def reserve(self) -> ItemT | None:
        """Return the first of the items that will be taken next, whatever comes; None while there is none."""
        with self._condition:
            # All of them: were only the first kept, the next one of its producer would come between it and the others.
            self._reserved = self._batch_size()
            return self._items[0][1] if self._items else None

    def mark_done(self) -> None:
        """Say that what was taken last is done with."""
        with self._condition:
            self._busy = False

    def is_idle(self) -> bool:
        """Tell whether nothing waits and all that was taken is done with."""
        with self._condition:
            return not self._items and not self._busy

    def close(self) -> list[ItemT]:
        """Wake the taker for the last time; return the items that nobody will take."""
        with self._condition:
            self._closed = True
            left = [item for _, item in self._items]
            self._items.clear()
            self._condition.notify_all()
            return left

    def _batch_size(self) -> int:
        """Return how many items, from the oldest on, come from different producers."""
        producers = [producer for producer, _ in self._items]
        return next(
            (n for n, producer in enumerate(producers) if producer in producers[:n]), len(producers)
        )

    def _remove_oldest_of(self, producer: str) -> ItemT | None:
        for index in range(self._reserved, len(self._items)):
            if self._items[index][0] == producer:
                _, displaced = self._items[index]
                del self._items[index]
                return displaced
        return None


class Worker(Generic[ItemT]):
    """Runs ``process`` on the items of a queue in a thread of its own.

    An exception in ``process`` ends the thread, stays in ``failure`` and is reported through ``on_failure``:
    a dead thread behind a live node would be the worst failure a robot can have.
    """

    def __init__(
        self,
        process: Callable[[list[ItemT]], None],
        on_failure: Callable[[BaseException], None],
        capacity: int = 0,
        on_room: Callable[[], None] = lambda: None,
        on_done: Callable[[], None] = lambda: None,
    ) -> None:
        self._queue: FrameQueue[ItemT] = FrameQueue(capacity)
        self._process = process
        self._on_failure = on_failure
        self._on_room = on_room
        self._on_done = on_done
        self._thread = threading.Thread(target=self._run, name="ttt3r_worker", daemon=True)
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, item: ItemT, producer: str = "") -> ItemT | None:
        """Hand over an item; return the one it displaced, if any."""
        return self._queue.put(item, producer)

    def has_room(self) -> bool:
        """Tell whether an item may be handed over; with capacity 0 always."""
        return self._queue.has_room()

    def reserve(self) -> ItemT | None:
        """Return the first of the items that will be processed next, whatever comes; None while there is none."""
        return self._queue.reserve()

    def is_idle(self) -> bool:
        """Tell whether all that was handed over is done with."""
        return self._queue.is_idle()

    def stop(self, timeout_s: float = 10.0) -> list[ItemT]:
        """Let the running items finish, then end the thread; return those that were still waiting."""
        left = self._queue.close()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                logger.warning("the worker did not finish its frame within %.0f s", timeout_s)
        return left

    def _run(self) -> None:
        while items := self._queue.take():
            self._on_room()
            try:
                self._process(items)
            except Exception as error:  # whatever it was, the main thread must know
                self.failure = error
                self._on_failure(error)
                return
            self._queue.mark_done()
            self._on_done()
