# SPDX-License-Identifier: Apache-2.0
"""Respond with `success: false` to a lifecycle transition that is impossible in the current state.

In rclpy the error propagates from the service callback through `spin` and ends the process (Humble to Kilted).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode


def guard_transitions(node: LifecycleNode) -> None:
    """Wrap the callback of the node's change_state service."""
    for service in node.services:
        if service.srv_name.endswith("/change_state"):
            service.callback = _guard(node, service.callback)


def _guard(node: LifecycleNode, change_state: Any) -> Any:
    def callback(request: Any, response: Any) -> Any:
        try:
            return change_state(request, response)
        except Exception as error:  # RCLError is in another module in each distribution
            transition = request.transition.label or request.transition.id
            node.get_logger().error(f"transition {transition} is not possible in this state: {error}")
            response.success = False
            return response

    return callback
