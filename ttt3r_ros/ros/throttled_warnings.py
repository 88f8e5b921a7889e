# SPDX-License-Identifier: Apache-2.0
"""Warnings that come with every image, once per kind and second."""

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
    """Logs a text unless one that differs in its numbers alone was logged a moment ago.

    rclpy throttles per calling line, and so lets the first of several causes hide the others.
    """

    def __init__(self, logger: RcutilsLogger) -> None:
        self._logger = logger
        self._lock = threading.Lock()
        self._logged_s: dict[str, float] = {}

    def warn(self, text: str) -> None:
        """Log a warning, or leave it out."""
        kind, now = re.sub(r"[\d.]+", "#", text), time.monotonic()
        with self._lock:
            if now - self._logged_s.get(kind, -_PERIOD_S) < _PERIOD_S:
                return
            if len(self._logged_s) >= _MAX_KINDS:
                self._logged_s.clear()
            self._logged_s[kind] = now
        self._logger.warning(text)
