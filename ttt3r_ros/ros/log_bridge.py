# SPDX-License-Identifier: Apache-2.0
"""The library logs with `logging`; a node's users read rosout."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rclpy.impl.rcutils_logger import RcutilsLogger


class RosLogHandler(logging.Handler):
    """Forwards records of the library to a node's logger."""

    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Forward one record."""
        # rclpy fixes the severity per calling line, hence one line each.
        text = record.getMessage()
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)


def attach(logger: RcutilsLogger) -> RosLogHandler:
    """Forward everything this package logs from INFO up; return the handler so that it can be removed."""
    handler = RosLogHandler(logger)
    package = logging.getLogger("ttt3r_ros")
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    package.propagate = False
    return handler


def detach(handler: RosLogHandler) -> None:
    """Stop forwarding."""
    package = logging.getLogger("ttt3r_ros")
    package.removeHandler(handler)
    package.propagate = True
