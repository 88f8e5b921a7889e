# SPDX-License-Identifier: Apache-2.0
"""The first image of a camera waits for a calibration that somebody publishes, but not for ever."""

from __future__ import annotations

import time

import pytest
from fakes import FOCAL, HEIGHT, WIDTH, FakeBackend, image
from graph import SECOND, map_images, wait_for_connection
from sensor_msgs.msg import CameraInfo
from std_srvs.srv import Trigger

from ttt3r_ros.ros import first_image_buffer

pytestmark = pytest.mark.ros


@pytest.fixture
def _endless_patience(monkeypatch):
    monkeypatch.setattr(first_image_buffer, "CAMERA_INFO_TIMEOUT_S", 3600.0)


def calibration():
    info = CameraInfo(width=WIDTH, height=HEIGHT, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k = [40.0, 0.0, (WIDTH - 1) / 2, 0.0, 40.0, (HEIGHT - 1) / 2, 0.0, 0.0, 1.0]
    return info


def publishes_calibrations(peer):
    peer.subscribe("pose", "depth_info")
    peer.subscribe_to_diagnostics()
    peer.spin_until(peer.camera_infos.get_subscription_count, "a subscriber to the calibration")
    wait_for_connection(peer)


def hold(node, peer):
    peer.publish(image(0), SECOND)
    peer.spin_until(lambda: node.mapping.subscribers[0].is_holding, "an image that waits")


@pytest.mark.usefixtures("_endless_patience")
def test_an_image_that_comes_before_its_calibration_is_mapped_with_it(start):
    node, peer = start()
    publishes_calibrations(peer)
    hold(node, peer)
    assert not peer.received["pose"]
    peer.camera_infos.publish(calibration())
    peer.spin_until(lambda: peer.received["depth_info"], "the first depth image")
    assert peer.received["depth_info"][0].k[0] == pytest.approx(40.0)


@pytest.mark.usefixtures("_endless_patience")
def test_what_follows_the_first_image_does_not_overtake_it_and_nothing_is_lost(start):
    backend = FakeBackend()
    node, peer = start(backend, queue_policy="keep_all")
    publishes_calibrations(peer)
    hold(node, peer)
    for index in range(1, 4):
        peer.publish(image(index), SECOND + index * SECOND // 10)
    peer.camera_infos.publish(calibration())
    peer.spin_until(lambda: peer.count("processed") == 4, "all four")
    assert [mark for mark, _ in backend.shown] == [0, 1, 2, 3]
    assert (peer.count("received"), peer.count("lost")) == (4, 0)
    assert {info.k[0] for info in peer.received["depth_info"]} == {40.0}


@pytest.mark.usefixtures("_endless_patience")
def test_the_word_that_a_camera_has_no_calibration_is_waited_for_no_longer(start):
    node, peer = start()
    publishes_calibrations(peer)
    hold(node, peer)
    peer.camera_infos.publish(CameraInfo(width=WIDTH, height=HEIGHT))
    peer.spin_until(lambda: peer.received["depth_info"], "the first depth image")
    assert peer.received["depth_info"][0].k[0] == pytest.approx(FOCAL)


def test_a_publisher_of_calibrations_that_never_sends_one_holds_one_image_for_a_second(
    start, monkeypatch
):
    _, peer = start()
    publishes_calibrations(peer)
    published = time.monotonic()
    peer.publish(image(0), SECOND)
    peer.spin_until(lambda: peer.received["depth_info"], "the first depth image")
    assert time.monotonic() - published >= 0.9 * first_image_buffer.CAMERA_INFO_TIMEOUT_S
    assert peer.received["depth_info"][0].k[0] == pytest.approx(FOCAL)
    monkeypatch.setattr(first_image_buffer, "CAMERA_INFO_TIMEOUT_S", 3600.0)
    map_images(peer, 1, 2 * SECOND)


@pytest.mark.usefixtures("_endless_patience")
def test_where_nobody_publishes_calibrations_the_first_image_waits_for_none(start):
    _, peer = start()
    peer.subscribe("pose")
    wait_for_connection(peer)
    map_images(peer, 1)


@pytest.mark.usefixtures("_endless_patience")
def test_an_image_that_still_waits_when_the_node_is_deactivated_counts_as_dropped(start):
    node, peer = start()
    publishes_calibrations(peer)
    hold(node, peer)
    node.trigger_deactivate()
    peer.spin_until(lambda: peer.count("received") == 1, "its count")
    peer.spin_until(lambda: peer.count("dropped") == 1, "what became of it")


@pytest.mark.usefixtures("_endless_patience")
@pytest.mark.parametrize("services", [["reset"], ["pause", "resume"]])
def test_an_image_that_waits_is_dropped_with_the_frames_under_way(start, services):
    backend = FakeBackend()
    node, peer = start(backend)
    publishes_calibrations(peer)
    hold(node, peer)
    for service in services:
        assert peer.call(service).success
    assert not node.mapping.subscribers[0].is_holding
    peer.camera_infos.publish(calibration())
    peer.publish(image(1), 2 * SECOND)
    peer.spin_until(lambda: peer.count("processed") == 1, "the next image")
    assert ([mark for mark, _ in backend.shown], peer.count("dropped")) == ([1], 1)


@pytest.mark.usefixtures("_endless_patience")
def test_with_queue_policy_keep_all_a_service_waits_for_the_image_that_waits(start):
    node, peer = start(queue_policy="keep_all")
    publishes_calibrations(peer)
    peer.call("save_trajectory")  # client and server know each other from here on
    hold(node, peer)
    answer = peer.clients["save_trajectory"].call_async(Trigger.Request())
    heard = len(peer.received["diagnostics"])
    peer.spin_until(lambda: len(peer.received["diagnostics"]) > heard + 2, "some time")
    assert not answer.done()
    peer.camera_infos.publish(calibration())
    peer.spin_until(answer.done, "an answer")
    assert answer.result().message.startswith("1 poses")
