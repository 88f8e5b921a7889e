# SPDX-License-Identifier: Apache-2.0
"""Image subscriptions: from messages to frames in the right order."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ttt3r_ros.errors import ImageError
from ttt3r_ros.pipeline.stamp_order import StampOrder
from ttt3r_ros.ros import compat, messages
from ttt3r_ros.ros.qos import IMAGE_PROFILES
from ttt3r_ros.types import Frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node

    from ttt3r_ros.config import Config
    from ttt3r_ros.ros.statistics import Statistics
    from ttt3r_ros.ros.throttled_warnings import ThrottledWarnings
    from ttt3r_ros.types import Intrinsics, UInt8Array


class ImageIntake:
    """Converts images and hands them on; refuses what cannot be used, and says why."""

    def __init__(
        self,
        node: Node,
        config: Config,
        statistics: Statistics,
        warnings: ThrottledWarnings,
        on_frame: Callable[[Frame, float], None],
        on_time_jump: Callable[[], None],
    ) -> None:
        self._log = node.get_logger()
        self._statistics = statistics
        self._warnings = warnings
        self._on_frame = on_frame
        self._on_time_jump = on_time_jump
        self.camera_frame = ""  # header.frame_id of the newest image
        self._intrinsics: Intrinsics | None = None
        self._order = StampOrder()
        self._size: tuple[int, int] | None = None
        self._complaints: set[str] = set()
        qos = IMAGE_PROFILES[config.image_qos]
        if config.image_transport == "compressed":
            self.subscription = node.create_subscription(
                CompressedImage, "image/compressed", self._take_compressed, qos
            )
        else:
            self.subscription = node.create_subscription(Image, "image", self._take_image, qos)
        self._info_subscription = node.create_subscription(
            CameraInfo, "camera_info", self._take_info, qos
        )

    def _take_image(self, msg: Image) -> None:
        self._take(msg, compat.image_to_rgb)

    def _take_compressed(self, msg: CompressedImage) -> None:
        self._take(msg, compat.compressed_to_rgb)

    def _take(self, msg: Image | CompressedImage, decode: Callable[..., UInt8Array]) -> None:
        received_s = time.perf_counter()
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
            self._log.warning(f"time went back to {stamp_ns}: state, trajectory and map begin anew")
            self._on_time_jump()
        self._note_size(rgb)
        self.camera_frame = msg.header.frame_id
        frame = Frame(stamp_ns, msg.header.frame_id, rgb, self._usable_intrinsics(rgb))
        self._on_frame(frame, received_s)

    def _note_size(self, rgb: UInt8Array) -> None:
        size = (rgb.shape[1], rgb.shape[0])
        if self._size is not None and size != self._size:
            self._log.warning(
                f"images changed from {self._size[0]}x{self._size[1]} to {size[0]}x{size[1]}; mapping goes on"
            )
        self._size = size

    def _take_info(self, msg: CameraInfo) -> None:
        self._intrinsics = messages.intrinsics_of(msg)
        if self._intrinsics is None:
            self._complain_once(
                f"camera_info is no calibration (K is {[float(k) for k in msg.k]}): the focal length is estimated"
            )

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
