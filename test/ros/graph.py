# SPDX-License-Identifier: Apache-2.0
"""A ROS graph for tests: a node that publishes images to a mapping node and records every output."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from fakes import image
from geometry_msgs.msg import PoseStamped, TransformStamped
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from ttt3r_ros.ros import messages
from ttt3r_ros.ros.harness.node_process import mapping_node
from ttt3r_ros.ros.qos import LATCHED, STREAM

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np

    from ttt3r_ros.types import UInt8Array

SECOND = 10**9
START_S = 90.0  # of a node in another process
LIMIT_S = 30.0  # ten times the duration on a slow machine
RETRY_S = 10.0
FRAME_ID = "camera_optical_frame"
LEVELS = {
    DiagnosticStatus.OK: "OK",
    DiagnosticStatus.WARN: "WARN",
    DiagnosticStatus.ERROR: "ERROR",
    DiagnosticStatus.STALE: "STALE",
}
OUTPUTS = {
    "pose": (PoseStamped, "/mapping_node/pose"),
    "odom": (Odometry, "/mapping_node/odom"),
    "path": (PathMessage, "/mapping_node/path"),
    "depth": (Image, "/mapping_node/depth/image"),
    "depth_info": (CameraInfo, "/mapping_node/depth/camera_info"),
    "confidence": (Image, "/mapping_node/confidence/image"),
    "points": (PointCloud2, "/mapping_node/points"),
}


class PeerNode:
    """Publishes images and records the mapping node's outputs; `spin_until` spins itself and the given nodes."""

    def __init__(self, context: rclpy.context.Context, *others: rclpy.node.Node) -> None:
        self.nodes = others
        self.node = rclpy.create_node("peer", context=context)
        self.executor = SingleThreadedExecutor(context=context)
        for node in (self.node, *others):
            self.executor.add_node(node)
        self.images = self.node.create_publisher(Image, "image", STREAM)
        self.compressed = self.node.create_publisher(CompressedImage, "image/compressed", STREAM)
        self.tf = self.node.create_publisher(TFMessage, "/tf", 100)
        self.static_tf = self.node.create_publisher(TFMessage, "/tf_static", LATCHED)
        self.clients: dict[str, Any] = {}
        self.received: dict[str, list[Any]] = defaultdict(list)

    # --- publishers -------------------------------------------------------------------------------------

    @cached_property
    def camera_infos(self) -> Any:
        """Create the CameraInfo publisher at the first use; from then on a node holds its first image."""
        return self.node.create_publisher(CameraInfo, "camera_info", STREAM)

    def publish(self, rgb: UInt8Array, stamp_ns: int, frame_id: str = FRAME_ID) -> None:
        self.images.publish(messages.image(rgb, messages.make_header(stamp_ns, frame_id)))

    def send_transform(self, parent: str, child: str, T: np.ndarray, stamp_ns: int) -> None:
        """Publish a transform on /tf as another node does."""
        stamped = messages.transform_stamped(T, messages.make_header(stamp_ns, parent), child)
        self.tf.publish(TFMessage(transforms=[stamped]))

    def send_static(self, *edges: tuple[str, str, np.ndarray]) -> None:
        """Publish edges (parent, child, T) on /tf_static; a late subscriber receives only the last message."""
        transforms = [
            messages.transform_stamped(T, messages.make_header(0, parent), child)
            for parent, child, T in edges
        ]
        self.static_tf.publish(TFMessage(transforms=transforms))

    # --- subscriptions ----------------------------------------------------------------------------------

    def subscribe_to(self, name: str, kind: type[Any], topic: str, qos: Any = 50) -> None:
        """Append the messages of a topic to ``received[name]``."""
        self.node.create_subscription(kind, topic, self.received[name].append, qos)

    def subscribe(self, *names: str) -> None:
        for name in names:
            self.subscribe_to(name, *OUTPUTS[name])

    def subscribe_to_all(self) -> None:
        self.subscribe(*OUTPUTS)
        self.subscribe_to("tf", TFMessage, "/tf")
        self.subscribe_to_diagnostics()
        self.subscribe_to_map()

    def subscribe_to_map(self) -> None:
        self.subscribe_to("map", PointCloud2, "/mapping_node/map_cloud", LATCHED)

    def subscribe_to_diagnostics(self) -> None:
        self.subscribe_to("diagnostics", DiagnosticArray, "/diagnostics", 10)

    def diagnostics(self) -> dict[str, str]:
        """Return the values of the newest diagnostics of the mapping node, with ``message`` and ``level``."""
        for array in reversed(self.received["diagnostics"]):
            for status in array.status:
                if status.name.startswith("mapping_node"):
                    values = {item.key: item.value for item in status.values}
                    return values | {"message": status.message, "level": LEVELS[status.level]}
        return {}

    def count(self, name: str) -> int:
        """Return a count in the newest diagnostics."""
        return int(self.diagnostics().get(name, 0))

    def transforms(self) -> list[TransformStamped]:
        """Return every transform received on /tf, in order."""
        return [stamped for message in self.received["tf"] for stamped in message.transforms]

    # --- conditions -------------------------------------------------------------------------------------

    def spin_until(
        self, condition: Callable[[], object], what: str | Callable[[], str], limit_s: float = LIMIT_S
    ) -> None:
        """Spin every node until a condition holds; ``what`` describes it, or returns its description at the end."""
        deadline = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < deadline, (
                f"not within {limit_s:.0f} s: {what if isinstance(what, str) else what()};"
                f" received {self.summary()}"
            )
            self.executor.spin_once(timeout_sec=0.05)

    def wait_for_subscriber(self) -> None:
        self.spin_until(self.images.get_subscription_count, "a subscriber of the images")

    def wait_for_outputs(self, *names: str) -> None:
        topics = [OUTPUTS[name][1] for name in names or OUTPUTS]
        self.spin_until(
            lambda: all(self.node.count_publishers(topic) for topic in topics), f"publishers of {topics}"
        )

    def wait_until_matched(self, name: str) -> None:
        """Wait until the publisher in a node of this process has matched the subscription to an output."""
        _, topic = OUTPUTS[name]
        self.spin_until(
            lambda: any(
                publisher.topic_name == topic and publisher.get_subscription_count()
                for node in self.nodes
                for publisher in node.publishers
            ),
            f"a match of {topic}",
        )

    # --- services ---------------------------------------------------------------------------------------

    def call(self, service: str) -> Trigger.Response:
        """Call a Trigger service of the mapping node; return the response."""
        return self.call_service(Trigger, service, Trigger.Request())

    def call_service(self, kind: type[Any], service: str, request: Any) -> Any:
        """Call a service of the mapping node; return the response."""
        # One client for each service: the response to a client that the server has not discovered yet is lost.
        client = self.clients.get(service)
        if client is None:
            client = self.clients[service] = self.node.create_client(kind, f"/mapping_node/{service}")
        self.spin_until(client.service_is_ready, f"service {service}")
        calls: list[Any] = []
        deadlines: list[float] = []

        def is_done() -> bool:
            # Called again, because the first response to a new client can be lost in discovery.
            if not calls or (time.monotonic() > deadlines[-1] and len(calls) < 4):
                calls.append(client.call_async(request))
                deadlines.append(time.monotonic() + RETRY_S)
            return any(future.done() for future in calls)

        self.spin_until(is_done, f"response of {service}", START_S)
        return next(future for future in calls if future.done()).result()

    def summary(self) -> dict[str, Any]:
        counts = {name: len(messages) for name, messages in self.received.items()}
        return counts | {"diagnostics": self.diagnostics()}

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()


