# SPDX-License-Identifier: Apache-2.0
"""Play frames over DDS to a mapping node and collect its results."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger

from ttt3r_ros.errors import SourceError
from ttt3r_ros.ros import image_messages, messages
from ttt3r_ros.ros.qos import STREAM

if TYPE_CHECKING:
    from collections.abc import Callable

    from ttt3r_ros.ros.harness.node_process import NodeProcess
    from ttt3r_ros.types import Float32Array, Frame

NODE = "mapping_node"
_START_TIMEOUT_S = 300.0  # loading a large checkpoint is slow
_LOST_AFTER_S = 5.0  # without a change of the counts; the images not received are lost


@dataclass(frozen=True)
class PlaybackStats:
    """Counts of images by outcome, from the node's diagnostics."""

    received: int = 0
    processed: int = 0
    dropped: int = 0
    skipped: int = 0
    refused: int = 0

    @property
    def finished(self) -> int:
        """Return the number of images with a final outcome."""
        return self.processed + self.dropped + self.skipped + self.refused


class Player:
    """Publishes images like a camera driver; owns a node and the thread that spins it."""

    def __init__(self, *, calibrated: bool) -> None:
        self._node = rclpy.create_node("sequence_player")
        # Before the images: a node that discovers those also has the CameraInfo publisher.
        self._infos = (
            self._node.create_publisher(CameraInfo, "camera_info", STREAM) if calibrated else None
        )
        self._images = self._node.create_publisher(Image, "image", STREAM)
        self._node.create_subscription(PoseStamped, f"{NODE}/pose", self._on_pose, STREAM)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._node.create_subscription(
            Image, f"{NODE}/depth/image", self._on_depth, qos_profile_sensor_data
        )
        self._requested_depths_ns: deque[int] = deque()
        self.depths: dict[int, Float32Array] = {}
        self.stats = PlaybackStats()
        self.facts: dict[str, str] = {}
        self.newest_pose_ns = -1
        # Called with the stamp of each pose, on the spinning thread.
        self.on_pose: Callable[[int], None] = lambda _: None
        self._newest_sent_ns = -2
        self._changed = threading.Condition()
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name="player", daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    def close(self) -> None:
        """Stop spinning and destroy the node."""
        self._executor.shutdown()
        self._thread.join(5.0)
        self._node.destroy_node()

    def is_connected(self) -> bool:
        """Return whether mapping node and player have discovered each other's topics."""
        return bool(
            self._images.get_subscription_count()
            and (self._infos is None or self._infos.get_subscription_count())
            and self._node.count_publishers(f"/{NODE}/pose")
            and self._node.count_publishers(f"/{NODE}/depth/image")
        )

    def publish(self, frame: Frame) -> None:
        """Publish one image and, for a calibrated camera, its CameraInfo."""
        header = messages.make_header(frame.stamp_ns, frame.camera_frame)
        if self._infos is not None and frame.intrinsics is not None:
            self._infos.publish(messages.camera_info(frame.intrinsics, header))
        self._newest_sent_ns = frame.stamp_ns
        self._images.publish(messages.image(frame.rgb, header))

    def request_depth(self, stamp_ns: int) -> None:
        """Store in `depths` the depth image with this stamp or, if that image is dropped, the next one."""
        with self._changed:
            self._requested_depths_ns.append(stamp_ns)

    def is_finished(self, sent: int) -> bool:
        """Return whether the node has finished the images sent: by the pose of the newest, or by the counts."""
        return self._newest_sent_ns == self.newest_pose_ns or self.stats.finished >= sent

    def wait_until_ready(self, node: NodeProcess) -> None:
        """Wait until the node has loaded its weights and subscribed.

        Raises:
            SourceError: it ended, or took too long.
        """
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._wait(self.is_connected, 0.1):
            node.require_alive()
            if time.monotonic() > deadline:
                msg = f"mapping_node was not ready within {_START_TIMEOUT_S:.0f} s (log: {node.log})"
                raise SourceError(msg)

    def wait_for(self, node: NodeProcess, condition: Callable[[], bool]) -> None:
        """Wait for a condition on the results, or until the counts have not changed for some seconds.

        Raises:
            SourceError: the node ended.
        """
        last, deadline = self.stats, time.monotonic() + _LOST_AFTER_S
        while not self._wait(condition, 1.0):
            node.require_alive()
            if self.stats != last or self.stats.finished < self.stats.received:
                last, deadline = self.stats, time.monotonic() + _LOST_AFTER_S
            if time.monotonic() > deadline:
                return  # lost in transit; the counts show it

    def _wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until a message from the node makes a condition true; return whether one did."""
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)

    def call(self, service: str, timeout_s: float = 60.0) -> str:
        """Call a Trigger service of the node; return its message.

        Raises:
            SourceError: the service is absent, does not respond or reports a failure.
        """
        client = self._node.create_client(Trigger, f"{NODE}/{service}")
        if not client.wait_for_service(timeout_s):
            msg = f"service {NODE}/{service} did not appear within {timeout_s:.0f} s"
            raise SourceError(msg)
        responded = threading.Event()
        future = client.call_async(Trigger.Request())
        future.add_done_callback(lambda _: responded.set())
        if not responded.wait(timeout_s):
            msg = f"service {NODE}/{service} did not respond within {timeout_s:.0f} s"
            raise SourceError(msg)
        response = future.result()
        if not response.success:
            msg = f"{NODE}/{service}: {response.message}"
            raise SourceError(msg)
        return str(response.message)

    def _on_pose(self, msg: PoseStamped) -> None:
        with self._changed:
            self.newest_pose_ns = messages.stamp_to_ns(msg.header.stamp)
            self._changed.notify_all()
        self.on_pose(self.newest_pose_ns)

    def _on_depth(self, msg: Image) -> None:
        stamp_ns = messages.stamp_to_ns(msg.header.stamp)
        with self._changed:
            if not self._requested_depths_ns or stamp_ns < self._requested_depths_ns[0]:
                return
            while self._requested_depths_ns and stamp_ns >= self._requested_depths_ns[0]:
                self._requested_depths_ns.popleft()
            self.depths[stamp_ns] = image_messages.depth_from_image(msg)
            self._changed.notify_all()

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            if not status.name.startswith(NODE):
                continue
            self.facts = {item.key: item.value for item in status.values}
            counts = {name: int(self.facts[name]) for name in vars(PlaybackStats())}
            with self._changed:
                self.stats = PlaybackStats(**counts)
                self._changed.notify_all()
