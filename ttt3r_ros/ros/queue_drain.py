# SPDX-License-Identifier: Apache-2.0
"""Waiting, without blocking, until every image that has arrived is mapped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.task import Future

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node

_UNKNOWN = -1


class QueueDrain:
    """Knows when nothing is left to do, neither in the worker's inbox nor in the middleware's queue.

    The queue cannot be asked for its length. But in each of its turns the executor takes a waiting image before it
    runs guard conditions: two turns in a row at rest, and no image between them, mean that none waits.
    """

    def __init__(self, node: Node, received: Callable[[], int], is_idle: Callable[[], bool]) -> None:
        self._received = received
        self._is_idle = is_idle
        self._received_last_turn = _UNKNOWN
        self._waiting: list[Future] = []
        self._turn = node.create_guard_condition(self._on_turn, callback_group=ReentrantCallbackGroup())

    async def wait_until_drained(self) -> None:
        """Return when every image that has arrived is done with."""
        done = Future()
        self._waiting.append(done)
        self.check()
        await done

    def check(self) -> None:
        """Look again, as when the worker has finished something; may be called on any thread."""
        if self._waiting:
            self._turn.trigger()

    def _on_turn(self) -> None:
        received, before = self._received(), self._received_last_turn
        self._received_last_turn = received if self._is_idle() else _UNKNOWN
        if self._received_last_turn == _UNKNOWN:
            return  # the worker will ask us to look again
        if received != before:
            self._turn.trigger()
            return
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done.set_result(None)
