# SPDX-License-Identifier: Apache-2.0
"""Wait, without blocking the executor, until every received image is mapped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.task import Future

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node

_UNKNOWN = -1


class QueueDrain:
    """Detects that the worker's queue and the middleware's queue are empty.

    The middleware does not report the length of its queue. But in each iteration the executor takes a queued image
    before it runs guard conditions. Two iterations with an idle worker and no image between them mean an empty queue.
    """

    def __init__(self, node: Node, received: Callable[[], int], is_idle: Callable[[], bool]) -> None:
        self._received = received
        self._is_idle = is_idle
        self._received_before = _UNKNOWN
        self._waiting: list[Future] = []
        self._guard = node.create_guard_condition(
            self._on_guard, callback_group=ReentrantCallbackGroup()
        )

    async def wait_until_drained(self) -> None:
        """Return when every received image has been mapped, skipped or dropped."""
        done = Future()
        self._waiting.append(done)
        self.check()
        await done

    def check(self) -> None:
        """Check again, after the worker has finished a frame; may be called on any thread."""
        if self._waiting:
            self._guard.trigger()

    def _on_guard(self) -> None:
        received, before = self._received(), self._received_before
        self._received_before = received if self._is_idle() else _UNKNOWN
        if self._received_before == _UNKNOWN:
            return  # the worker calls `check` when it is idle
        if received != before:
            self._guard.trigger()
            return
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done.set_result(None)
