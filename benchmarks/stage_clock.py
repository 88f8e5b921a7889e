# SPDX-License-Identifier: Apache-2.0
"""A clock that splits the processor time of a frame into stages, and publishers that tell it what they do."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Iterator


class StageClock:
    """Splits a frame into stages, at the moments that it is told of."""

    def __init__(self) -> None:
        self.samples_ms: dict[str, list[float]] = defaultdict(list)
        self._frame_ms: dict[str, float] = defaultdict(float)
        self._mark_s = 0.0

    def lap(self, stage: str) -> None:
        """Count the thread's processor time since the last lap under a stage."""
        self.add(stage, time.thread_time() - self._mark_s)
        self._mark_s = time.thread_time()

    def add(self, stage: str, seconds: float) -> None:
        """Count time measured elsewhere."""
        self._frame_ms[stage] += seconds * 1e3

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count laps from here on, and what passes and all threads use while the block lasts."""
        elapsed_s, used_s = time.perf_counter(), time.process_time()
        self._mark_s = time.thread_time()
        yield
        self.add("elapsed", time.perf_counter() - elapsed_s)
        self.add("all threads", time.process_time() - used_s)

    def close_frame(self) -> None:
        """Begin the next frame."""
        for stage, ms in self._frame_ms.items():
            self.samples_ms[stage].append(ms)
        self._frame_ms.clear()

    def taken(self) -> dict[str, list[float]]:
        """Return the samples of all frames [ms] and forget them."""
        samples_ms, self.samples_ms = self.samples_ms, defaultdict(list)
        return dict(samples_ms)


@contextmanager
def timed_publishers(clock: StageClock, node: str) -> Iterator[None]:
    """Let every publisher of a node's results tell the clock when its message is ready and when it is sent."""
    from rclpy.publisher import Publisher

    publish, topics = Publisher.publish, dict[int, str]()

    def timed(publisher: Any, message: Any) -> None:
        topic = topics.get(id(publisher))
        if topic is None:
            topic = topics[id(publisher)] = publisher.topic_name.removeprefix(f"/{node}/")
        if topic.startswith("/image"):  # the camera's
            publish(publisher, message)
            return
        clock.lap(f"build {topic}")
        publish(publisher, message)
        clock.lap(f"publish {topic}")

    with mock.patch.object(Publisher, "publish", timed):
        yield
