# SPDX-License-Identifier: Apache-2.0
"""Log repeated warnings once per second and kind."""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rclpy.impl.rcutils_logger import RcutilsLogger

_PERIOD_S = 1.0
_MAX_KINDS = 200


class ThrottledWarnings:
    """Logs a warning unless one that differs only in its numbers was logged within the last second.

    rclpy throttles by calling line, so one frequent cause would suppress all others.
    """

    def __init__(self, logger: RcutilsLogger) -> None:
        self._logger = logger
        self._lock = threading.Lock()
        self._logged_s: dict[str, float] = {}

    def warn(self, text: str) -> None:
        """Log a warning, or suppress it."""
        kind, now = re.sub(r"[\d.]+", "#", text), time.monotonic()
        with self._lock:
            if now - self._logged_s.get(kind, -_PERIOD_S) < _PERIOD_S:
                return
            if len(self._logged_s) >= _MAX_KINDS:
                self._logged_s.clear()
            self._logged_s[kind] = now
        self._logger.warning(text)
