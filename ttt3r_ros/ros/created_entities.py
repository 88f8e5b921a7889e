# SPDX-License-Identifier: Apache-2.0
"""Destroy the publishers, subscriptions, services, timers and guards of a configured lifecycle node."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rclpy.node import Node


class CreatedEntities:
    """Destroys the entities that a node creates after this object."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._existing = {id(entity) for _, entity in self._entities()}

    def destroy(self) -> None:
        """Destroy all entities that the node has created since this object was created."""
        for destroy, entity in self._entities():
            if id(entity) not in self._existing:
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
