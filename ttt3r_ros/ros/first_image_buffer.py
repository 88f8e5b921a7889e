# SPDX-License-Identifier: Apache-2.0
"""Hold the first image of a camera until its CameraInfo has arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ttt3r_ros.ros.steady_timer import create_steady_timer

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node
    from rclpy.timer import Timer
    from sensor_msgs.msg import CompressedImage, Image

CAMERA_INFO_TIMEOUT_S = 1.0


class FirstImageBuffer:
    """Holds one image until the first CameraInfo, because messages of two topics arrive in any order.

    A map that starts with an estimated focal length keeps its scale. Without a publisher of CameraInfo no image is
    held. The longest wait is ``CAMERA_INFO_TIMEOUT_S`` of steady time.
    """

    def __init__(self, node: Node, topic: str, on_timeout: Callable[[], None]) -> None:
        """Create a buffer for CameraInfo on a resolved topic; ``on_timeout`` is called if none arrives in time."""
        self._node = node
        self._topic = topic
        self._on_timeout = on_timeout
        self._is_released = False
        self._held: Image | CompressedImage | None = None
        self._timer: Timer | None = None

    @property
    def is_holding(self) -> bool:
        """Return whether an image is held; later ones must not overtake it."""
        return self._held is not None

    def offer(self, image: Image | CompressedImage) -> list[Image | CompressedImage]:
        """Return the images to process now: this one, or none while it is held."""
        if self._is_released or not self._node.count_publishers(self._topic):
            self._is_released = True
            return [image]
        self._held = image
        self._timer = create_steady_timer(self._node, CAMERA_INFO_TIMEOUT_S, self._expire)
        return []

    def on_camera_info(self) -> list[Image | CompressedImage]:
        """Hold no image from now on, even if the CameraInfo is uncalibrated; return the held image, if any."""
        self._is_released = True
        held = [] if self._held is None else [self._held]
        self.drop()
        return held

    def drop(self) -> bool:
        """Discard the held image; return whether there was one."""
        was_holding, self._held = self._held is not None, None
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None
        return was_holding

    def _expire(self) -> None:
        self._node.get_logger().info(
            f"no message on {self._topic} for {CAMERA_INFO_TIMEOUT_S:g} s, although it has a publisher;"
            " the focal length is estimated until one arrives"
        )
        self._on_timeout()
