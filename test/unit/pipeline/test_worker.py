# SPDX-License-Identifier: Apache-2.0
"""The worker thread and its queue."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from ttt3r_ros.pipeline.worker import FrameQueue, Worker

if TYPE_CHECKING:
    import pytest

PATIENCE_S = 20.0  # only a failing test waits this long


def no_failure(error: BaseException) -> None:
    raise AssertionError(error)


class Gate:
    """A process function that signals its start and waits for permission to continue."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.done: list[int] = []

    def __call__(self, items: list[int]) -> None:
        self.begun.release()
        assert self.go.acquire(timeout=PATIENCE_S)
        self.done.extend(items)


def test_a_queue_without_capacity_keeps_the_newest_item_only() -> None:
    queue: FrameQueue[int] = FrameQueue()
    assert [queue.put(item) for item in (1, 2, 3)] == [None, 1, 2]
    assert queue.take() == [3]
    assert queue.put(4) is None
    assert queue.take() == [4]


def test_the_newest_items_of_several_producers_are_taken_together() -> None:
    queue: FrameQueue[int] = FrameQueue()
    dropped = [queue.put(item, producer) for item, producer in ((1, "a"), (2, "b"), (3, "a"))]
    assert dropped == [None, None, 1]
    assert queue.take() == [2, 3]


def test_a_queue_with_capacity_keeps_all_items_in_order() -> None:
    queue: FrameQueue[int] = FrameQueue(capacity=3)
    for item, producer in ((1, "a"), (2, "b"), (3, "b"), (4, "a")):
        assert queue.put(item, producer) is None
    assert not queue.has_room()
    assert [queue.take(), queue.take()] == [[1, 2], [3, 4]]
    assert queue.has_room()


def test_a_queue_is_idle_when_all_taken_items_are_processed() -> None:
    queue: FrameQueue[int] = FrameQueue(capacity=2)
    states = [queue.is_idle()]
    queue.put(1)
    states.append(queue.is_idle())
    queue.take()
    states.append(queue.is_idle())
    queue.mark_done()
    states.append(queue.is_idle())
    assert states == [True, False, False, True]


def test_a_reserved_item_is_taken_next() -> None:
    queue: FrameQueue[int] = FrameQueue(capacity=2)
    assert queue.reserve() is None
    queue.put(1)
    queue.put(2)
    assert queue.reserve() == queue.reserve() == 1
    assert queue.take() == [1]


def test_a_newer_item_displaces_only_items_that_are_not_reserved() -> None:
    queue: FrameQueue[int] = FrameQueue()
    queue.put(1)
    assert queue.reserve() == 1
    assert queue.put(2) is None
    assert queue.put(3) == 2
    assert queue.put(10, "other camera") is None
    assert queue.take() == [1]
    assert queue.put(4) == 3, "taking items ends their reservation"
    assert queue.take() == [10, 4]


def test_reservations_do_not_starve_another_camera() -> None:
    queue: FrameQueue[str] = FrameQueue()

    def put_both() -> None:
        for camera in ("left", "right"):
            queue.put(camera, camera)

    put_both()
    for _ in range(10):
        assert queue.take() == ["left", "right"]
        put_both()  # while the network runs
        queue.reserve()
        put_both()  # during integration


def test_a_closed_queue_returns_reserved_items() -> None:
    queue: FrameQueue[int] = FrameQueue()
    queue.put(1)
    queue.reserve()
    queue.put(2)
    assert queue.close() == [1, 2]


def test_a_closed_queue_is_empty_and_returns_new_items() -> None:
    queue: FrameQueue[int] = FrameQueue()
    queue.put(1)
    assert queue.close() == [1]
    assert queue.take() == []
    assert queue.close() == []
    assert queue.put(2) == 2
    assert queue.take() == []


def test_closing_ends_all_waiting() -> None:
    queue: FrameQueue[int] = FrameQueue()
    taken: list[list[int]] = []
    consumers = [threading.Thread(target=lambda: taken.append(queue.take())) for _ in range(3)]
    for consumer in consumers:
        consumer.start()
    queue.close()
    for consumer in consumers:
        consumer.join(PATIENCE_S)
    assert taken == [[]] * 3


