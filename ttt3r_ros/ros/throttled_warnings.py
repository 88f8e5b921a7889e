# SPDX-License-Identifier: Apache-2.0
"""Log repeated warnings once per second and kind, or once."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from ttt3r_ros.repeated_warnings import kind_of

if TYPE_CHECKING:
    from rclpy.impl.rcutils_logger import RcutilsLogger

_PERIOD_S = 1.0
_MAX_KINDS = 200


class ThrottledWarnings:
    """Logs a warning unless one of the same kind was logged within the last second.

    rclpy throttles by calling line, so one frequent cause would suppress all others.
    """

    def __init__(self, logger: RcutilsLogger) -> None:
        self._logger = logger
        self._lock = threading.Lock()
        self._logged_s: dict[str, float] = {}
        self._once: set[str] = set()

    def warn(self, text: str, kind: str = "") -> None:
        """Log a warning, or suppress it; without ``kind`` texts that differ only in their numbers are of one kind."""
        kind, now = kind or kind_of(text), time.monotonic()
        with self._lock:
            if now - self._logged_s.get(kind, -_PERIOD_S) < _PERIOD_S:
                return
            if len(self._logged_s) >= _MAX_KINDS:
                self._logged_s.clear()
            self._logged_s[kind] = now
        self._logger.warning(text)

    def warn_once(self, kind: str, text: str) -> None:
        """Log the first warning of a kind, and no other one of it."""
        with self._lock:
            if kind in self._once or len(self._once) >= _MAX_KINDS:
                return
            self._once.add(kind)
        self._logger.warning(text)
