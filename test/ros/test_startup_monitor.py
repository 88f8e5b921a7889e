# SPDX-License-Identifier: Apache-2.0
"""What the log names while images or time are missing, and of two cameras, publishers or nodes in one place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rclpy
from fakes import image
from graph import SECOND, map_images, wait_for_connection
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from tf2_msgs.msg import TFMessage

from ttt3r_ros.ros import messages, startup_monitor
from ttt3r_ros.ros.lost_messages import LostMessages

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.ros


@pytest.fixture
def logged(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Return a function that returns everything logged so far; the monitor checks five times per second."""
    monkeypatch.setattr(startup_monitor, "PERIOD_S", 0.2)
    texts: list[str] = []

    def read() -> str:
        texts.append(capfd.readouterr().err)
        return "".join(texts)

    return read


def remapped(*rules: str) -> list[str]:
    return ["--ros-args", *(word for rule in rules for word in ("-r", rule))]


@pytest.fixture
def start_remapped(context, tmp_path, start):
    """Start a node with remapping rules."""
    from fakes import FakeBackend
    from rclpy.parameter import Parameter

    from ttt3r_ros.ros.mapping_node import MappingNode

    nodes = []

    def _start(*rules: str, **parameters: object):
        values = {"image_qos": "reliable", "output_directory": str(tmp_path)} | parameters
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        node = MappingNode(
            FakeBackend(), context=context, parameter_overrides=overrides, cli_args=remapped(*rules)
        )
        nodes.append(node)
        return node

    yield _start
    for node in nodes:
        node.destroy_node()


@pytest.mark.parametrize(
    ("rules", "transport", "expected"),
    [
        (["image:=/cam/image_raw"], "raw", "/cam/image_raw"),
        (["image:=/cam/image_raw"], "compressed", "/cam/image_raw/compressed"),
        (["image:=/cam/image_raw/compressed"], "compressed", "/cam/image_raw/compressed"),
        (["image/compressed:=/cam/jpeg"], "compressed", "/cam/jpeg"),
        (["image:=/a", "image/compressed:=/cam/jpeg"], "compressed", "/cam/jpeg"),
        ([], "compressed", "/image/compressed"),
        (["__ns:=/robot"], "compressed", "/robot/image/compressed"),
        (["__ns:=/robot", "image:=cam/image"], "compressed", "/robot/cam/image/compressed"),
    ],
)
def test_a_remapped_base_topic_also_applies_to_the_compressed_transport(
    start_remapped, rules, transport, expected
):
    node = start_remapped(*rules, image_transport=transport)
    assert node.mapping.subscribers[0].subscription.topic_name == expected


