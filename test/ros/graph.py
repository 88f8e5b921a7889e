# SPDX-License-Identifier: Apache-2.0
"""A small graph around a mapping node: a camera, a listener for every output, and waiting on conditions."""

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
START_S = 90.0  # of a node in a process of its own
LIMIT_S = 30.0  # ten times what a slow machine needs
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


class Bench:
    """Publishes images and keeps what comes back; `spin_until` drives every node given."""

    def __init__(self, context: rclpy.context.Context, *others: rclpy.node.Node) -> None:
        self.nodes = others
        self.node = rclpy.create_node("bench", context=context)
        self.executor = SingleThreadedExecutor(context=context)
        for node in (self.node, *others):
            self.executor.add_node(node)
        self.images = self.node.create_publisher(Image, "image", STREAM)
        self.compressed = self.node.create_publisher(CompressedImage, "image/compressed", STREAM)
        self.tf = self.node.create_publisher(TFMessage, "/tf", 100)
        self.static_tf = self.node.create_publisher(TFMessage, "/tf_static", LATCHED)
        self.clients: dict[str, Any] = {}
        self.got: dict[str, list[Any]] = defaultdict(list)

    @cached_property
    def infos(self) -> Any:
        """Return the publisher of calibrations; the first image waits for one as soon as there is a publisher."""
        return self.node.create_publisher(CameraInfo, "camera_info", STREAM)

    def listen(self, *names: str) -> None:
        for name in names:
            kind, topic = OUTPUTS[name]
            self.node.create_subscription(kind, topic, self.got[name].append, 50)

    def listen_to_all(self) -> None:
        self.listen(*OUTPUTS)
        self.node.create_subscription(TFMessage, "/tf", self.got["tf"].append, 50)
        self.listen_to_diagnostics()
        self.listen_to_map()

    def listen_to_map(self) -> None:
        self.node.create_subscription(
            PointCloud2, "/mapping_node/map_cloud", self.got["map"].append, LATCHED
        )

    def listen_to_diagnostics(self) -> None:
        self.node.create_subscription(
            DiagnosticArray, "/diagnostics", self.got["diagnostics"].append, 10
        )

    def diagnostics(self) -> dict[str, str]:
        """Return the newest values the node reported."""
        for array in reversed(self.got["diagnostics"]):
            for status in array.status:
                if status.name.startswith("mapping_node"):
                    values = {item.key: item.value for item in status.values}
                    return values | {"message": status.message, "level": LEVELS[status.level]}
        return {}

    def count(self, name: str) -> int:
        return int(self.diagnostics().get(name, 0))

    def publish(self, rgb: UInt8Array, stamp_ns: int, frame_id: str = FRAME_ID) -> None:
        self.images.publish(messages.image(rgb, messages.make_header(stamp_ns, frame_id)))

    def spin_until(
        self, condition: Callable[[], object], what: str | Callable[[], str], limit_s: float = LIMIT_S
    ) -> None:
        """Drive every node until a condition holds; ``what`` it is, or a function that says at the end what lacks."""
        deadline = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < deadline, (
                f"not within {limit_s:.0f} s: {what if isinstance(what, str) else what()}; got {self.summary()}"
            )
            self.executor.spin_once(timeout_sec=0.05)

    def wait_for_subscriber(self) -> None:
        self.spin_until(self.images.get_subscription_count, "a subscriber to the images")

    def wait_for_outputs(self, *names: str) -> None:
        topics = [OUTPUTS[name][1] for name in names or OUTPUTS]
        self.spin_until(
            lambda: all(self.node.count_publishers(topic) for topic in topics), f"publishers of {topics}"
        )

    def wait_for_listener(self, name: str) -> None:
        """Wait until a node of this process sees our subscription, so that it makes what nobody else wants."""
        _, topic = OUTPUTS[name]
        self.spin_until(
            lambda: any(
                publisher.topic_name == topic and publisher.get_subscription_count()
                for node in self.nodes
                for publisher in node.publishers
            ),
            f"our subscription to {topic}",
        )

    def call(self, service: str) -> Trigger.Response:
        return self.ask(Trigger, service, Trigger.Request())

    def ask(self, kind: type[Any], service: str, request: Any) -> Any:
        # One client for each service: an answer can pass a client that the server has not discovered yet.
        client = self.clients.get(service)
        if client is None:
            client = self.clients[service] = self.node.create_client(kind, f"/mapping_node/{service}")
        self.spin_until(client.service_is_ready, f"service {service}")
        asked: list[Any] = []
        deadlines: list[float] = []

        def answered() -> bool:
            # Asked again where the first answer to a new client was lost in discovery.
            if not asked or (time.monotonic() > deadlines[-1] and len(asked) < 4):
                asked.append(client.call_async(request))
                deadlines.append(time.monotonic() + 10.0)
            return any(future.done() for future in asked)

        self.spin_until(answered, f"answer of {service}", START_S)
        return next(future for future in asked if future.done()).result()

    def listen_on(self, name: str, kind: type[Any], topic: str, qos: Any = 50) -> None:
        self.node.create_subscription(kind, topic, self.got[name].append, qos)

    def send_transform(self, parent: str, child: str, T: np.ndarray, stamp_ns: int) -> None:
        """Publish a transform on /tf as another node would."""
        stamped = messages.transform_stamped(T, messages.make_header(stamp_ns, parent), child)
        self.tf.publish(TFMessage(transforms=[stamped]))

    def send_static(self, *links: tuple[str, str, np.ndarray]) -> None:
        """Publish links (parent, child, T) on /tf_static; a late subscriber gets the last call's alone."""
        transforms = [
            messages.transform_stamped(T, messages.make_header(0, parent), child)
            for parent, child, T in links
        ]
        self.static_tf.publish(TFMessage(transforms=transforms))

    def transforms(self) -> list[TransformStamped]:
        """Return every transform heard on /tf, in order."""
        return [stamped for message in self.got["tf"] for stamped in message.transforms]

    def summary(self) -> dict[str, int]:
        return {name: len(messages) for name, messages in self.got.items()} | {
            "diagnostics": self.diagnostics()
        }  # type: ignore[dict-item]

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()


def walk(bench: Bench, count: int, first_stamp_ns: int = SECOND) -> None:
    """Show images one by one, each after the answer to the one before."""
    for index in range(count):
        stamp_ns = first_stamp_ns + index * SECOND // 10
        bench.publish(image(index), stamp_ns)
        bench.spin_until(lambda: bench.got["pose"], "a pose")
        bench.spin_until(
            lambda stamp_ns=stamp_ns: (
                messages.stamp_to_ns(bench.got["pose"][-1].header.stamp) == stamp_ns
            ),
            "its pose",
        )


def jump_back(bench: Bench) -> None:
    """Show images of an earlier time: two that are not believed yet, and one that is."""
    for index in range(2):
        bench.publish(image(index), SECOND + index * SECOND // 10)
        bench.spin_until(lambda index=index: bench.count("refused") == index + 1, "the refusal")
    walk(bench, 1, 2 * SECOND)


def connected(bench: Bench) -> None:
    bench.wait_for_subscriber()
    bench.wait_for_outputs()


@contextmanager
def node_process(domain_id: int, log: Path, **parameters: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run mapping_node in the domain of this test run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_DOMAIN_ID", str(domain_id))
        with mapping_node(parameters, log) as node:
            yield node.process
