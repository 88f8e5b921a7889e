# SPDX-License-Identifier: Apache-2.0
"""The first image of a camera waits for the calibration that is on its way beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined] # clock_type is newer than Humble

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node
    from rclpy.timer import Timer

PATIENCE_S = 1.0


class FirstCalibration:
    """Holds one image back until its camera's calibration has come: two topics have no order between them.

    A map that begins with an estimated focal length stays another map. Where nobody publishes a calibration nothing is
    held, and nothing for longer than ``PATIENCE_S`` of real time.
    """

    def __init__(self, node: Node, topic: str, on_release: Callable[[], None]) -> None:
        self._node = node
        self._topic = topic  # resolved
        self._on_release = on_release
        self._settled = False
        self._held: Callable[[], None] | None = None
        self._timer: Timer | None = None

    @property
    def holds(self) -> bool:
        """Tell whether an image waits; the ones after it must not overtake it."""
        return self._held is not None

    def pass_on(self, image: Callable[[], None]) -> None:
        """Take up an image, now or when the calibration has come."""
        if self._settled or not self._node.count_publishers(self._topic):
            self._settled = True
            image()
            return
        self._held = image
        self._timer = self._node.create_timer(
            PATIENCE_S, self._give_up, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def has_come(self) -> None:
        """Say that there is a calibration, or the word that there is none."""
        self._settled = True
        if self._held is not None:
            self._held()
            self.drop()
            self._on_release()

    def drop(self) -> bool:
        """Hold nothing any longer; return whether an image is lost by that."""
        held, self._held = self._held is not None, None
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None
        return held

    def _give_up(self) -> None:
        self._node.get_logger().info(
            f"{self._topic} is published, but brought nothing for {PATIENCE_S:g} s:"
            " the focal length is estimated until it does"
        )
        self.has_come()
