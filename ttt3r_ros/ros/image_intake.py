# SPDX-License-Identifier: Apache-2.0
"""Image subscriptions of one camera: from messages to frames in the right order."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ttt3r_ros.errors import ConfigError, ImageError
from ttt3r_ros.io.rectification import Rectifier
from ttt3r_ros.pipeline.stamp_order import StampOrder
from ttt3r_ros.ros import compat, messages
from ttt3r_ros.ros.publishers import prefixed
from ttt3r_ros.ros.qos import image_events, image_profile, overridable
from ttt3r_ros.types import Frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node

    from ttt3r_ros.config import Config
    from ttt3r_ros.ros.statistics import Statistics
    from ttt3r_ros.ros.throttled_warnings import ThrottledWarnings
    from ttt3r_ros.types import Intrinsics, UInt8Array


class RoomGroup(MutuallyExclusiveCallbackGroup):  # type: ignore[misc]
    """Lets the executor take a message only while there is room for it; what waits, waits in the middleware."""

    def __init__(self, has_room: Callable[[], bool]) -> None:
        super().__init__()
        self._has_room = has_room

    def can_execute(self, entity: Any) -> bool:
        """Tell whether the executor may take the next message."""
        return self._has_room() and super().can_execute(entity)


class ImageIntake:
    """Converts images and hands them on; refuses what cannot be used, and says why."""

    def __init__(
        self,
        node: Node,
        config: Config,
        camera: str,
        statistics: Statistics,
        warnings: ThrottledWarnings,
        on_frame: Callable[[Frame, float], None],
        on_time_jump: Callable[[], None],
        has_room: Callable[[], bool],
    ) -> None:
        self._node = node
        self._log = node.get_logger()
        self._statistics = statistics
        self._warnings = warnings
        self._on_frame = on_frame
        self._on_time_jump = on_time_jump
        self._rectify = config.rectify
        self.received = 0
        self.camera_frame = ""  # header.frame_id of the newest image
        self._intrinsics: Intrinsics | None = None
        self._rectifier: Rectifier | None = None
        self._order = StampOrder()
        self._size: tuple[int, int] | None = None
        self._complaints: set[str] = set()
        qos = image_profile(config.image_qos, config.queue_policy)
        compressed = config.image_transport == "compressed"
        self.subscription = node.create_subscription(
            CompressedImage if compressed else Image,
            prefixed("image/compressed" if compressed else "image", camera),
            self._take_compressed if compressed else self._take_image,
            qos,
            callback_group=RoomGroup(has_room),
            event_callbacks=image_events(warnings, statistics),
            qos_overriding_options=overridable(),
        )
        # Not the profile of the images: a calibration that is sent once must not be lost behind them.
        self._info_subscription = node.create_subscription(
            CameraInfo,
            prefixed("camera_info", camera),
            self._take_info,
            image_profile(config.image_qos, "newest"),
            qos_overriding_options=overridable(),
        )

    def close(self) -> None:
        """Take no more images."""
        self._node.destroy_subscription(self.subscription)
        self._node.destroy_subscription(self._info_subscription)

    def _take_image(self, msg: Image) -> None:
        self._take(msg, compat.image_to_rgb)

    def _take_compressed(self, msg: CompressedImage) -> None:
        self._take(msg, compat.compressed_to_rgb)

    def _take(self, msg: Image | CompressedImage, decode: Callable[..., UInt8Array]) -> None:
        received_s = time.perf_counter()
        self.received += 1
        self._statistics.count("received")
        stamp_ns = compat.stamp_to_ns(msg.header.stamp)
        try:
            rgb = decode(msg)
            begins_anew = self._order.accept(stamp_ns)
        except ImageError as error:
            self._statistics.count("refused")
            self._warnings.warn(f"image {stamp_ns} refused: {error}")
            return
        if begins_anew:
            self._log.warning(f"time went back to {stamp_ns}")
            self._on_time_jump()
        self._note_size(rgb)
        self.camera_frame = msg.header.frame_id
        rgb, intrinsics = self._rectified(rgb, self._usable_intrinsics(rgb))
        self._on_frame(Frame(stamp_ns, msg.header.frame_id, rgb, intrinsics), received_s)

    def _note_size(self, rgb: UInt8Array) -> None:
        size = (rgb.shape[1], rgb.shape[0])
        if self._size is not None and size != self._size:
            self._log.warning(
                f"images changed from {self._size[0]}x{self._size[1]} to {size[0]}x{size[1]}; mapping goes on"
            )
        self._size = size

    def _take_info(self, msg: CameraInfo) -> None:
        intrinsics = messages.intrinsics_of(msg)
        if intrinsics is None:
            self._complain_once(
                f"camera_info is no calibration (K is {[float(k) for k in msg.k]}): the focal length is estimated"
            )
        if intrinsics == self._intrinsics:
            return
        self._intrinsics, self._rectifier = intrinsics, None
        if intrinsics is None or not self._rectify:
            return
        try:
            self._rectifier = Rectifier(intrinsics)
        except ConfigError as error:
            self._complain_once(f"images are used as they come: {error}")

    def _rectified(
        self, rgb: UInt8Array, intrinsics: Intrinsics | None
    ) -> tuple[UInt8Array, Intrinsics | None]:
        if intrinsics is None or self._rectifier is None:
            return rgb, intrinsics
        return self._rectifier.rectify(rgb)

    def _usable_intrinsics(self, rgb: UInt8Array) -> Intrinsics | None:
        intrinsics = self._intrinsics
        height, width = rgb.shape[:2]
        if intrinsics is None or intrinsics.width * height == intrinsics.height * width:
            return intrinsics
        self._complain_once(
            f"camera_info is for {intrinsics.width}x{intrinsics.height}, the image is {width}x{height}: "
            "another aspect ratio; the focal length is estimated"
        )
        return None

    def _complain_once(self, text: str) -> None:
        if text not in self._complaints:
            self._complaints.add(text)
            self._log.warning(text)
