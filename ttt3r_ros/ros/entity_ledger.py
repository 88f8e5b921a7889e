# SPDX-License-Identifier: Apache-2.0
"""What a node created after a moment, so that a lifecycle node can be cleaned up and configured again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rclpy.node import Node


class EntityLedger:
    """Remembers a node's publishers, subscriptions, services, timers and guards; destroys those that came later."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._known = {id(entity) for _, entity in self._entities()}

    def destroy_new(self) -> None:
        """Destroy what was created since."""
        for destroy, entity in self._entities():
            if id(entity) not in self._known:
                destroy(entity)

    def _entities(self) -> list[tuple]:  # type: ignore[type-arg]
        node = self._node
        return [
            *((node.destroy_publisher, entity) for entity in node.publishers),
            *((node.destroy_subscription, entity) for entity in node.subscriptions),
            *((node.destroy_service, entity) for entity in node.services),
            *((node.destroy_timer, entity) for entity in node.timers),
            *((node.destroy_guard_condition, entity) for entity in node.guards),
        ]
