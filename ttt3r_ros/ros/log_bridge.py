# SPDX-License-Identifier: Apache-2.0
"""Forward the log records of the Python package to the node's logger, hence to rosout."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rclpy.impl.rcutils_logger import RcutilsLogger


class RosLogHandler(logging.Handler):
    """Forwards log records to a node's logger."""

    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Forward one record."""
        # rclpy allows one severity for each calling line.
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
    """Forward the records of this package from INFO up; return the handler for `detach`."""
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
