#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Milliseconds that ROS costs per frame on one core: from a message with an image to messages with results.

A backend whose answer of 512x384 is fixed stands in for the network. The rest is real: images of 640x480 come over
DDS, every topic has a subscriber in another process, the cloud has all its points and the path all its poses.
Stages are processor time of the thread that works on the frame, from the decoding of the image to the last message.
Not counted are rclpy's taking of the message, in another thread of the node, and the preparing of the image, which
is the network's; both are shown. On a machine that is not idle: `chrt -f 50 python benchmarks/ros_side.py` (root).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not

from fixed_backend import FixedBackend
from ros_listener import LISTEN, NODE, kinds, listen, listener, wait_for_listener
from stage_clock import StageClock, timed_publishers

from ttt3r_ros.config import Config, from_mapping
from ttt3r_ros.pipeline.reconstructor import Reconstructor
from ttt3r_ros.ros.middleware import isolate, use_large_image_profile
from ttt3r_ros.synthetic.room import ProceduralRoom
from ttt3r_ros.types import Frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from ttt3r_ros.types import UInt8Array

BUDGET_MS = 6.0
SOURCE_SIZE = (640, 480)
INPUTS = ("rgb8", "bgr8", "jpeg")
WARM_UP = 20
PERIOD_NS = 100_000_000
PAUSE_S = 0.02  # between frames: the middleware finishes its work and caches cool down, as in real life
TIMER_TOPICS = ("path", "map_cloud", "map")  # published at a period of their own
NOT_COUNTED = ("take", "preprocess", "elapsed", "all threads")


class Benchmark:
    """The node's own parts around the fixed backend."""

    def __init__(self, node: Any, config: Config, clock: StageClock) -> None:
        from ttt3r_ros.ros.publishers import BodyOutputs, CameraOutputs, MapOutputs
        from ttt3r_ros.ros.robot_sensors import RobotSensors
        from ttt3r_ros.ros.tf_output import TransformOutput
        from ttt3r_ros.ros.throttled_warnings import ThrottledWarnings

        self.node, self.config, self.clock = node, config, clock
        self.warnings = ThrottledWarnings(node.get_logger())
        robot = RobotSensors(node, config, self.warnings)
        nothing_fused = from_mapping({"map.min_confidence": 1e6}, config)
        self.reconstructor = Reconstructor(FixedBackend(SOURCE_SIZE), nothing_fused)
        self.mapper = Reconstructor(FixedBackend(SOURCE_SIZE), config)
        self.transforms = TransformOutput(node, config, robot, self.warnings, config.map_frame)
        self.body = BodyOutputs(node, config, robot, "", config.map_frame)
        self.camera = CameraOutputs(node, config, robot, "")
        self.maps = MapOutputs(node, self.mapper.map, "", config.map_frame)
        self.stamp_ns = 0

    def next_stamp_ns(self) -> int:
        """Return a stamp that follows the last one."""
        self.stamp_ns += PERIOD_NS
        return self.stamp_ns

    def publish_results(self, frame: Frame) -> None:
        """Reconstruct from a frame and publish the results in the order of the node."""
        update = self.reconstructor.step(frame)
        self.clock.add("preprocess", update.timings_s["preprocess"])
        with self.clock.running():
            self.transforms.publish(update)
            self.body.publish(update)
            self.camera.publish(update)
            self.clock.lap("rest")

    def fill_path(self, rgb: UInt8Array) -> None:
        """Publish as many poses as the path keeps."""
        update = self.reconstructor.step(Frame(self.next_stamp_ns(), "camera", rgb))
        for _ in range(self.config.path_max_poses):
            self.body.publish(update)

    def measure_maps(self, rgb: UInt8Array, repeats: int = 10) -> dict[str, list[float]]:
        """Publish path, map cloud and grid, each time after a frame has changed them; return samples [ms]."""
        self.clock.take_samples()
        for _ in range(repeats):
            self.body.publish(self.mapper.step(Frame(self.next_stamp_ns(), "camera", rgb)))
            with self.clock.running():
                self.body.publish_path()
                self.maps.publish(self.stamp_ns)
            self.clock.close_frame()
            time.sleep(PAUSE_S)
        samples = self.clock.take_samples()
        return {name: times for name, times in samples.items() if name.split()[-1] in TIMER_TOPICS}


