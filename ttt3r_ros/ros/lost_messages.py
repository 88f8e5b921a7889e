# SPDX-License-Identifier: Apache-2.0
"""Count the messages of a topic that were published but never received.

The middleware reports those that it lost on the way, but not those that newer ones overwrote in the reader's queue
(keep_last). Gaps in the numbers of one publisher contain both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MAX_GAP = 1_000_000  # a larger step is not a gap: another publisher


class LostMessages:
    """Counts gaps where the middleware numbers messages, and its own reports otherwise."""

    def __init__(self, count_publishers: Callable[[], int], on_lost: Callable[[int], None]) -> None:
        self._count_publishers = count_publishers
        self._on_lost = on_lost
        self._previous: int | None = None  # number of the newest message
        self._reported = 0  # by the middleware, and not yet found as a gap

    def report(self, lost: int) -> None:
        """Count messages that the middleware reports as lost."""
        self._reported += lost
        self._on_lost(lost)

    def receive(self, info: Mapping[str, Any]) -> None:
        """Count the messages between this one and the one before; ``info`` is rclpy's message info."""
        number, previous = info.get("publication_sequence_number"), self._previous
        self._previous = number
        if number is None or previous is None or number == previous + 1:
            return
        # The numbers of several publishers are independent, and rclpy does not report whose message this is.
        if not previous < number < previous + _MAX_GAP or self._count_publishers() != 1:
            self._reported = 0
            return
        missing = number - previous - 1
        known = min(self._reported, missing)
        self._reported -= known
        if missing > known:
            self._on_lost(missing - known)
