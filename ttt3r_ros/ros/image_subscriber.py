# SPDX-License-Identifier: Apache-2.0
"""Image and CameraInfo subscriptions of one camera: convert messages to frames, in order of their stamps."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup

from ttt3r_ros.errors import ImageError
from ttt3r_ros.images.camera_info import calibration_from_camera_info, shows_rectified_images
from ttt3r_ros.images.preprocessor import ImagePreprocessor
from ttt3r_ros.ros import image_messages, messages
from ttt3r_ros.ros.camera_info_subscriber import CameraInfoSubscriber
from ttt3r_ros.ros.first_image_buffer import FirstImageBuffer
from ttt3r_ros.ros.image_topics import image_topic, image_type
from ttt3r_ros.ros.lost_messages import LostMessages
from ttt3r_ros.ros.publishers import camera_topic
from ttt3r_ros.ros.qos import image_events, image_profile, overridable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rclpy.node import Node
    from sensor_msgs.msg import CameraInfo, CompressedImage, Image

    from ttt3r_ros.config import Config
    from ttt3r_ros.ros.statistics import Statistics
    from ttt3r_ros.ros.throttled_warnings import ThrottledWarnings
    from ttt3r_ros.types import Frame


@dataclass(frozen=True)
class ImageCallbacks:
    """Callbacks of an `ImageSubscriber`, all on the executor's thread."""

    # a frame, and `perf_counter` at the reception of its message
    on_frame: Callable[[Frame, float], None]
    on_time_jump: Callable[[], None]  # stamps jumped back
    on_release: Callable[[], None]  # a held image was processed
    has_room: Callable[[], bool]  # whether the next message may be taken


class BackpressureCallbackGroup(MutuallyExclusiveCallbackGroup):  # type: ignore[misc]
    """Lets the executor take a message only while there is room; other messages stay in the middleware's queue."""

    def __init__(self, has_room: Callable[[], bool]) -> None:
        super().__init__()
        self._has_room = has_room

    def can_execute(self, entity: Any) -> bool:
        """Return whether the executor may take the next message."""
        return self._has_room() and super().can_execute(entity)


class ImageSubscriber:
    """Converts the images of one camera to frames; refuses and reports unusable ones."""

    def __init__(
        self,
        node: Node,
        config: Config,
        camera: str,
        callbacks: ImageCallbacks,
        statistics: Statistics,
        warnings: ThrottledWarnings,
    ) -> None:
        """Subscribe to the topics of a camera; an empty name stands for the only camera."""
        self._node = node
        self._log = node.get_logger()
        self._statistics = statistics
        self._warnings = warnings
        self._callbacks = callbacks
        self.received = 0
        self.camera_frame = ""  # header.frame_id of the newest image
        info_topic = camera_topic("camera_info", camera)
        self._first_image = FirstImageBuffer(node, node.resolve_topic_name(info_topic), self._release)
        self.transport = config.image_transport
        self.name = camera
        compressed = self.transport == "compressed"
        self._decode: Any = (
            image_messages.compressed_to_rgb if compressed else image_messages.image_to_rgb
        )
        topic = image_topic(node, self.transport, camera)
        self._lost = LostMessages(
            lambda: node.count_publishers(node.resolve_topic_name(topic)),
            lambda images: statistics.count("lost", images),
        )
        self.subscription = node.create_subscription(
            image_type(self.transport),
            topic,
            self._on_image,  # type: ignore[arg-type] # with message info
            image_profile(config.image_qos, config.queue_policy),
            callback_group=BackpressureCallbackGroup(
                lambda: callbacks.has_room() and not self.is_holding
            ),
            event_callbacks=image_events(warnings, self._lost.report),
            qos_overriding_options=overridable(),
        )
        self._camera = ImagePreprocessor(
            rectify=config.rectify,
            warn=self._log.warning,
            is_rectified=shows_rectified_images(config.images_rectified, self.subscription.topic_name),
        )
        self._calibration = CameraInfoSubscriber(
            node, info_topic, config.image_qos, self._on_camera_info
        )

    @property
    def is_holding(self) -> bool:
        """Return whether the first image is held until its CameraInfo arrives."""
        return self._first_image.is_holding

    @property
    def is_calibrated(self) -> bool:
        """Return whether a CameraInfo was received, valid or not."""
        return self._camera.has_calibration

    def drop_held(self) -> None:
        """Drop the held image, if any."""
        if self._first_image.drop():
            self._statistics.count("dropped")

    def close(self) -> None:
        """Drop the held image and unsubscribe."""
        self.drop_held()
        self._node.destroy_subscription(self.subscription)
        self._calibration.close()

    def _on_image(self, msg: Image | CompressedImage, info: Mapping[str, Any]) -> None:
        self._lost.receive(info)
        self._check_frame(msg.header.frame_id)
        self.received += 1
        self._statistics.count("received")
        if self.received == 1:
            self._calibration.check_graph()
        for image in self._first_image.offer(msg):
            self._process(image)

    def _check_frame(self, frame: str) -> None:
        """Warn once if images of one topic are of two cameras."""
        if self.received and frame != self.camera_frame:
            self._warnings.warn_once(
                f"frames of {self.subscription.topic_name}",
                f"images on {self.subscription.topic_name} have the frames '{self.camera_frame}' and '{frame}': two"
                " cameras on one topic are mapped as one; give each a topic of its own and name them in `cameras`",
            )
        self.camera_frame = frame

    def _on_camera_info(self, msg: CameraInfo) -> None:
        self._camera.calibrate(calibration_from_camera_info(msg))
        self._release()

    def _release(self) -> None:
        for image in self._first_image.on_camera_info():
            self._process(image)
            self._callbacks.on_release()

    def _process(self, msg: Image | CompressedImage) -> None:
        received_s = time.perf_counter()
        stamp_ns = messages.stamp_to_ns(msg.header.stamp)
        try:
            rgb = self._decode(msg)
            time_jumped = self._camera.accept(stamp_ns)
        except ImageError as error:
            self._statistics.count("refused")
            self._warnings.warn(f"image {stamp_ns} refused: {error}")
            return
        if time_jumped:
            self._log.warning(f"time went back to {stamp_ns}")
            self._callbacks.on_time_jump()
        self._callbacks.on_frame(self._camera.frame(stamp_ns, msg.header.frame_id, rgb), received_s)
