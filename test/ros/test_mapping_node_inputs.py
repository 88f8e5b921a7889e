# SPDX-License-Identifier: Apache-2.0
"""Refused, skipped and dropped images, and errors; a node in this process with a fake backend, over DDS."""

from __future__ import annotations

import array
import threading

import numpy as np
import pytest
import rclpy
from fakes import FOCAL, HEIGHT, WIDTH, BlockingBackend, FakeBackend, image
from graph import FRAME_ID, SECOND, jump_back, map_images, wait_for_connection
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ttt3r_ros.errors import ConfigError
from ttt3r_ros.io.export.point_cloud import read_ply
from ttt3r_ros.io.trajectory_files import read_tum
from ttt3r_ros.ros import messages

pytestmark = pytest.mark.ros


BAD_IMAGES = {
    "unknown encoding": Image(
        encoding="jpeg2000", width=4, height=4, step=4, data=array.array("B", bytes(16))
    ),
    "floats": Image(encoding="32FC1", width=2, height=2, step=8, data=array.array("B", bytes(16))),
    "step too small": Image(
        encoding="rgb8", width=4, height=4, step=4, data=array.array("B", bytes(16))
    ),
    "data too short": Image(
        encoding="rgb8", width=4, height=4, step=12, data=array.array("B", bytes(40))
    ),
    "zero size": Image(encoding="rgb8", width=0, height=0, step=0),
}


@pytest.mark.parametrize("bad", BAD_IMAGES.values(), ids=BAD_IMAGES.keys())
def test_a_bad_image_is_refused_and_the_next_good_one_is_mapped(start, bad):
    _, peer = start()
    peer.subscribe("pose")
    peer.subscribe_to_diagnostics()
    wait_for_connection(peer)
    bad.header.stamp = messages.make_stamp(SECOND)
    peer.images.publish(bad)
    peer.spin_until(lambda: peer.count("refused") == 1, "the refusal")
    map_images(peer, 1, 2 * SECOND)
    peer.spin_until(lambda: peer.count("processed") == 1, "the count")
    assert peer.count("received") == 2
    assert peer.diagnostics()["level"] == "WARN"


def test_a_corrupt_jpeg_is_refused_and_the_next_good_one_is_mapped(start):
    _, peer = start(image_transport="compressed")
    peer.subscribe("pose")
    peer.subscribe_to_diagnostics()
    peer.wait_for_outputs("pose")
    peer.spin_until(peer.compressed.get_subscription_count, "a subscriber to compressed images")
    broken = CompressedImage(format="jpeg", data=array.array("B", b"\xff\xd8\xff\xe0 no picture"))
    peer.compressed.publish(broken)
    peer.spin_until(lambda: peer.count("refused") == 1, "the refusal")
    peer.compressed.publish(messages.jpeg_image(image(1), messages.make_header(SECOND, FRAME_ID)))
    peer.spin_until(lambda: peer.received["pose"], "a pose")


@pytest.mark.parametrize("value", [0, 255])
def test_an_image_of_one_color_is_skipped_and_does_not_change_the_state(start, value):
    backend = FakeBackend()
    _, peer = start(backend)
    peer.subscribe("pose")
    peer.subscribe_to_diagnostics()
    wait_for_connection(peer)
    peer.publish(np.full((2 * HEIGHT, 2 * WIDTH, 3), value, np.uint8), SECOND)
    peer.spin_until(lambda: peer.count("skipped") == 1, "the skip")
    map_images(peer, 1, 2 * SECOND)
    assert backend.shown == [(0, 0)]


def test_a_non_finite_output_is_skipped_and_does_not_change_the_state(start):
    backend = FakeBackend()
    _, peer = start(backend)
    peer.subscribe("pose")
    peer.subscribe_to_diagnostics()
    wait_for_connection(peer)
    map_images(peer, 1)
    peer.publish(image(13), 2 * SECOND)
    peer.spin_until(lambda: peer.count("skipped") == 1, "the skip")
    map_images(peer, 1, 3 * SECOND)
    assert backend.shown == [(0, 0), (0, 1)]


