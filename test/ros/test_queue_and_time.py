# SPDX-License-Identifier: Apache-2.0
"""Queue policies, jumps back in time, reports of missing images, sources of scale."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import BlockingBackend, FakeBackend, image
from graph import SECOND, jump_back, map_images, wait_for_connection
from nav_msgs.msg import Odometry
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image

from ttt3r_ros.ros import messages

pytestmark = pytest.mark.ros


def test_with_queue_policy_keep_all_a_slow_network_drops_no_image(start):
    backend = BlockingBackend()
    _, peer = start(backend, queue_policy="keep_all")
    peer.subscribe("pose")
    peer.subscribe_to_diagnostics()
    wait_for_connection(peer)
    for index in range(12):  # more than the queue of the node
        peer.publish(image(index), SECOND + index * SECOND // 10)
    peer.spin_until(backend.entered.is_set, "the first step")
    peer.spin_until(lambda: peer.count("received") >= 4, "a full queue")
    assert peer.count("received") <= 6, "the others are in the queue of the middleware"
    assert peer.call("pause").success, "services respond meanwhile"
    assert peer.call("resume").success
    backend.released.set()
    peer.spin_until(lambda: peer.count("processed") == 12, "all of them")
    assert [mark for mark, _ in backend.shown] == list(range(12))
    assert 2 in backend.next_images, "the backend received the image after the second one"
    assert (peer.count("dropped"), peer.count("lost")) == (0, 0)


def test_the_qos_of_a_topic_can_be_overridden_by_a_parameter(start):
    name = "qos_overrides./image.subscription.reliability"
    node, _ = start(image_qos="sensor_data", **{name: "reliable"})
    profile = node.mapping.subscribers[0].subscription.qos_profile
    assert profile.reliability == QoSReliabilityPolicy.RELIABLE


def test_with_keep_map_a_jump_back_in_time_keeps_the_map(start):
    node, peer = start(on_time_jump="keep_map")
    peer.subscribe("pose")
    peer.subscribe_to_diagnostics()
    wait_for_connection(peer)
    map_images(peer, 3, 100 * SECOND)
    jump_back(peer)
    reconstructor = node.mapping.bodies[0].reconstructor
    assert peer.received["pose"][-1].pose.position.x == pytest.approx(0.0)
    assert len(reconstructor.trajectory) == 4
    assert len(reconstructor.map.voxels) > 0


def test_a_jump_back_in_time_clears_the_transforms(start):
    node, peer = start()
    peer.subscribe("pose")
    peer.subscribe_to_diagnostics()
    wait_for_connection(peer)
    map_images(peer, 1, 100 * SECOND)
    peer.send_transform("odom", "base_link", np.eye(4), 100 * SECOND)
    buffer = node.mapping.sensors.transforms
    peer.spin_until(lambda: buffer.root_of("base_link") == "odom", "the transform")
    for index in range(3):
        peer.publish(image(index), SECOND + index * SECOND // 10)
    peer.spin_until(lambda: peer.count("processed") == 2, "the new beginning")
    assert buffer.root_of("base_link") == "base_link"


def test_a_qos_mismatch_is_reported_with_a_remedy(start, capfd, monkeypatch):
    from ttt3r_ros.ros import startup_monitor

    monkeypatch.setattr(startup_monitor, "PERIOD_S", 0.2)
    _, peer = start(image_qos="reliable")
    best_effort = QoSProfile(
        depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT, durability=QoSDurabilityPolicy.VOLATILE
    )
    peer.node.destroy_publisher(peer.images)
    peer.node.create_publisher(Image, "image", best_effort)
    seen: list[str] = []

    def is_reported() -> bool:
        seen.append(capfd.readouterr().err)
        return "try image_qos:=sensor_data" in "".join(seen)

    peer.spin_until(is_reported, "the reason")


def test_without_a_publisher_the_log_has_the_existing_image_topics(start, capfd, monkeypatch):
    from ttt3r_ros.ros import startup_monitor

    monkeypatch.setattr(startup_monitor, "PERIOD_S", 0.2)
    _, peer = start()
    for publisher in (peer.images, peer.compressed):
        peer.node.destroy_publisher(publisher)
    peer.node.create_publisher(Image, "/robot/camera/image_raw", 1)
    seen: list[str] = []

    def is_reported() -> bool:
        seen.append(capfd.readouterr().err)
        return "remap `image` to /robot/camera/image_raw" in "".join(seen)

    peer.spin_until(is_reported, "the hint")


def test_odometry_gives_the_scale_without_a_jump(start):
    """The network moves one meter per image, odometry half a meter."""
    _, peer = start(FakeBackend(), **{"scale.source": "odometry", "transform_timeout": 2.0})
    peer.subscribe("pose")
    peer.subscribe_to_diagnostics()
    wait_for_connection(peer)
    theirs = peer.node.create_publisher(Odometry, "odometry", 10)
    peer.spin_until(theirs.get_subscription_count, "a subscriber to odometry")
    T = np.eye(4)
    for index in range(12):
        stamp_ns = SECOND + index * SECOND // 10
        T[0, 3] = 0.5 * index
        message = Odometry(header=messages.make_header(stamp_ns, "odom"), child_frame_id="base_link")
        message.pose.pose = messages.pose(T)
        theirs.publish(message)
        peer.publish(image(index), stamp_ns)
        peer.spin_until(lambda index=index: len(peer.received["pose"]) == index + 1, "a pose")
    steps = np.diff([pose.pose.position.x for pose in peer.received["pose"]])
    assert steps[0] == pytest.approx(1.0)
    assert steps[-1] == pytest.approx(0.5, rel=0.05)
    assert (steps <= 1.0 + 1e-6).all(), "no jump"
    peer.spin_until(lambda: peer.diagnostics().get("scale_source") == "odometry", "the source")


def test_a_measured_depth_gives_the_scale(start):
    """The fake wall is two meters away; the depth camera measures three."""
    node, peer = start(**{"scale.source": "depth"})
    peer.subscribe("pose", "depth")
    peer.subscribe_to_diagnostics()
    wait_for_connection(peer)
    depths = peer.node.create_publisher(Image, "depth_registered/image_rect", 10)
    peer.spin_until(depths.get_subscription_count, "a subscriber to the depth")
    peer.wait_until_matched("depth")
    header = messages.make_header(SECOND, "camera_optical_frame")
    depths.publish(messages.image(np.full((24, 32), 3000, np.uint16), header))
    peer.spin_until(lambda: node.mapping.sensors._depths, "the depth")
    peer.publish(image(0), SECOND)
    peer.spin_until(lambda: peer.received["depth"], "depth")
    assert np.nanmedian(np.frombuffer(peer.received["depth"][-1].data, np.float32)) == pytest.approx(
        3.0, rel=1e-3
    )
