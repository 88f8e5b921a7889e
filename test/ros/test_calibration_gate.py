# SPDX-License-Identifier: Apache-2.0
"""The first image of a camera waits for a calibration that somebody publishes, but not for ever."""

from __future__ import annotations

import time

import pytest
from fakes import FOCAL, HEIGHT, WIDTH, FakeBackend, image
from graph import SECOND, connected, walk
from sensor_msgs.msg import CameraInfo
from std_srvs.srv import Trigger

from ttt3r_ros.ros import calibration_gate

pytestmark = pytest.mark.ros


@pytest.fixture
def _endless_patience(monkeypatch):
    monkeypatch.setattr(calibration_gate, "CAMERA_INFO_TIMEOUT_S", 3600.0)


def calibration():
    info = CameraInfo(width=WIDTH, height=HEIGHT, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k = [40.0, 0.0, (WIDTH - 1) / 2, 0.0, 40.0, (HEIGHT - 1) / 2, 0.0, 0.0, 1.0]
    return info


def publishes_calibrations(bench):
    bench.listen("pose", "depth_info")
    bench.listen_to_diagnostics()
    bench.spin_until(bench.infos.get_subscription_count, "a subscriber to the calibration")
    connected(bench)


def hold(node, bench):
    bench.publish(image(0), SECOND)
    bench.spin_until(lambda: node.mapping.subscribers[0].is_holding, "an image that waits")


@pytest.mark.usefixtures("_endless_patience")
def test_an_image_that_comes_before_its_calibration_is_mapped_with_it(start):
    node, bench = start()
    publishes_calibrations(bench)
    hold(node, bench)
    assert not bench.got["pose"]
    bench.infos.publish(calibration())
    bench.spin_until(lambda: bench.got["depth_info"], "the first depth image")
    assert bench.got["depth_info"][0].k[0] == pytest.approx(40.0)


@pytest.mark.usefixtures("_endless_patience")
def test_what_follows_the_first_image_does_not_overtake_it_and_nothing_is_lost(start):
    backend = FakeBackend()
    node, bench = start(backend, queue_policy="keep_all")
    publishes_calibrations(bench)
    hold(node, bench)
    for index in range(1, 4):
        bench.publish(image(index), SECOND + index * SECOND // 10)
    bench.infos.publish(calibration())
    bench.spin_until(lambda: bench.count("processed") == 4, "all four")
    assert [mark for mark, _ in backend.shown] == [0, 1, 2, 3]
    assert (bench.count("received"), bench.count("lost")) == (4, 0)
    assert {info.k[0] for info in bench.got["depth_info"]} == {40.0}


@pytest.mark.usefixtures("_endless_patience")
def test_the_word_that_a_camera_has_no_calibration_is_waited_for_no_longer(start):
    node, bench = start()
    publishes_calibrations(bench)
    hold(node, bench)
    bench.infos.publish(CameraInfo(width=WIDTH, height=HEIGHT))
    bench.spin_until(lambda: bench.got["depth_info"], "the first depth image")
    assert bench.got["depth_info"][0].k[0] == pytest.approx(FOCAL)


def test_a_publisher_of_calibrations_that_never_sends_one_holds_one_image_for_a_second(
    start, monkeypatch
):
    _, bench = start()
    publishes_calibrations(bench)
    published = time.monotonic()
    bench.publish(image(0), SECOND)
    bench.spin_until(lambda: bench.got["depth_info"], "the first depth image")
    assert time.monotonic() - published >= 0.9 * calibration_gate.CAMERA_INFO_TIMEOUT_S
    assert bench.got["depth_info"][0].k[0] == pytest.approx(FOCAL)
    monkeypatch.setattr(calibration_gate, "CAMERA_INFO_TIMEOUT_S", 3600.0)
    walk(bench, 1, 2 * SECOND)


@pytest.mark.usefixtures("_endless_patience")
def test_where_nobody_publishes_calibrations_the_first_image_waits_for_none(start):
    _, bench = start()
    bench.listen("pose")
    connected(bench)
    walk(bench, 1)


@pytest.mark.usefixtures("_endless_patience")
def test_an_image_that_still_waits_when_the_node_is_deactivated_counts_as_dropped(start):
    node, bench = start()
    publishes_calibrations(bench)
    hold(node, bench)
    node.trigger_deactivate()
    bench.spin_until(lambda: bench.count("received") == 1, "its count")
    bench.spin_until(lambda: bench.count("dropped") == 1, "what became of it")


@pytest.mark.usefixtures("_endless_patience")
@pytest.mark.parametrize("services", [["reset"], ["pause", "resume"]])
def test_an_image_that_waits_is_dropped_with_the_frames_under_way(start, services):
    backend = FakeBackend()
    node, bench = start(backend)
    publishes_calibrations(bench)
    hold(node, bench)
    for service in services:
        assert bench.call(service).success
    assert not node.mapping.subscribers[0].is_holding
    bench.infos.publish(calibration())
    bench.publish(image(1), 2 * SECOND)
    bench.spin_until(lambda: bench.count("processed") == 1, "the next image")
    assert ([mark for mark, _ in backend.shown], bench.count("dropped")) == ([1], 1)


@pytest.mark.usefixtures("_endless_patience")
def test_with_queue_policy_keep_all_a_service_waits_for_the_image_that_waits(start):
    node, bench = start(queue_policy="keep_all")
    publishes_calibrations(bench)
    bench.call("save_trajectory")  # client and server know each other from here on
    hold(node, bench)
    answer = bench.clients["save_trajectory"].call_async(Trigger.Request())
    heard = len(bench.got["diagnostics"])
    bench.spin_until(lambda: len(bench.got["diagnostics"]) > heard + 2, "some time")
    assert not answer.done()
    bench.infos.publish(calibration())
    bench.spin_until(answer.done, "an answer")
    assert answer.result().message.startswith("1 poses")