def map_images(peer: PeerNode, count: int, first_stamp_ns: int = SECOND) -> None:
    """Publish images 0.1 s apart, each after the pose of the image before."""
    for index in range(count):
        stamp_ns = first_stamp_ns + index * SECOND // 10
        peer.publish(image(index), stamp_ns)
        peer.spin_until(lambda: peer.received["pose"], "a pose")
        peer.spin_until(
            lambda stamp_ns=stamp_ns: (
                messages.stamp_to_ns(peer.received["pose"][-1].header.stamp) == stamp_ns
            ),
            f"the pose of image {stamp_ns}",
        )


def jump_back(peer: PeerNode) -> None:
    """Publish three images with earlier stamps: the third one confirms the jump and is mapped."""
    for index in range(2):
        peer.publish(image(index), SECOND + index * SECOND // 10)
        peer.spin_until(lambda index=index: peer.count("refused") == index + 1, "the count of refused")
    map_images(peer, 1, 2 * SECOND)


def wait_for_connection(peer: PeerNode) -> None:
    """Wait until a mapping node has subscribed to the images and its publishers are discovered."""
    peer.wait_for_subscriber()
    peer.wait_for_outputs()


@contextmanager
def node_process(domain_id: int, log: Path, **parameters: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run mapping_node in the domain of this test process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_DOMAIN_ID", str(domain_id))
        with mapping_node(parameters, log) as node:
            yield node.process
