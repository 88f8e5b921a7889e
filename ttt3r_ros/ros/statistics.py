# SPDX-License-Identifier: Apache-2.0
"""Counts of images by outcome, and durations of processing stages."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace

WINDOW = 100  # images over which durations are averaged
PROBLEM_WINDOW_S = 10.0
MIN_STALL_S = 2.0


@dataclass(frozen=True)
class Counts:
    """Images by outcome: received = refused + dropped + skipped + processed + at most two in progress."""

    received: int = 0
    refused: int = 0  # not convertible or out of order
    dropped: int = 0  # displaced by a newer one
    skipped: int = 0  # taken but not mapped: uniform color, network output not finite, transform missing
    processed: int = 0
    lost: int = 0  # published but never received


@dataclass
class Statistics:
    """Counts and recent durations; thread-safe."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _counts: Counts = field(default_factory=Counts)
    _problems: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _processed: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _stages: deque[dict[str, float]] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def count(self, outcome: str, images: int = 1) -> None:
        """Count one or more images under a field of `Counts`."""
        with self._lock:
            self._counts = replace(self._counts, **{outcome: getattr(self._counts, outcome) + images})
            if outcome in ("refused", "skipped"):
                self._problems.append(time.monotonic())

    def record_processed(self, stages_s: dict[str, float]) -> None:
        """Count one processed image and record the durations of its stages [s]."""
        self.count("processed")
        with self._lock:
            self._processed.append(time.monotonic())
            self._stages.append(stages_s)

    @property
    def counts(self) -> Counts:
        """Return the counts so far."""
        with self._lock:
            return self._counts

    def recent_problems(self) -> int:
        """Return how many images were refused or skipped in the last seconds, at most 100."""
        with self._lock:
            return sum(time.monotonic() - problem_s < PROBLEM_WINDOW_S for problem_s in self._problems)

    def stalled_s(self) -> float:
        """Return the time since the last processed image [s] if it is unusually long, else 0."""
        with self._lock:
            processed = list(self._processed)
        if not processed:
            return 0.0
        pause_s = time.monotonic() - processed[-1]
        mean_interval_s = (processed[-1] - processed[0]) / max(1, len(processed) - 1)
        return pause_s if pause_s > max(MIN_STALL_S, 10 * mean_interval_s) else 0.0

    def rate_hz(self) -> float:
        """Return the recent rate of processed images; 0 before the second one and after a stall."""
        with self._lock:
            processed = list(self._processed)
        if len(processed) < 2 or self.stalled_s():
            return 0.0
        return (len(processed) - 1) / max(processed[-1] - processed[0], 1e-9)

    def stage_means_ms(self) -> dict[str, float]:
        """Return the recent mean duration of each stage [ms]."""
        with self._lock:
            stages = list(self._stages)
        names = dict.fromkeys(name for times in stages for name in times)
        return {
            name: 1e3 * sum(times.get(name, 0.0) for times in stages) / len(stages) for name in names
        }