# Topic and type published; rules and transport of the node; names and settings of the advice.
CASES = {
    "only compressed images": (
        "/cam/compressed", CompressedImage, ["image:=/cam"], "raw",
        ["/cam/compressed", "image_transport:=compressed"], ["remap"],
    ),
    "only raw images": (
        "/cam", Image, ["image:=/cam"], "compressed",
        ["/cam", "image_transport:=raw"], ["remap"],
    ),
    "raw subscription on a compressed topic": (
        "/cam/compressed", CompressedImage, ["image:=/cam/compressed"], "raw",
        ["sensor_msgs/msg/CompressedImage", "image_transport:=compressed"], [],
    ),
    "compressed subscription on a raw topic": (
        "/cam/raw", Image, ["image/compressed:=/cam/raw"], "compressed",
        ["sensor_msgs/msg/Image", "image_transport:=raw", "remap `image` to /cam/raw"], [],
    ),
    "no image at all on the topic": (
        "/cam/raw", PointCloud2, ["image:=/cam/raw"], "raw",
        ["sensor_msgs/msg/PointCloud2", "sensor_msgs/msg/Image"], ["image_transport:="],
    ),
    "another camera": (
        "/other/image_raw", Image, [], "raw", ["remap `image` to /other/image_raw"], ["image_transport:="],
    ),
    "another camera, compressed": (
        "/other/jpeg", CompressedImage, [], "raw",
        ["image_transport:=compressed", "remap `image/compressed` to /other/jpeg"], [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_advice_names_the_topic_and_the_setting_that_help(start_remapped, domain_id, logged, case):
    topic, kind, rules, transport, named, absent = case
    node = start_remapped(*rules, image_transport=transport)
    other = rclpy.context.Context()  # a participant cannot have two types on one topic
    rclpy.init(args=[], context=other, domain_id=domain_id)
    camera = rclpy.create_node("camera", context=other)
    publisher = camera.create_publisher(kind, topic, 1)
    executor = rclpy.executors.SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    line = ""
    for _ in range(600):
        executor.spin_once(timeout_sec=0.05)
        lines = [text for text in logged().splitlines() if "waiting for images on" in text]
        line = next((text for text in lines if all(name in text for name in named)), "")
        if line:
            break
    assert line, logged()
    assert not [name for name in absent if name in line]
    assert publisher.topic_name == topic
    executor.shutdown()
    camera.destroy_node()
    other.try_shutdown()


def test_without_another_node_the_domain_and_the_discovery_settings_are_named(start_remapped, logged):
    node = start_remapped()
    executor = rclpy.executors.SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    for _ in range(600):
        executor.spin_once(timeout_sec=0.05)
        if "ROS_DOMAIN_ID" in logged():  # nodes of other tests are gone
            break
    text = logged()
    assert f"ROS_DOMAIN_ID {node.context.get_domain_id()}" in text
    assert "RMW_IMPLEMENTATION" in text
    executor.shutdown()


def test_simulated_time_without_a_clock_is_named_in_log_and_diagnostics_and_images_are_mapped(
    start, logged
):
    node, peer = start(use_sim_time=True)
    peer.subscribe("pose")
    peer.subscribe_to_diagnostics()
    peer.subscribe_to_map()
    wait_for_connection(peer)
    peer.spin_until(
        lambda: "use_sim_time is true and /clock has no publisher" in logged(), "the warning"
    )
    peer.spin_until(lambda: peer.diagnostics().get("level") == "WARN", "the diagnostics")
    assert "/clock" in peer.diagnostics()["message"]
    map_images(peer, 2)
    peer.spin_until(lambda: peer.received["map"], "the map")
    clock = peer.node.create_publisher(Clock, "/clock", 1)
    peer.spin_until(clock.get_subscription_count, "a subscriber of /clock")
    clock.publish(Clock(clock=messages.make_stamp(5 * SECOND)))
    peer.spin_until(lambda: "/clock" not in peer.diagnostics()["message"], "time")
    assert node.get_clock().now().nanoseconds == 5 * SECOND


def test_two_cameras_on_one_topic_are_named_once(start, logged):
    _, peer = start()
    peer.subscribe("pose")
    wait_for_connection(peer)
    for index in range(6):
        peer.publish(image(index), (index + 1) * SECOND, ("left_optical", "right_optical")[index % 2])
        peer.spin_until(lambda index=index: len(peer.received["pose"]) == index + 1, "a pose")
    lines = [line for line in logged().splitlines() if "'left_optical' and 'right_optical'" in line]
    assert len(lines) == 1


def test_two_publishers_of_one_image_topic_are_named_once(start, context, logged):
    _, peer = start()
    second = rclpy.create_node("second_camera", namespace="/rear", context=context)
    publisher = second.create_publisher(Image, "/image", 5)
    peer.spin_until(lambda: "/rear/second_camera" in logged(), "the warning")
    line = next(line for line in logged().splitlines() if "/rear/second_camera" in line)
    assert "/peer" in line
    count = len(re.findall("/rear/second_camera", logged()))
    peer.subscribe("pose")
    wait_for_connection(peer)
    map_images(peer, 2)
    assert len(re.findall("/rear/second_camera", logged())) == count
    assert publisher.topic_name == "/image"
    second.destroy_node()


@pytest.mark.parametrize("is_equal", [False, True])
def test_another_node_that_sends_the_same_transform_is_named_once(start, logged, is_equal):
    """Also if it maps the same images, so that stamps and poses are equal."""
    _, peer = start()
    peer.subscribe("pose")
    peer.subscribe_to("tf", TFMessage, "/tf")
    wait_for_connection(peer)
    map_images(peer, 3)
    peer.spin_until(peer.transforms, "the node's transforms")
    assert "another node also sends" not in logged()
    own = peer.transforms()[-1]
    T = messages.matrix_from_transform(own.transform) if is_equal else np.eye(4)
    stamp_ns = messages.stamp_to_ns(own.header.stamp) + (0 if is_equal else 7)
    for _ in range(3):
        peer.send_transform(own.header.frame_id, own.child_frame_id, T, stamp_ns)
    peer.spin_until(lambda: "another node also sends the transform" in logged(), "the warning")
    lines = [line for line in logged().splitlines() if "another node also sends" in line]
    assert len(lines) == 1
    assert f"{own.header.frame_id} -> {own.child_frame_id}" in lines[0]
    assert "/peer" in lines[0]


def test_images_that_newer_ones_overwrote_in_the_readers_queue_are_counted_as_lost(start):
    _, peer = start(image_qos="sensor_data")
    peer.subscribe("pose")
    peer.subscribe_to_diagnostics()
    wait_for_connection(peer)
    map_images(peer, 1)
    for index in range(20):  # while the node does not spin
        peer.publish(image(index), 2 * SECOND + index * SECOND // 10)
    peer.spin_until(lambda: peer.count("received") + peer.count("lost") == 21, "all counts")
    assert peer.count("lost") > 0


def counted(numbers: list[int | None], reports: dict[int, int], publishers: int = 1) -> int:
    lost: list[int] = []
    messages_ = LostMessages(lambda: publishers, lost.append)
    for index, number in enumerate(numbers):
        if index in reports:
            messages_.report(reports[index])
        messages_.receive({"publication_sequence_number": number})
    return sum(lost)


@pytest.mark.parametrize(
    ("numbers", "reports", "publishers", "expected"),
    [
        ([5, 6, 7], {}, 1, 0),
        ([5, 8, 9, 12], {}, 1, 4),
        ([5, 8], {1: 2}, 1, 2),  # the middleware reported the same two
        ([5, 9], {1: 2}, 1, 3),  # and one was overwritten
        ([None, None], {1: 3}, 1, 3),  # a middleware without numbers
        ([50, 1, 2, 4], {}, 1, 1),  # the publisher was started again
        ([5, 900, 6, 901], {}, 2, 0),  # two publishers with numbers of their own
    ],
)
def test_gaps_and_reports_of_lost_messages_are_counted_once(numbers, reports, publishers, expected):
    assert counted(numbers, reports, publishers) == expected
