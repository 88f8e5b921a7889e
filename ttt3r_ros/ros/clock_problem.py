# SPDX-License-Identifier: Apache-2.0
"""Detect that the node waits for the time of a simulation or recording."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rclpy.node import Node


def find_clock_problem(node: Node) -> str:
    """Return why the node has no time; empty if it has."""
    clock: Any = node.get_clock()  # a ROSClock
    if not clock.ros_time_is_active or clock.now().nanoseconds:
        return ""
    publishers = node.count_publishers("/clock")
    state = "/clock has a publisher, but no message arrives" if publishers else "/clock has no publisher"
    return (
        f"use_sim_time is true and {state}: play the recording with --clock, start the simulation,"
        " or set use_sim_time:=false"
    )
