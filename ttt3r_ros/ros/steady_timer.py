# SPDX-License-Identifier: Apache-2.0
"""Timers that also run while the node's clock stands still: `use_sim_time` without /clock, or a paused recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined] # clock_type is newer than Humble

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node
    from rclpy.timer import Timer


def create_steady_timer(node: Node, period_s: float, callback: Callable[[], None]) -> Timer:
    """Create a timer on the steady clock."""
    return node.create_timer(period_s, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))
