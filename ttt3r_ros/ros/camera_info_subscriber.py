# SPDX-License-Identifier: Apache-2.0
"""CameraInfo subscription of one camera; receives a calibration that was latched before the node started, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined] # clock_type is newer than Humble
from rclpy.qos import QoSDurabilityPolicy
from sensor_msgs.msg import CameraInfo

from ttt3r_ros.ros.qos import LATCHED, image_profile, overridable

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node
    from rclpy.subscription import Subscription
    from rclpy.timer import Timer

_CHECK_PERIOD_S = 0.5


class CameraInfoSubscriber:
    """Receives CameraInfo of volatile and of transient-local publishers.

    A volatile subscription receives no message from before its discovery. A transient-local one matches no volatile
    publisher, and the camera driver would warn of it. It is therefore created only if the graph has a publisher that
    offers it.
    """

    def __init__(
        self, node: Node, topic: str, image_qos: str, on_camera_info: Callable[[CameraInfo], None]
    ) -> None:
        """Subscribe to a topic; ``on_camera_info`` receives each message."""
        self._node = node
        self._on_camera_info = on_camera_info
        # Always keep_last: with keep_all a CameraInfo that is sent only once waits behind the images.
        volatile = node.create_subscription(
            CameraInfo,
            topic,
            self._receive,
            image_profile(image_qos, "keep_last"),
            qos_overriding_options=overridable(),
        )
        self.topic = volatile.topic_name  # resolved
        self._subscriptions: list[Subscription] = [volatile]
        self._timer: Timer | None = node.create_timer(
            _CHECK_PERIOD_S, self.check_graph, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def check_graph(self) -> None:
        """Subscribe to a transient-local publisher, unless a calibration was received already."""
        if self._timer is None:
            return
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        if any(p.qos_profile.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL for p in publishers):
            self._stop_checking()
            latched = self._node.create_subscription(CameraInfo, self.topic, self._receive, LATCHED)
            self._subscriptions.append(latched)

    def close(self) -> None:
        """Unsubscribe."""
        self._stop_checking()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _receive(self, msg: CameraInfo) -> None:
        self._stop_checking()
        self._on_camera_info(msg)

    def _stop_checking(self) -> None:
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None
