# SPDX-License-Identifier: Apache-2.0
"""Worker: the only thread that runs the network, and its queue of frames."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ItemT = TypeVar("ItemT")
logger = logging.getLogger(__name__)


class FrameQueue(Generic[ItemT]):
    """Queue between several producers and one consumer.

    With ``capacity`` 0 (keep_last) the newest item of each producer displaces its older one, unless that is reserved;
    the latency is bounded under load. Otherwise (keep_all) all items wait in order, and a producer must check
    `has_room` first (back-pressure).
    """

    def __init__(self, capacity: int = 0) -> None:
        self._condition = threading.Condition()
        self._capacity = capacity
        self._items: deque[tuple[str, ItemT]] = deque()
        self._reserved = 0  # number of oldest items that cannot be displaced
        self._busy = False  # the consumer processes the items that it took last
        self._closed = False

    def put(self, item: ItemT, producer: str = "") -> ItemT | None:
        """Append an item; return the displaced item if there is one, or the item itself if the queue is closed."""
        with self._condition:
            if self._closed:
                return item
            dropped = None if self._capacity else self._remove_oldest_of(producer)
            self._items.append((producer, item))
            self._condition.notify()
            return dropped

    def has_room(self) -> bool:
        """Return whether the capacity permits another item; always with capacity 0."""
        return not self._capacity or len(self._items) < self._capacity

    def take(self) -> list[ItemT]:
        """Wait for items; return the oldest one and those after it of other producers, [] if the queue is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._items or self._closed)
            self._reserved = 0
            if self._closed:
                return []
            taken = [self._items.popleft()[1] for _ in range(self._count_batch())]
            self._busy = True
            return taken

    def reserve(self) -> ItemT | None:
        """Protect the items of the next `take` from displacement; return the first one, None if there is none."""
        with self._condition:
            # All of them: if the others were displaced, the next batch would have another composition.
            self._reserved = self._count_batch()
            return self._items[0][1] if self._items else None

    def mark_done(self) -> None:
        """Report that the items taken last are processed."""
        with self._condition:
            self._busy = False

    def is_idle(self) -> bool:
        """Return whether no item waits and all taken items are processed."""
        with self._condition:
            return not self._items and not self._busy

    def close(self) -> list[ItemT]:
        """End all waiting; return the items that were not taken."""
        with self._condition:
            self._closed = True
            remaining = [item for _, item in self._items]
            self._items.clear()
            self._condition.notify_all()
            return remaining

    def _count_batch(self) -> int:
        """Return the number of items, from the oldest one on, that have distinct producers."""
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
    """Calls ``process`` with the items of a queue in its own thread.

    An exception in ``process``, also SystemExit, ends the thread, is stored in ``failure`` and passed to
    ``on_failure``: a live node with a dead worker must not exist.
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
        self._started_s: float | None = None  # monotonic time at which the current items were taken
        self._longest_s = 0.0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, item: ItemT, producer: str = "") -> ItemT | None:
        """Queue an item; return the displaced item if there is one."""
        return self._queue.put(item, producer)

    def has_room(self) -> bool:
        """Return whether the capacity of the queue permits another item; see `FrameQueue.has_room`."""
        return self._queue.has_room()

    def reserve(self) -> ItemT | None:
        """Protect the items that are processed next from displacement; see `FrameQueue.reserve`."""
        return self._queue.reserve()

    def is_idle(self) -> bool:
        """Return whether all queued items are processed."""
        return self._queue.is_idle()

    @contextmanager
    def hold(self, lock: threading.Lock) -> Iterator[None]:
        """Hold a lock in ``process``; the wait for it, such as for a map that is saved, is not processing time."""
        self._started_s = None
        with lock:
            self._started_s = time.monotonic()
            yield

    def is_alive(self) -> bool:
        """Return whether the thread runs."""
        return self._thread.is_alive()

    @property
    def started_s(self) -> float | None:
        """Return the monotonic time at which the current items were taken; None: it waits for items."""
        return self._started_s

    @property
    def longest_s(self) -> float:
        """Return the longest duration of one call of ``process`` so far; 0 before the first has ended."""
        return self._longest_s

    def position(self) -> str:
        """Return the file, line and function that the thread executes; empty if it has ended."""
        frame = sys._current_frames().get(self._thread.ident or 0)  # noqa: SLF001 - the only access to it
        if frame is None:
            return ""
        return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} in {frame.f_code.co_name}"

    def stop(self, timeout_s: float = 10.0) -> list[ItemT]:
        """End the thread after the current items; return the items that were not processed."""
        remaining = self._queue.close()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                logger.warning("the worker did not finish its frame within %.0f s", timeout_s)
        return remaining

    def _run(self) -> None:
        while items := self._queue.take():
            self._on_room()
            self._started_s = time.monotonic()
            try:
                self._process(items)
            except BaseException as error:
                self.failure = error
                self._on_failure(error)
                return
            self._longest_s = max(self._longest_s, time.monotonic() - self._started_s)
            self._started_s = None
            self._queue.mark_done()
            self._on_done()
