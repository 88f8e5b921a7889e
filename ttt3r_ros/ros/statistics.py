# SPDX-License-Identifier: Apache-2.0
"""What became of every image, and how long it took."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace

WINDOW = 100  # frames over which times are averaged
RECENT_S = 10.0  # how long an unusable image stays news


@dataclass(frozen=True)
class Counts:
    """Where images went; received = refused + dropped + skipped + processed + at most two under way."""

    received: int = 0
    refused: int = 0  # not convertible or out of order
    dropped: int = 0  # displaced by a newer one
    skipped: int = 0  # shown to nobody: one color, or the network's answer was not finite
    processed: int = 0
    lost: int = 0  # by the middleware, before they were received


@dataclass
class Statistics:
    """Counts and recent times; any thread may call any method."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _counts: Counts = field(default_factory=Counts)
    _problems: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _finished: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _stages: deque[dict[str, float]] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def count(self, outcome: str, images: int = 1) -> None:
        """Count one or more images under a field of `Counts`."""
        with self._lock:
            self._counts = replace(self._counts, **{outcome: getattr(self._counts, outcome) + images})
            if outcome in ("refused", "skipped"):
                self._problems.append(time.monotonic())

    def record_processed(self, stages_s: dict[str, float]) -> None:
        """Count one processed image and remember how long its stages took [s]."""
        self.count("processed")
        with self._lock:
            self._finished.append(time.monotonic())
            self._stages.append(stages_s)

    @property
    def counts(self) -> Counts:
        """Return the counts so far."""
        with self._lock:
            return self._counts

    def recent_problems(self) -> int:
        """Return how many images could not be used in the last seconds, at most a hundred."""
        with self._lock:
            return sum(time.monotonic() - at < RECENT_S for at in self._problems)

    def has_stalled(self) -> bool:
        """Tell whether images were processed once, but none for a while."""
        with self._lock:
            finished = list(self._finished)
        if not finished:
            return False
        mean_interval = (finished[-1] - finished[0]) / max(1, len(finished) - 1)
        return time.monotonic() - finished[-1] > max(2.0, 10 * mean_interval)

    def rate_hz(self) -> float:
        """Return the recent rate of processed images; 0 before the second one or when they ceased."""
        with self._lock:
            finished = list(self._finished)
        if len(finished) < 2 or self.has_stalled():
            return 0.0
        return (len(finished) - 1) / max(finished[-1] - finished[0], 1e-9)

    def stage_means_ms(self) -> dict[str, float]:
        """Return the recent mean time of each stage [ms]."""
        with self._lock:
            stages = list(self._stages)
        names = dict.fromkeys(name for times in stages for name in times)
        return {
            name: 1e3 * sum(times.get(name, 0.0) for times in stages) / len(stages) for name in names
        }