class Camera:
    """Sends images of one kind and takes them in again through the node's intake."""

    def __init__(self, benchmark: Benchmark, kind: str, pictures: list[UInt8Array]) -> None:
        from rclpy.executors import SingleThreadedExecutor
        from sensor_msgs.msg import CompressedImage, Image

        from ttt3r_ros.ros.image_subscriber import ImageCallbacks, ImageSubscriber
        from ttt3r_ros.ros.qos import STREAM
        from ttt3r_ros.ros.statistics import Statistics

        self._benchmark = benchmark
        self._taken: list[Frame] = []
        compressed = kind == "jpeg"
        self._messages = [_message(kind, rgb) for rgb in pictures]
        config = from_mapping(
            {"image_transport": "compressed" if compressed else "raw"}, benchmark.config
        )
        callbacks = ImageCallbacks(
            on_frame=self._on_frame,
            on_time_jump=lambda: None,
            on_release=lambda: None,
            has_room=lambda: True,
        )
        self._subscriber = ImageSubscriber(
            benchmark.node, config, "", callbacks, Statistics(), benchmark.warnings
        )
        subscription: Any = self._subscriber.subscription
        subscription.callback = self._with_timer(subscription.callback)
        self._publisher = benchmark.node.create_publisher(
            CompressedImage if compressed else Image,
            "image/compressed" if compressed else "image",
            STREAM,
        )
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(benchmark.node)

    def measure(self, frames: int) -> dict[str, list[float]]:
        """Send frames one by one through intake, backend and outputs; return the stages' samples [ms]."""
        for index in range(WARM_UP + frames):
            if index == WARM_UP:
                self._benchmark.clock.take_samples()
            self._benchmark.publish_results(self._show(self._messages[index % len(self._messages)]))
            self._benchmark.clock.close_frame()
        return self._benchmark.clock.take_samples()

    def close(self) -> None:
        """Restore the node."""
        self._subscriber.close()
        self._executor.remove_node(self._benchmark.node)
        self._benchmark.node.destroy_publisher(self._publisher)

    def _show(self, message: Any) -> Frame:
        from ttt3r_ros.ros import messages

        message.header.stamp = messages.make_stamp(self._benchmark.next_stamp_ns())
        self._publisher.publish(message)
        time.sleep(PAUSE_S)
        with self._benchmark.clock.running():
            while not self._taken:
                self._executor.spin_once(timeout_sec=1.0)
        return self._taken.pop()

    def _with_timer(self, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        def with_timer(message: Any) -> None:
            self._benchmark.clock.lap("take")
            callback(message)

        return with_timer

    def _on_frame(self, frame: Frame, _received_s: float) -> None:
        self._benchmark.clock.lap("decode")
        self._taken.append(frame)


@dataclass(frozen=True)
class Result:
    """Measurements [ms]."""

    inputs: dict[str, dict[str, list[float]]]
    maps: dict[str, list[float]]
    voxels: int
    received: dict[str, int]


def main() -> int:
    """Measure each kind of input and print a table; fail where one is over the budget."""
    isolate()
    use_large_image_profile()
    if LISTEN in sys.argv:
        return listen()
    arguments = _arguments()
    config = from_mapping(
        {
            "depth.resolution": arguments.depth_size,
            "depth.encoding": arguments.depth_encoding,
            "min_confidence": arguments.min_confidence,
        }
    )
    return _report(_measure(config, arguments.frames), arguments.frames)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=200, help="frames measured for each kind of input")
    parser.add_argument("--depth-size", choices=("network", "input"), default="network")
    parser.add_argument("--depth-encoding", choices=("32FC1", "16UC1"), default="32FC1")
    parser.add_argument(
        "--min-confidence", type=float, default=1.0, help="3 leaves out half of the points"
    )
    return parser.parse_args()


def _measure(config: Config, frames: int) -> Result:
    import rclpy

    room = ProceduralRoom(frames=3, width=SOURCE_SIZE[0], height=SOURCE_SIZE[1])
    pictures = [frame.rgb for frame in room.frames()]
    clock, inputs = StageClock(), {}
    with listener(__file__) as end, timed_publishers(clock, NODE):
        _use_one_core()
        rclpy.init(args=[])
        node: Any = rclpy.create_node(NODE)
        benchmark = Benchmark(node, config, clock)
        benchmark.fill_path(pictures[0])
        wait_for_listener(node)
        for kind in INPUTS:
            camera = Camera(benchmark, kind, pictures)
            inputs[kind] = camera.measure(frames)
            camera.close()
        maps = benchmark.measure_maps(pictures[0])
        received = end()
        node.destroy_node()
        rclpy.utilities.try_shutdown()
    return Result(inputs, maps, len(benchmark.mapper.map.voxels), received)


def _use_one_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # threads of the middleware inherit it
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _message(kind: str, rgb: UInt8Array) -> Any:
    from ttt3r_ros.ros import messages

    header = messages.make_header(0, "camera")
    if kind == "jpeg":
        return messages.jpeg_image(rgb, header)
    message = messages.image(rgb if kind == "rgb8" else rgb[..., ::-1], header)
    message.encoding = kind
    return message


def _report(result: Result, frames: int) -> int:
    totals = {kind: _total(samples) for kind, samples in result.inputs.items()}
    columns = list(result.inputs.values())
    print(f"{f'ms on one core, p50 / p95 of {frames}':34s}" + "".join(f"{kind:>18s}" for kind in INPUTS))
    for stage in columns[0]:
        if stage not in NOT_COUNTED:
            _print_row(stage, [samples[stage] for samples in columns])
    _print_row("decoded to published", list(totals.values()))
    print("not counted above (elapsed, all threads: with taking, of everything but the network's):")
    for stage in NOT_COUNTED:
        _print_row(f"  {stage}", [samples[stage] for samples in columns])
    print(f"map of {result.voxels} voxels and its grid, at a period of their own:")
    for stage in sorted(set(result.maps) - set(NOT_COUNTED)):
        _print_row(f"  {stage}", [result.maps[stage]])
    print(f"received of {len(INPUTS) * (frames + WARM_UP)} frames: {_counts(result.received)}")
    over = [kind for kind, ms in totals.items() if np.median(ms) > BUDGET_MS]
    print(f"over the budget of {BUDGET_MS:.0f} ms: {', '.join(over) or 'none'}")
    return 1 if over else 0


def _total(samples: dict[str, list[float]]) -> list[float]:
    counted = [ms for stage, ms in samples.items() if stage not in NOT_COUNTED]
    return [float(total) for total in np.sum(counted, axis=0)]


def _counts(received: dict[str, int]) -> str:
    return ", ".join(f"{topic.removeprefix(f'/{NODE}/')} {received.get(topic, 0)}" for topic in kinds())


def _print_row(name: str, columns: list[list[float]]) -> None:
    cells = ["{:.2f} / {:.2f}".format(*np.percentile(column, [50, 95])) for column in columns]
    print(f"{name:34s}" + "".join(f"{cell:>18s}" for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
