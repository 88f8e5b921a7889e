# SPDX-License-Identifier: Apache-2.0
"""Which images are mapped under load, and what happens when time goes back."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import FakeBackend, GatedBackend, image
from graph import SECOND, connected, jump_back, walk
from nav_msgs.msg import Odometry
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image

from ttt3r_ros.ros import messages

pytestmark = pytest.mark.ros


def test_with_queue_policy_keep_all_nothing_is_dropped_however_slow_the_network_is(start):
    backend = GatedBackend()
    _, bench = start(backend, queue_policy="keep_all")
    bench.listen("pose")
    bench.listen_to_diagnostics()
    connected(bench)
    for index in range(12):  # far more than wait inside the node
        bench.publish(image(index), SECOND + index * SECOND // 10)
    bench.spin_until(backend.entered.is_set, "the first step")
    bench.spin_until(lambda: bench.count("received") >= 4, "a full queue")
    assert bench.count("received") <= 6, "the others wait in the middleware"
    assert bench.call("pause").success, "services are answered meanwhile"
    assert bench.call("resume").success
    backend.gate.set()
    bench.spin_until(lambda: bench.count("processed") == 12, "all of them")
    assert [mark for mark, _ in backend.shown] == list(range(12))
    assert 2 in backend.next_images, "the network heard of what waited behind the second image"
    assert (bench.count("dropped"), bench.count("lost")) == (0, 0)


def test_the_qos_of_a_topic_can_be_overridden_by_a_parameter(start):
    name = "qos_overrides./image.subscription.reliability"
    node, _ = start(image_qos="sensor_data", **{name: "reliable"})
    profile = node.mapping.subscribers[0].subscription.qos_profile
    assert profile.reliability == QoSReliabilityPolicy.RELIABLE


def test_when_time_goes_back_the_map_may_be_kept(start):
    node, bench = start(on_time_jump="keep_map")
    bench.listen("pose")
    bench.listen_to_diagnostics()
    connected(bench)
    walk(bench, 3, 100 * SECOND)
    jump_back(bench)
    reconstructor = node.mapping.bodies[0].reconstructor
    assert bench.got["pose"][-1].pose.position.x == pytest.approx(0.0)
    assert len(reconstructor.trajectory) == 4
    assert len(reconstructor.map.voxels) > 0


def test_time_that_goes_back_empties_the_transforms(start):
    node, bench = start()
    bench.listen("pose")
    bench.listen_to_diagnostics()
    connected(bench)
    walk(bench, 1, 100 * SECOND)
    bench.send_transform("odom", "base_link", np.eye(4), 100 * SECOND)
    buffer = node.mapping.sensors.transforms
    bench.spin_until(lambda: buffer.root_of("base_link") == "odom", "the transform")
    for index in range(3):
        bench.publish(image(index), SECOND + index * SECOND // 10)
    bench.spin_until(lambda: bench.count("processed") == 2, "the new beginning")
    assert buffer.root_of("base_link") == "base_link"


def test_a_mismatch_of_qos_is_named_with_what_helps(start, capfd, monkeypatch):
    from ttt3r_ros.ros import startup_monitor

    monkeypatch.setattr(startup_monitor, "PERIOD_S", 0.2)
    _, bench = start(image_qos="reliable")
    best_effort = QoSProfile(
        depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT, durability=QoSDurabilityPolicy.VOLATILE
    )
    bench.node.destroy_publisher(bench.images)
    bench.node.create_publisher(Image, "image", best_effort)
    seen: list[str] = []

    def told() -> bool:
        seen.append(capfd.readouterr().err)
        return "try image_qos:=sensor_data" in "".join(seen)

    bench.spin_until(told, "the reason")


def test_where_nobody_publishes_the_topics_that_do_exist_are_named(start, capfd, monkeypatch):
    from ttt3r_ros.ros import startup_monitor

    monkeypatch.setattr(startup_monitor, "PERIOD_S", 0.2)
    _, bench = start()
    bench.node.destroy_publisher(bench.images)
    bench.node.create_publisher(Image, "/robot/camera/image_raw", 1)
    seen: list[str] = []

    def told() -> bool:
        seen.append(capfd.readouterr().err)
        return "/robot/camera/image_raw: remap `image`" in "".join(seen)

    bench.spin_until(told, "the hint")


def test_odometry_gives_the_scale_without_a_jump(start):
    """The network says one meter per image, odometry half a meter."""
    _, bench = start(FakeBackend(), **{"scale.source": "odometry", "transform_timeout": 2.0})
    bench.listen("pose")
    bench.listen_to_diagnostics()
    connected(bench)
    theirs = bench.node.create_publisher(Odometry, "odometry", 10)
    bench.spin_until(theirs.get_subscription_count, "a subscriber to odometry")
    T = np.eye(4)
    for index in range(12):
        stamp_ns = SECOND + index * SECOND // 10
        T[0, 3] = 0.5 * index
        message = Odometry(header=messages.make_header(stamp_ns, "odom"), child_frame_id="base_link")
        message.pose.pose = messages.pose(T)
        theirs.publish(message)
        bench.publish(image(index), stamp_ns)
        bench.spin_until(lambda index=index: len(bench.got["pose"]) == index + 1, "a pose")
    steps = np.diff([pose.pose.position.x for pose in bench.got["pose"]])
    assert steps[0] == pytest.approx(1.0)
    assert steps[-1] == pytest.approx(0.5, rel=0.05)
    assert (steps <= 1.0 + 1e-6).all(), "no jump"
    bench.spin_until(lambda: bench.diagnostics().get("scale_source") == "odometry", "the source")


def test_a_measured_depth_gives_the_scale(start):
    """The fake wall is two meters away; the depth camera says three."""
    node, bench = start(**{"scale.source": "depth"})
    bench.listen("pose", "depth")
    bench.listen_to_diagnostics()
    connected(bench)
    depths = bench.node.create_publisher(Image, "depth_registered/image_rect", 10)
    bench.spin_until(depths.get_subscription_count, "a subscriber to the depth")
    bench.wait_for_listener("depth")
    header = messages.make_header(SECOND, "camera_optical_frame")
    depths.publish(messages.image(np.full((24, 32), 3000, np.uint16), header))
    bench.spin_until(lambda: node.mapping.sensors._depths, "the depth")
    bench.publish(image(0), SECOND)
    bench.spin_until(lambda: bench.got["depth"], "depth")
    assert np.nanmedian(np.frombuffer(bench.got["depth"][-1].data, np.float32)) == pytest.approx(
        3.0, rel=1e-3
    )