def test_a_stamp_that_repeats_is_refused(start):
    _, peer = start()
    peer.subscribe("pose")
    peer.subscribe_to_diagnostics()
    wait_for_connection(peer)
    map_images(peer, 1, 5 * SECOND)
    peer.publish(image(1), 5 * SECOND)
    peer.spin_until(lambda: peer.count("refused") == 1, "the refusal")
    map_images(peer, 1, 6 * SECOND)


def test_a_jump_back_in_time_saves_the_map_and_starts_a_new_one(start, tmp_path):
    node, peer = start()
    peer.subscribe("pose")
    peer.subscribe_to_diagnostics()
    wait_for_connection(peer)
    map_images(peer, 3, 100 * SECOND)
    jump_back(peer)
    assert peer.received["pose"][-1].pose.position.x == pytest.approx(0.0)
    assert len(node.mapping.bodies[0].reconstructor.trajectory) == 1
    stamp = 100 * SECOND + 2 * SECOND // 10
    assert len(read_tum(tmp_path / f"trajectory_until_{stamp}.txt")) == 3
    assert len(read_ply(tmp_path / f"map_until_{stamp}.ply")[0]) > 0


def test_one_stray_stamp_does_not_reset_the_map(start):
    node, peer = start()
    peer.subscribe("pose")
    peer.subscribe_to_diagnostics()
    wait_for_connection(peer)
    map_images(peer, 2)
    peer.publish(image(1), 3600 * SECOND)
    peer.spin_until(lambda: peer.count("refused") == 1, "the refusal")
    map_images(peer, 1, 2 * SECOND)
    assert peer.received["pose"][-1].pose.position.x == pytest.approx(2.0)
    assert len(node.mapping.bodies[0].reconstructor.trajectory) == 3


def test_an_empty_map_is_published_after_reset(start):
    _, peer = start()
    peer.subscribe("pose")
    peer.subscribe_to_map()
    wait_for_connection(peer)
    map_images(peer, 2)
    peer.spin_until(lambda: peer.received["map"] and peer.received["map"][-1].width > 0, "the map")
    peer.call("reset")
    peer.spin_until(lambda: peer.received["map"][-1].width == 0, "the empty map")


def test_there_is_no_map_before_the_first_image(start):
    _, peer = start()
    peer.subscribe_to_map()
    peer.subscribe_to_diagnostics()
    peer.spin_until(lambda: len(peer.received["diagnostics"]) > 4, "two more diagnostics")
    assert not peer.received["map"]


def test_a_calibration_of_nan_is_ignored(start):
    node, peer = start()
    peer.subscribe("pose", "depth_info")
    wait_for_connection(peer)
    peer.spin_until(peer.camera_infos.get_subscription_count, "a subscriber of camera_info")
    info = CameraInfo(width=2 * WIDTH, height=2 * HEIGHT)
    info.k = [float("nan"), 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]
    peer.camera_infos.publish(info)
    peer.spin_until(lambda: node.mapping.subscribers[0].is_calibrated, "the message")
    map_images(peer, 1)
    peer.spin_until(lambda: peer.received["depth_info"], "camera info")
    assert peer.received["depth_info"][-1].k[0] == pytest.approx(FOCAL)
    assert [text for text in node.mapping.subscribers[0]._camera.warnings if "K has fx" in text]


def test_an_output_directory_of_an_unknown_user_is_refused_at_the_start(start):
    with pytest.raises(ConfigError, match=r"~nosuchuser"):
        start(output_directory="~nosuchuser/maps")


def test_qos_names_may_be_in_capitals(start):
    node, _ = start(image_qos="SENSOR_DATA")
    assert node.config.image_qos == "sensor_data"