def test_while_one_item_is_processed_only_the_newest_waits() -> None:
    gate = Gate()
    worker = Worker(gate, no_failure)
    worker.start()
    assert worker.submit(1) is None
    assert gate.begun.acquire(timeout=PATIENCE_S)
    assert [worker.submit(item) for item in (2, 3, 4)] == [None, 2, 3]
    gate.go.release(2)
    assert gate.begun.acquire(timeout=PATIENCE_S)
    assert worker.stop(PATIENCE_S) == []
    assert gate.done == [1, 4]


def test_stopping_finishes_the_current_item_and_returns_the_next() -> None:
    gate = Gate()
    worker = Worker(gate, no_failure)
    worker.start()
    worker.submit(1)
    assert gate.begun.acquire(timeout=PATIENCE_S)
    worker.submit(2)
    dropped: list[list[int]] = []
    stopper = threading.Thread(target=lambda: dropped.append(worker.stop(PATIENCE_S)))
    stopper.start()
    assert not gate.done
    gate.go.release()
    stopper.join(PATIENCE_S)
    assert (gate.done, dropped) == ([1], [[2]])
    assert worker.submit(3) == 3, "the worker has stopped"


def test_stopping_reports_an_item_that_takes_too_long(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    worker = Worker(gate, no_failure)
    worker.start()
    worker.submit(1)
    assert gate.begun.acquire(timeout=PATIENCE_S)
    with caplog.at_level(logging.WARNING):
        worker.stop(timeout_s=0.0)
    assert "did not finish" in caplog.text
    gate.go.release()
    worker.stop(PATIENCE_S)
    worker._thread.join(PATIENCE_S)
    assert gate.done == [1]


def test_a_failure_ends_the_thread_and_is_reported_once() -> None:
    reported: list[BaseException] = []
    failed = threading.Event()
    seen: list[int] = []

    def process(items: list[int]) -> None:
        seen.extend(items)
        msg = f"item {items[0]}"
        raise ZeroDivisionError(msg)

    def on_failure(error: BaseException) -> None:
        reported.append(error)
        failed.set()

    worker = Worker(process, on_failure)
    worker.start()
    worker.submit(1)
    assert failed.wait(PATIENCE_S)
    worker._thread.join(PATIENCE_S)
    assert not worker._thread.is_alive()
    worker.submit(2)
    assert worker.stop(PATIENCE_S) == [2]
    assert reported == [worker.failure]
    assert str(worker.failure) == "item 1"
    assert seen == [1]


def test_a_worker_may_stop_itself() -> None:
    stopped = threading.Event()

    def process(items: list[int]) -> None:
        worker.stop(PATIENCE_S)
        stopped.set()

    worker: Worker[int] = Worker(process, no_failure)
    worker.start()
    worker.submit(1)
    assert stopped.wait(PATIENCE_S)
    worker._thread.join(PATIENCE_S)
    assert not worker._thread.is_alive()


def test_a_worker_that_never_started_can_be_stopped() -> None:
    worker: Worker[int] = Worker(lambda items: None, no_failure)
    worker.submit(1)
    assert worker.stop() == [1]


def test_under_stress_every_item_is_processed_or_returned() -> None:
    count = 20_000
    processed: list[int] = []
    last = threading.Event()

    def process(items: list[int]) -> None:
        processed.extend(items)
        if items[-1] == count - 1:
            last.set()

    worker = Worker(process, no_failure)
    worker.start()
    dropped = [item for k in range(count) if (item := worker.submit(k)) is not None]
    assert last.wait(PATIENCE_S), "a wake-up was lost"
    assert worker.stop(PATIENCE_S) == []
    assert processed == sorted(processed), "in order"
    assert sorted(processed + dropped) == list(range(count))


def test_each_item_wakes_a_waiting_worker() -> None:
    done = threading.Semaphore(0)
    worker: Worker[int] = Worker(lambda items: done.release(), no_failure)
    worker.start()
    for k in range(2000):
        assert worker.submit(k) is None
        assert done.acquire(timeout=PATIENCE_S), f"item {k} was not taken"
    worker.stop(PATIENCE_S)
