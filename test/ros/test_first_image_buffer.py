# SPDX-License-Identifier: Apache-2.0
"""The first image is held until CameraInfo arrives, for one second at most."""

from __future__ import annotations

import time

import pytest
import rclpy
from fakes import FOCAL, HEIGHT, WIDTH, FakeBackend, image
from graph import SECOND, map_images, wait_for_connection
from sensor_msgs.msg import CameraInfo
from std_srvs.srv import Trigger

from ttt3r_ros.ros import first_image_buffer
from ttt3r_ros.ros.qos import LATCHED

pytestmark = pytest.mark.ros


@pytest.fixture
def _no_timeout(monkeypatch):
    monkeypatch.setattr(first_image_buffer, "CAMERA_INFO_TIMEOUT_S", 3600.0)


def camera_info():
    info = CameraInfo(width=WIDTH, height=HEIGHT, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k = [40.0, 0.0, (WIDTH - 1) / 2, 0.0, 40.0, (HEIGHT - 1) / 2, 0.0, 0.0, 1.0]
    return info


def wait_for_camera_info(peer):
    peer.subscribe("pose", "depth_info")
    peer.subscribe_to_diagnostics()
    peer.spin_until(peer.camera_infos.get_subscription_count, "a subscriber of camera_info")
    wait_for_connection(peer)


def publish_held_image(node, peer):
    peer.publish(image(0), SECOND)
    peer.spin_until(lambda: node.mapping.subscribers[0].is_holding, "a held image")


@pytest.mark.usefixtures("_no_timeout")
def test_an_image_received_before_its_calibration_is_mapped_with_it(start):
    node, peer = start()
    wait_for_camera_info(peer)
    publish_held_image(node, peer)
    assert not peer.received["pose"]
    peer.camera_infos.publish(camera_info())
    peer.spin_until(lambda: peer.received["depth_info"], "the first depth image")
    assert peer.received["depth_info"][0].k[0] == pytest.approx(40.0)


@pytest.mark.usefixtures("_no_timeout")
def test_later_images_do_not_overtake_the_held_image_and_none_is_lost(start):
    backend = FakeBackend()
    node, peer = start(backend, queue_policy="keep_all")
    wait_for_camera_info(peer)
    publish_held_image(node, peer)
    for index in range(1, 4):
        peer.publish(image(index), SECOND + index * SECOND // 10)
    peer.camera_infos.publish(camera_info())
    peer.spin_until(lambda: peer.count("processed") == 4, "all four")
    assert [mark for mark, _ in backend.shown] == [0, 1, 2, 3]
    assert (peer.count("received"), peer.count("lost")) == (4, 0)
    assert {info.k[0] for info in peer.received["depth_info"]} == {40.0}


@pytest.mark.usefixtures("_no_timeout")
def test_a_calibration_latched_before_the_start_of_the_node_is_received(start, executor, context):
    driver = rclpy.create_node("driver", context=context)
    executor.add_node(driver)
    driver.create_publisher(CameraInfo, "camera_info", LATCHED).publish(camera_info())
    node, peer = start()
    peer.subscribe("pose", "depth_info")
    wait_for_connection(peer)
    peer.spin_until(lambda: node.mapping.subscribers[0].is_calibrated, "the calibration")
    map_images(peer, 1)
    peer.spin_until(lambda: peer.received["depth_info"], "the first depth image")
    assert peer.received["depth_info"][0].k[0] == pytest.approx(40.0)
    driver.destroy_node()


@pytest.mark.usefixtures("_no_timeout")
def test_an_uncalibrated_camera_info_releases_the_held_image(start):
    node, peer = start()
    wait_for_camera_info(peer)
    publish_held_image(node, peer)
    peer.camera_infos.publish(CameraInfo(width=WIDTH, height=HEIGHT))
    peer.spin_until(lambda: peer.received["depth_info"], "the first depth image")
    assert peer.received["depth_info"][0].k[0] == pytest.approx(FOCAL)


def test_without_a_message_of_the_publisher_one_image_is_held_for_a_second(start, monkeypatch):
    _, peer = start()
    wait_for_camera_info(peer)
    published = time.monotonic()
    peer.publish(image(0), SECOND)
    peer.spin_until(lambda: peer.received["depth_info"], "the first depth image")
    assert time.monotonic() - published >= 0.9 * first_image_buffer.CAMERA_INFO_TIMEOUT_S
    assert peer.received["depth_info"][0].k[0] == pytest.approx(FOCAL)
    monkeypatch.setattr(first_image_buffer, "CAMERA_INFO_TIMEOUT_S", 3600.0)
    map_images(peer, 1, 2 * SECOND)


@pytest.mark.usefixtures("_no_timeout")
def test_without_a_camera_info_publisher_no_image_is_held(start):
    _, peer = start()
    peer.subscribe("pose")
    wait_for_connection(peer)
    map_images(peer, 1)


@pytest.mark.usefixtures("_no_timeout")
def test_an_image_held_at_deactivation_counts_as_dropped(start):
    node, peer = start()
    wait_for_camera_info(peer)
    publish_held_image(node, peer)
    node.trigger_deactivate()
    peer.spin_until(lambda: peer.count("received") == 1, "its count")
    peer.spin_until(lambda: peer.count("dropped") == 1, "the count of dropped")


@pytest.mark.usefixtures("_no_timeout")
@pytest.mark.parametrize("services", [["reset"], ["pause", "resume"]])
def test_reset_and_pause_drop_the_held_image(start, services):
    backend = FakeBackend()
    node, peer = start(backend)
    wait_for_camera_info(peer)
    publish_held_image(node, peer)
    for service in services:
        assert peer.call(service).success
    assert not node.mapping.subscribers[0].is_holding
    peer.camera_infos.publish(camera_info())
    peer.publish(image(1), 2 * SECOND)
    peer.spin_until(lambda: peer.count("processed") == 1, "the next image")
    assert ([mark for mark, _ in backend.shown], peer.count("dropped")) == ([1], 1)


@pytest.mark.usefixtures("_no_timeout")
def test_with_queue_policy_keep_all_a_save_waits_for_the_held_image(start):
    node, peer = start(queue_policy="keep_all")
    wait_for_camera_info(peer)
    peer.call("save_trajectory")  # client and server have discovered each other
    publish_held_image(node, peer)
    response = peer.clients["save_trajectory"].call_async(Trigger.Request())
    count = len(peer.received["diagnostics"])
    peer.spin_until(lambda: len(peer.received["diagnostics"]) > count + 2, "two more diagnostics")
    assert not response.done()
    peer.camera_infos.publish(camera_info())
    peer.spin_until(response.done, "a response")
    assert response.result().message.startswith("1 poses")