def test_diagnostics_recover_after_a_bad_image_and_report_missing_images(start, monkeypatch):
    from ttt3r_ros.ros import statistics

    monkeypatch.setattr(statistics, "PROBLEM_WINDOW_S", 0.5)
    _, peer = start()
    peer.subscribe("pose")
    peer.subscribe_to_diagnostics()
    wait_for_connection(peer)
    bad = Image(encoding="nonsense", width=1, height=1, step=1, data=array.array("B", b"0"))
    peer.images.publish(bad)
    peer.spin_until(lambda: peer.diagnostics().get("level") == "WARN", "the warning")
    map_images(peer, 1)
    peer.spin_until(lambda: peer.diagnostics()["level"] == "OK", "recovery")
    assert float(peer.diagnostics()["latency_ms"]) > 0
    peer.spin_until(lambda: peer.diagnostics()["level"] == "STALE", "the end of images")


def test_a_change_of_resolution_does_not_stop_the_mapping(start):
    _, peer = start()
    peer.subscribe("pose")
    wait_for_connection(peer)
    map_images(peer, 1)
    peer.publish(image(1, height=50, width=70), 9 * SECOND)
    peer.spin_until(lambda: len(peer.received["pose"]) == 2, "the second pose")


def test_an_unexpected_exception_of_the_backend_shuts_the_node_down(start, context):
    class FailingBackend(FakeBackend):
        def step(self, rgb, state):
            msg = "out of memory"
            raise RuntimeError(msg)

    node, peer = start(FailingBackend())
    peer.wait_for_subscriber()
    peer.publish(image(1), SECOND)

    def ended() -> bool:
        return not context.ok()

    with pytest.raises((rclpy.executors.ExternalShutdownException, rclpy._rclpy_pybind11.RCLError)):
        peer.spin_until(lambda: False if context.ok() else peer.executor.spin_once(0.1), "the end")
    assert ended()
    assert str(node.failure) == "out of memory"


def test_an_invalid_parameter_is_refused_with_its_name_and_range(start):
    with pytest.raises(ConfigError, match=r"map\.voxel_size.*10"):
        start(**{"map.voxel_size": -1.0})
    with pytest.raises(ConfigError, match=r"update_rule.*'magic'.*ttt3r, cut3r"):
        start(update_rule="magic")


def test_every_parameter_has_a_description_and_cannot_be_changed_while_running(start):
    node, _ = start()
    names = [
        name
        for name in node.get_parameters_by_prefix("")
        if not name.startswith(("use_sim", "start_type"))
    ]
    assert "map.voxel_size" in names
    for name in names:
        described = node.describe_parameter(name)
        assert described.description, name
    result = node.set_parameters([Parameter("map.voxel_size", value=0.2)])[0]
    assert not result.successful


def test_a_frame_queued_before_a_reset_is_not_in_the_new_map(start):
    backend = BlockingBackend()
    node, peer = start(backend)
    peer.subscribe("pose")
    peer.subscribe_to_diagnostics()
    wait_for_connection(peer)
    peer.publish(image(0), SECOND)
    peer.spin_until(backend.entered.is_set, "the first step")
    peer.publish(image(1), 2 * SECOND)
    peer.spin_until(lambda: peer.count("received") == 2, "the queued frame")
    resetting = threading.Thread(target=node.mapping.reset)
    resetting.start()
    backend.released.set()
    resetting.join(30.0)
    peer.spin_until(lambda: peer.count("processed") + peer.count("dropped") >= 2, "both counts")
    map_images(peer, 1, 3 * SECOND)
    # The queued frame was mapped with the old state, before the reset, or dropped.
    assert backend.shown in ([(0, 0), (0, 0)], [(0, 0), (1, 1), (0, 0)])
    assert len(node.mapping.bodies[0].reconstructor.trajectory) == 1


def test_under_overload_the_newest_image_is_mapped_and_the_others_are_counted(start):
    backend = BlockingBackend()
    _, peer = start(backend)
    peer.subscribe("pose")
    peer.subscribe_to_diagnostics()
    wait_for_connection(peer)
    for index in range(6):
        peer.publish(image(index), (index + 1) * SECOND)
        peer.spin_until(lambda index=index: peer.count("received") == index + 1, f"image {index}")
        peer.spin_until(backend.entered.is_set, "the first step")
    backend.released.set()
    peer.spin_until(lambda: peer.count("processed") == 2, "the end")
    assert [mark for mark, _ in backend.shown] == [0, 5]
    assert peer.count("dropped") == 4
