# SPDX-License-Identifier: Apache-2.0
"""Images whose headers have no stamps get their log times; damaged messages and repeated warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from bag_recording import (
    IMAGE,
    INFO,
    ROS2,
    camera_info,
    make_message,
    raw_image,
    tf,
)
from rosbags.rosbag2 import StoragePlugin, Writer

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.bags.reader import Bag
from ttt3r_ros.io.bags.stamps import ImageStamps

if TYPE_CHECKING:
    from pathlib import Path

TOPIC = "/cam/image_raw"
START_NS = 1_785_000_000_000_000_000
PERIOD_NS = 100_000_000


def log_ns(k: int) -> int:
    return START_NS + k * PERIOD_NS


def write_bag(path: Path, stamps_ns: list[int], log_times_ns: list[int] | None = None) -> Path:
    """Record images with these stamps in their headers."""
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        topic = writer.add_connection(TOPIC, IMAGE, typestore=ROS2)
        for k, stamp_ns in enumerate(stamps_ns):
            sec, nanosec = divmod(stamp_ns, 10**9)
            stamp = make_message("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)
            head = make_message("std_msgs/msg/Header", stamp=stamp, frame_id="camera")
            at = log_ns(k) if log_times_ns is None else log_times_ns[k]
            writer.write(topic, at, ROS2.serialize_cdr(raw_image(k, header=head), IMAGE))
    return path


def stamps_of(path: Path) -> list[int]:
    return [frame.stamp_ns for frame in Bag(path).frames()]


@pytest.mark.parametrize("stamp_ns", [0, 5, -1_000_000_000, START_NS], ids=str)
def test_log_times_replace_stamps_that_are_all_equal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, stamp_ns: int
) -> None:
    path = write_bag(tmp_path / "bag", [stamp_ns] * 30)
    assert stamps_of(path) == [log_ns(k) for k in range(30)]
    assert caplog.text.count("log times are used for all") == len(caplog.records) == 1


@pytest.mark.parametrize("zeros", [{0}, {0, 1, 2}, {4}, {7, 8, 9, 10, 11}, {29}], ids=str)
def test_a_zero_stamp_gets_the_log_time_in_the_clock_of_the_other_stamps(
    tmp_path: Path, zeros: set[int]
) -> None:
    clock_ns = 50_000_000_000  # since the boot of the camera
    stamps_ns = [0 if k in zeros else clock_ns + k * PERIOD_NS for k in range(30)]
    expected = [clock_ns + k * PERIOD_NS for k in range(30)]
    assert stamps_of(write_bag(tmp_path / "bag", stamps_ns)) == expected


def test_stamps_that_freeze_continue_with_log_times(tmp_path: Path) -> None:
    stamps_ns = [START_NS + min(k, 12) * PERIOD_NS for k in range(30)]
    found = stamps_of(write_bag(tmp_path / "bag", stamps_ns))
    assert found[:13] == [log_ns(k) for k in range(13)]
    assert found[14:] == [log_ns(k) for k in range(14, 30)]


def test_good_stamps_stay_as_they_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stamps_ns = [START_NS + k * 7 + (k % 3) for k in range(30)]
    stamps_ns[20] = stamps_ns[19]  # one image that repeats
    assert stamps_of(write_bag(tmp_path / "bag", stamps_ns)) == stamps_ns
    assert caplog.text == ""


def test_log_times_that_start_at_zero_do_not_become_a_stamp_of_zero() -> None:
    stamps = ImageStamps(TOPIC, [(0, 0), (0, 10)], lambda _: None)
    assert [stamps.stamp_ns(0, 0), stamps.stamp_ns(0, 10)] == [10**9, 10**9 + 10]


def test_equal_stamps_with_equal_log_times_are_an_error(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", [0] * 5, [7] * 5)
    with pytest.raises(
        SourceError, match=rf"{TOPIC}: the header stamps are all 0 ns and the log times all 7 ns"
    ):
        stamps_of(path)


def write_damaged(path: Path, topic: str, kind: str, messages: list[bytes]) -> Path:
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        image = writer.add_connection(TOPIC, IMAGE, typestore=ROS2)
        other = writer.add_connection(topic, kind, typestore=ROS2)
        for k, data in enumerate(messages):
            writer.write(other, k * 1000, data)
        for k in range(3):
            writer.write(image, 500 + k * 1000, ROS2.serialize_cdr(raw_image(k), IMAGE))
    return path


def test_damaged_calibrations_are_skipped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = bytes(ROS2.serialize_cdr(camera_info(fx=44.0), INFO))
    path = write_damaged(tmp_path / "bag", "/cam/camera_info", INFO, [good[:40], good, good[:9], b""])
    frames = list(Bag(path).frames())
    assert [frame.intrinsics.fx for frame in frames if frame.intrinsics] == [44.0] * 3
    assert "a message of /cam/camera_info is damaged and skipped" in caplog.text
    assert "more warnings like this" in caplog.text


def test_damaged_transforms_are_skipped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kind = "tf2_msgs/msg/TFMessage"
    good = bytes(ROS2.serialize_cdr(tf("base_link", "left_optical", 3, 0.5), kind))
    hostile = b"\x00\x01\x00\x00\xff\xff\xff\x7f"  # claims 2e9 transforms
    path = write_damaged(
        tmp_path / "bag", "/tf_static", kind, [good[:30], hostile, good, b"", b"\xff" * 60]
    )
    bag = Bag(path)
    transforms = bag.transforms()
    assert transforms is not None
    T = transforms.lookup("base_link", "left_optical", 3)
    assert T is not None
    assert T[0, 3] == 0.5
    assert "3 more warnings like this: a message of /tf_static is damaged" in caplog.text


def test_many_damaged_images_are_two_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "bag"
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        topic = writer.add_connection(TOPIC, IMAGE, typestore=ROS2)
        for k in range(1500):
            message = raw_image(k) if k == 700 else raw_image(k, step=k % 20)
            writer.write(topic, k * 1000, ROS2.serialize_cdr(message, IMAGE))
    bag = Bag(path)
    assert [frame.stamp_ns % 10**9 for frame in bag.frames()] == [700]
    assert bag.skipped == 1499
    assert len(caplog.records) == 2
    assert "1498 more" in caplog.text
