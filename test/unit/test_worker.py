# SPDX-License-Identifier: Apache-2.0
"""The thread that owns the network."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from ttt3r_ros.pipeline.worker import LatestSlot, Worker

if TYPE_CHECKING:
    import pytest

PATIENCE_S = 20.0  # only a failing test waits as long


def no_failure(error: BaseException) -> None:
    raise AssertionError(error)


class Gate:
    """A process that says when it begins and goes on when it is let."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.done: list[int] = []

    def __call__(self, item: int) -> None:
        self.begun.release()
        assert self.go.acquire(timeout=PATIENCE_S)
        self.done.append(item)


def test_a_slot_hands_out_only_the_newest_item_and_gives_back_the_older_ones() -> None:
    slot: LatestSlot[int] = LatestSlot()
    assert [slot.put(item) for item in (1, 2, 3)] == [None, 1, 2]
    assert slot.take() == 3
    assert slot.put(4) is None
    assert slot.take() == 4


def test_a_closed_slot_has_nothing_to_take_and_returns_what_nobody_will_take() -> None:
    slot: LatestSlot[int] = LatestSlot()
    slot.put(1)
    assert slot.close() == 1
    assert slot.take() is None
    assert slot.close() is None
    assert slot.put(2) == 2
    assert slot.put(3) == 3
    assert slot.take() is None


def test_closing_wakes_everyone_who_waits() -> None:
    slot: LatestSlot[int] = LatestSlot()
    taken: list[int | None] = []
    takers = [threading.Thread(target=lambda: taken.append(slot.take())) for _ in range(3)]
    for taker in takers:
        taker.start()
    slot.close()
    for taker in takers:
        taker.join(PATIENCE_S)
    assert taken == [None] * 3


def test_while_one_item_is_processed_only_the_newest_waits() -> None:
    gate = Gate()
    worker = Worker(gate, no_failure)
    worker.start()
    assert worker.submit(1) is None
    assert gate.begun.acquire(timeout=PATIENCE_S)
    assert [worker.submit(item) for item in (2, 3, 4)] == [None, 2, 3]
    gate.go.release(2)
    assert gate.begun.acquire(timeout=PATIENCE_S)
    assert worker.stop(PATIENCE_S) is None
    assert gate.done == [1, 4]


def test_stopping_finishes_the_running_item_and_returns_the_waiting_one() -> None:
    gate = Gate()
    worker = Worker(gate, no_failure)
    worker.start()
    worker.submit(1)
    assert gate.begun.acquire(timeout=PATIENCE_S)
    worker.submit(2)
    dropped: list[int | None] = []
    stopper = threading.Thread(target=lambda: dropped.append(worker.stop(PATIENCE_S)))
    stopper.start()
    assert not gate.done
    gate.go.release()
    stopper.join(PATIENCE_S)
    assert (gate.done, dropped) == ([1], [2])
    assert worker.submit(3) == 3, "it is too late"


def test_an_item_that_takes_too_long_is_reported_when_stopping(caplog: pytest.LogCaptureFixture) -> None:
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

    def process(item: int) -> None:
        seen.append(item)
        msg = f"item {item}"
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
    assert worker.stop(PATIENCE_S) == 2
    assert reported == [worker.failure]
    assert str(worker.failure) == "item 1"
    assert seen == [1]


def test_a_worker_may_stop_itself() -> None:
    stopped = threading.Event()

    def process(item: int) -> None:
        worker.stop(PATIENCE_S)
        stopped.set()

    worker: Worker[int] = Worker(process, no_failure)
    worker.start()
    worker.submit(1)
    assert stopped.wait(PATIENCE_S)
    worker._thread.join(PATIENCE_S)
    assert not worker._thread.is_alive()


def test_a_worker_that_never_started_can_be_stopped() -> None:
    worker: Worker[int] = Worker(lambda item: None, no_failure)
    worker.submit(1)
    assert worker.stop() == 1


def test_under_stress_every_item_is_processed_or_given_back_and_the_last_is_never_forgotten() -> None:
    count = 20_000
    processed: list[int] = []
    last = threading.Event()

    def process(item: int) -> None:
        processed.append(item)
        if item == count - 1:
            last.set()

    worker = Worker(process, no_failure)
    worker.start()
    dropped = [item for k in range(count) if (item := worker.submit(k)) is not None]
    assert last.wait(PATIENCE_S), "a wake-up was lost"
    assert worker.stop(PATIENCE_S) is None
    assert processed == sorted(processed), "in order"
    assert sorted(processed + dropped) == list(range(count))


def test_a_worker_that_waits_is_woken_by_each_item() -> None:
    done = threading.Semaphore(0)
    worker: Worker[int] = Worker(lambda item: done.release(), no_failure)
    worker.start()
    for k in range(2000):
        assert worker.submit(k) is None
        assert done.acquire(timeout=PATIENCE_S), f"nobody took item {k}"
    worker.stop(PATIENCE_S)
