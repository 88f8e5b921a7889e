# SPDX-License-Identifier: Apache-2.0
"""Image subscriptions of one camera: from messages to frames in the right order."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ttt3r_ros.errors import ImageError
from ttt3r_ros.images.preprocessor import CameraIntake
from ttt3r_ros.ros import compat, messages
from ttt3r_ros.ros.calibration_gate import FirstCalibration
from ttt3r_ros.ros.publishers import prefixed
from ttt3r_ros.ros.qos import image_events, image_profile, overridable

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node

    from ttt3r_ros.config import Config
    from ttt3r_ros.ros.statistics import Statistics
    from ttt3r_ros.ros.throttled_warnings import ThrottledWarnings
    from ttt3r_ros.types import Frame, UInt8Array


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
        on_release: Callable[[], None],
    ) -> None:
        self._node = node
        self._log = node.get_logger()
        self._statistics = statistics
        self._warnings = warnings
        self._on_frame = on_frame
        self._on_time_jump = on_time_jump
        self._camera = CameraIntake(rectify=config.rectify, complain=self._log.warning)
        self.received = 0
        self.camera_frame = ""  # header.frame_id of the newest image
        info_topic = prefixed("camera_info", camera)
        self._calibration = FirstCalibration(node, node.resolve_topic_name(info_topic), on_release)
        qos = image_profile(config.image_qos, config.queue_policy)
        compressed = config.image_transport == "compressed"
        self.subscription = node.create_subscription(
            CompressedImage if compressed else Image,
            prefixed("image/compressed" if compressed else "image", camera),
            self._take_compressed if compressed else self._take_image,
            qos,
            callback_group=RoomGroup(lambda: has_room() and not self.holds),
            event_callbacks=image_events(warnings, statistics),
            qos_overriding_options=overridable(),
        )
        # Not the profile of the images: a calibration that is sent once must not be lost behind them.
        self._info_subscription = node.create_subscription(
            CameraInfo,
            info_topic,
            self._take_info,
            image_profile(config.image_qos, "newest"),
            qos_overriding_options=overridable(),
        )

    @property
    def holds(self) -> bool:
        """Tell whether the first image still waits for its calibration."""
        return self._calibration.holds

    def drop_held(self) -> None:
        """Give up the image that waits, if any."""
        if self._calibration.drop():
            self._statistics.count("dropped")

    def close(self) -> None:
        """Take no more images."""
        self.drop_held()
        self._node.destroy_subscription(self.subscription)
        self._node.destroy_subscription(self._info_subscription)

    def _take_image(self, msg: Image) -> None:
        self._take(msg, compat.image_to_rgb)

    def _take_compressed(self, msg: CompressedImage) -> None:
        self._take(msg, compat.compressed_to_rgb)

    def _take(self, msg: Image | CompressedImage, decode: Callable[..., UInt8Array]) -> None:
        self.received += 1
        self._statistics.count("received")
        self._calibration.pass_on(partial(self._take_up, msg, decode))

    def _take_up(self, msg: Image | CompressedImage, decode: Callable[..., UInt8Array]) -> None:
        received_s = time.perf_counter()
        stamp_ns = compat.stamp_to_ns(msg.header.stamp)
        try:
            rgb = decode(msg)
            begins_anew = self._camera.accept(stamp_ns)
        except ImageError as error:
            self._statistics.count("refused")
            self._warnings.warn(f"image {stamp_ns} refused: {error}")
            return
        if begins_anew:
            self._log.warning(f"time went back to {stamp_ns}")
            self._on_time_jump()
        self.camera_frame = msg.header.frame_id
        self._on_frame(self._camera.frame(stamp_ns, msg.header.frame_id, rgb), received_s)

    def _take_info(self, msg: CameraInfo) -> None:
        intrinsics = messages.intrinsics_of(msg)
        if intrinsics is None:
            self._camera.complain_once(
                f"camera_info is no calibration (K is {[float(k) for k in msg.k]}): the focal length is estimated"
            )
        self._camera.calibrate(intrinsics)
        self._calibration.has_come()
