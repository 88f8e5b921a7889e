# SPDX-License-Identifier: Apache-2.0
"""Keeps a lifecycle node alive when it is asked for a transition that its state does not allow.

rclpy lets the error of the state machine fly out of the service's callback and through `spin`, which ends the process
(Humble to Kilted). The caller is told `success: false` instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode


def guard_transitions(node: LifecycleNode) -> None:
    """Wrap the node's change_state service."""
    for service in node.services:
        if service.srv_name.endswith("/change_state"):
            service.callback = _guarded(node, service.callback)


def _guarded(node: LifecycleNode, change_state: Any) -> Any:
    def callback(request: Any, response: Any) -> Any:
        try:
            return change_state(request, response)
        except Exception as error:  # RCLError has moved between the distributions
            wanted = request.transition.label or request.transition.id
            node.get_logger().error(f"transition {wanted} is not possible now: {error}")
            response.success = False
            return response

    return callback
