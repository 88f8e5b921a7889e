# SPDX-License-Identifier: Apache-2.0
"""Clocks that split a frame into stages: by laps of processor time, or by functions, with those of a device."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class StageClock:
    """Splits a frame into stages at the reported times."""

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

    def take_samples(self) -> dict[str, list[float]]:
        """Return the samples of all frames [ms] and clear them."""
        samples_ms, self.samples_ms = self.samples_ms, defaultdict(list)
        return dict(samples_ms)


class FunctionClock:
    """Adds up the time of named functions, each until the device has caught up."""

    def __init__(self, device: str) -> None:
        self.samples: dict[str, list[float]] = defaultdict(list)
        self._device = device
        self._now: dict[str, float] = defaultdict(float)

    def wrap(self, owner: object, method: str, stage: str) -> None:
        """Replace a bound method by one that is timed under a stage."""
        function: Callable[..., Any] = getattr(owner, method)

        def with_timer(*args: Any, **kwargs: Any) -> Any:
            started = self.synchronize()
            result = function(*args, **kwargs)
            self._now[stage] += self.synchronize() - started
            return result

        setattr(owner, method, with_timer)

    @contextmanager
    def timing(self, wrapped: Iterable[tuple[object, str, str]]) -> Iterator[None]:
        """Time methods (owner, method, stage) while the block lasts."""
        owned = list(wrapped)
        for owner, method, stage in owned:
            self.wrap(owner, method, stage)
        try:
            yield
        finally:
            for owner, method, _ in owned:
                delattr(owner, method)

    def add(self, stage: str, seconds: float) -> None:
        """Add time to a stage of the current frame."""
        self._now[stage] += seconds

    def so_far(self, stage: str) -> float:
        """Return what a stage of the current frame has taken [s]."""
        return self._now[stage]

    def spent(self) -> dict[str, float]:
        """Return what the stages of the current frame took [s], and begin the next frame."""
        spent, self._now = self._now, defaultdict(float)
        return dict(spent)

    def close_frame(self) -> None:
        """Begin the next frame, and keep the times of this one."""
        for stage, seconds in self.spent().items():
            self.samples[stage].append(seconds)

    def synchronize(self) -> float:
        """Return the time once the device has caught up."""
        if self._device.startswith("cuda"):
            import torch

            torch.cuda.synchronize()
        return time.perf_counter()


@contextmanager
def timed_publishers(clock: StageClock, node: str) -> Iterator[None]:
    """Let every publisher of results report to the clock when its message is ready and when it is sent."""
    from rclpy.publisher import Publisher

    publish, topics = Publisher.publish, dict[int, str]()

    def with_timer(publisher: Any, message: Any) -> None:
        topic = topics.get(id(publisher))
        if topic is None:
            topic = topics[id(publisher)] = publisher.topic_name.removeprefix(f"/{node}/")
        if topic.startswith("/image"):  # the camera's
            publish(publisher, message)
            return
        clock.lap(f"build {topic}")
        publish(publisher, message)
        clock.lap(f"publish {topic}")

    with mock.patch.object(Publisher, "publish", with_timer):
        yield
