# SPDX-License-Identifier: Apache-2.0
"""A process that subscribes to every topic of a node and counts what arrives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NODE = "ros_side"  # whose topics are listened to
LISTEN = "--listen"  # argument that makes a benchmark the listener
_MAPS = {"map_cloud", "map"}
_START_S = 30.0


def kinds() -> dict[str, Any]:
    """Return the types of all topics by their names."""
    from geometry_msgs.msg import PoseStamped
    from nav_msgs.msg import OccupancyGrid, Odometry
    from nav_msgs.msg import Path as PathMsg
    from sensor_msgs.msg import CameraInfo, Image, PointCloud2

    from ttt3r_ros.ros.tf_messages import tf_message_type

    kinds = {
        "depth/image": Image, "depth/camera_info": CameraInfo, "confidence/image": Image, "points": PointCloud2,
        "pose": PoseStamped, "odom": Odometry, "path": PathMsg, "map_cloud": PointCloud2, "map": OccupancyGrid,
    }  # fmt: skip
    return {f"/{NODE}/{topic}": kind for topic, kind in kinds.items()} | {"/tf": tf_message_type("/tf")}


@contextmanager
def listener(script: str) -> Iterator[Callable[[], dict[str, int]]]:
    """Run a script as subscriber; yield a function that ends it and returns the number of messages per topic."""
    command = [sys.executable, script, LISTEN]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603

    def end() -> dict[str, int]:
        output, _ = process.communicate("", timeout=30.0)
        return dict(json.loads(output.splitlines()[-1]))

    try:
        yield end
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def listen() -> int:
    """Count messages until standard input is closed."""
    import rclpy

    from ttt3r_ros.ros.qos import LATCHED, STREAM

    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores - {min(cores)} or cores)
    rclpy.init(args=[])
    node = rclpy.create_node("listener")
    received: Counter[str] = Counter()
    for topic, kind in kinds().items():
        qos = LATCHED if topic.removeprefix(f"/{NODE}/") in _MAPS else STREAM
        # Raw: deserialization is not measured and must not slow the publisher down.
        node.create_subscription(kind, topic, partial(_count, received, topic), qos, raw=True)
    reading = threading.Thread(target=sys.stdin.read, daemon=True)
    reading.start()
    while reading.is_alive():
        rclpy.spin_once(node, timeout_sec=0.1)
    print(json.dumps(received))
    return 0


def _count(received: Counter[str], topic: str, _message: bytes) -> None:
    received[topic] += 1


def wait_for_listener(node: Any) -> None:
    """Wait until the publishers of a node have subscribers."""
    deadline = time.monotonic() + _START_S
    while missing := [topic for topic in kinds() if not _has_subscribers(node, topic)]:
        if time.monotonic() > deadline:
            msg = f"no subscriber in {_START_S:.0f} s of {', '.join(missing)}"
            raise SystemExit(msg)
        time.sleep(0.05)
    time.sleep(0.5)  # known in the graph; let the endpoints match


def _has_subscribers(node: Any, topic: str) -> bool:
    return any(info.node_name == "listener" for info in node.get_subscriptions_info_by_topic(topic))
