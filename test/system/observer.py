# SPDX-License-Identifier: Apache-2.0
"""A camera and a subscriber beside the launched nodes."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import rclpy
from rcl_interfaces.srv import GetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import parameter_value_to_python
from sensor_msgs.msg import Image

from ttt3r_ros.ros import messages
from ttt3r_ros.ros.qos import STREAM

if TYPE_CHECKING:
    from collections.abc import Callable

    from ttt3r_ros.synthetic.room import ProceduralRoom

LIMIT_S = 60.0  # ten times what a slow machine needs to load torch and the network


class Observer:
    """A camera and a listener beside the launched node."""

    def __init__(self, context: rclpy.context.Context) -> None:
        self.node = rclpy.create_node("observer", context=context)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.node)
        self.launch_over = threading.Event()
        self.got: dict[str, list[Any]] = defaultdict(list)

    def listen(self, kind: type, topic: str) -> list[Any]:
        self.node.create_subscription(kind, topic, self.got[topic].append, 50)
        return self.got[topic]

    def spin_until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            assert not self.launch_over.is_set(), f"the launch ended before {what}"
            assert time.monotonic() < deadline, f"not within {LIMIT_S:.0f} s: {what}"
            self.executor.spin_once(timeout_sec=0.05)

    def spin_until_over(self, limit_s: float) -> None:
        """Listen until the launch has ended by itself."""
        deadline = time.monotonic() + limit_s
        while not self.launch_over.is_set():
            assert time.monotonic() < deadline, f"the launch did not end within {limit_s:.0f} s"
            self.executor.spin_once(timeout_sec=0.05)

    def show(self, room: ProceduralRoom, topic: str, outputs: list[list[Any]]) -> None:
        """Publish the room's images, each after the outputs of the one before."""
        camera = self.node.create_publisher(Image, topic, STREAM)
        self.spin_until(camera.get_subscription_count, f"a subscriber to {topic}")
        for number, frame in enumerate(room.frames(), start=1):
            header = messages.make_header(frame.stamp_ns, "camera_optical_frame")
            camera.publish(messages.image(frame.rgb, header))
            self.spin_until(
                lambda n=number: all(len(got) >= n for got in outputs), f"outputs of image {number}"
            )

    def parameters(self, node: str, *names: str) -> list[Any]:
        client = self.node.create_client(GetParameters, f"{node}/get_parameters")
        self.spin_until(client.service_is_ready, f"the parameters of {node}")
        future = client.call_async(GetParameters.Request(names=names))
        self.spin_until(future.done, f"parameter values of {node}")
        return [parameter_value_to_python(value) for value in future.result().values]
