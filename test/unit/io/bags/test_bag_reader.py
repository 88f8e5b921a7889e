# SPDX-License-Identifier: Apache-2.0
"""Topics, calibration and images of bags."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from bag_recording import (
    COMPRESSED,
    HEIGHT,
    IMAGE,
    INFO,
    POSE,
    ROS2,
    WIDTH,
    camera_info,
    images,
    make_header,
    make_message,
    pixels,
    png,
    pose,
    raw_image,
    record,
    storage_file,
)
from rosbags.rosbag2 import StoragePlugin, Writer

from ttt3r_ros.errors import AmbiguousSource, SourceError
from ttt3r_ros.io.bags.reader import Bag
from ttt3r_ros.io.sources import SourceOptions, open_source

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("plugin", list(StoragePlugin), ids=lambda plugin: plugin.name)
def test_padded_images_are_read_with_stamp_frame_calibration_and_poses(
    tmp_path: Path, plugin: StoragePlugin
) -> None:
    extras = [("/cam/camera_info", INFO, camera_info())]
    extras += [("/ground_truth/pose", POSE, pose(k)) for k in range(2)]
    bag = Bag(record(tmp_path / "bag", images() + extras, plugin))
    frames = list(bag.frames())
    assert (len(bag), bag.image_topic) == (3, "/cam/image_raw")
    for k, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.rgb, pixels(k))
        assert (frame.stamp_ns, frame.camera_frame) == (1785000000 * 10**9 + k, "left_optical")
    camera = frames[0].intrinsics
    assert camera is not None
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (30.0, 31.0, 3.5, 2.5)
    assert (camera.width, camera.height, camera.distortion_model) == (WIDTH, HEIGHT, "plumb_bob")
    assert camera.distortion == (0.1, -0.2, 0.0, 0.0, 0.0)
    (_, first), (stamp_ns, second) = bag.ground_truth()
    assert stamp_ns == 1785000000 * 10**9 + 1
    np.testing.assert_allclose(second[:3, 3] - first[:3, 3], [1, 0, 0])
    np.testing.assert_allclose(second[:3, :3] @ (1, 0, 0), [0, 1, 0], atol=1e-12)


def test_compressed_images_have_the_calibration_one_namespace_up(tmp_path: Path) -> None:
    messages = [("/cam/image_raw/compressed", COMPRESSED, png(k)) for k in range(2)]
    bag = Bag(record(tmp_path / "bag", [*messages, ("/cam/camera_info", INFO, camera_info())]))
    frames = list(bag.frames())
    np.testing.assert_array_equal([frame.rgb for frame in frames], [pixels(0), pixels(1)])
    assert frames[0].intrinsics is not None


def test_images_alone_have_no_calibration_and_no_poses(tmp_path: Path) -> None:
    bag = Bag(record(tmp_path / "bag", images()))
    assert next(iter(bag.frames())).intrinsics is None
    assert bag.ground_truth() == []


def test_a_calibration_of_zeros_or_of_another_camera_is_ignored(tmp_path: Path) -> None:
    extras = [
        ("/other/camera_info", INFO, camera_info()),
        ("/cam/camera_info", INFO, camera_info(fx=0.0)),
    ]
    assert next(iter(Bag(record(tmp_path / "bag", images() + extras)).frames())).intrinsics is None


def test_a_bag_without_message_definitions_is_read_with_those_of_humble(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", images())
    with closing(sqlite3.connect(next(path.glob("*.db3")))) as database:
        database.execute("DELETE FROM message_definitions")
        database.commit()
    np.testing.assert_array_equal(next(iter(Bag(path).frames())).rgb, pixels(0))


def test_several_image_topics_are_ambiguous(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", images("/left/image", 2) + images("/right/image", 3))
    with pytest.raises(AmbiguousSource, match=r"/left/image, /right/image") as caught:
        Bag(path)
    assert (caught.value.choices, caught.value.kind) == (["/left/image", "/right/image"], "image topic")
    assert len(open_source(str(path), SourceOptions(topic="/left/image"))) == 2
    assert len(list(Bag(path, "/right/image").frames())) == len(Bag(path, "/right/image")) == 3


def test_the_error_of_a_missing_topic_lists_the_image_topics(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", images())
    with pytest.raises(SourceError, match=r"no image topic /front \(image topics: /cam/image_raw\)"):
        Bag(path, "/front")


def test_the_error_of_a_bag_without_images_lists_its_topics(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", [("/cam/camera_info", INFO, camera_info())])
    with pytest.raises(SourceError, match=r"has no image topic \(its topics: /cam/camera_info\)"):
        Bag(path)


def test_invalid_images_are_skipped_with_topic_and_stamp(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    invalid = [{"encoding": "32FC1"}, {"step": 5}, {"data": np.zeros(7, np.uint8)}]
    others = [raw_image(k, **changes) for k, changes in enumerate(invalid, start=1)]
    bag = Bag(
        record(tmp_path / "bag", [*images(count=1), *[("/cam/image_raw", IMAGE, m) for m in others]])
    )
    assert (len(list(bag.frames())), bag.skipped) == (1, 3)
    for k in (1, 2, 3):
        assert f"/cam/image_raw at 178500000000000000{k} is skipped: " in caplog.text


def test_a_bag_without_a_valid_image_is_an_error(tmp_path: Path) -> None:
    bag = record(tmp_path / "bag", [("/cam/image_raw", IMAGE, raw_image(1, encoding="32FC1"))])
    with pytest.raises(SourceError, match=r"bag: none of 1 images on /cam/image_raw can be decoded"):
        list(Bag(bag).frames())


def test_a_damaged_message_is_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = record(tmp_path / "bag", images())
    with closing(sqlite3.connect(storage_file(path))) as database:
        database.execute("UPDATE messages SET data = substr(data, 1, 40) WHERE id = 2")
        database.commit()
    bag = Bag(path)
    assert ([frame.stamp_ns % 10 for frame in bag.frames()], bag.skipped) == ([0, 2], 1)
    assert "a message of /cam/image_raw is damaged and skipped" in caplog.text


def test_depth_and_compressed_copies_do_not_count_as_cameras(tmp_path: Path) -> None:
    depth = raw_image(0, encoding="16UC1", step=2 * WIDTH, data=np.zeros(2 * WIDTH * HEIGHT, np.uint8))
    floats = raw_image(0, encoding="32FC1", step=4 * WIDTH, data=np.zeros(4 * WIDTH * HEIGHT, np.uint8))
    packed = make_message(
        COMPRESSED, header=make_header(0), format="16UC1; compressedDepth", data=np.zeros(9, np.uint8)
    )
    others = [
        ("/cam/image_raw/compressed", COMPRESSED, png(0)),
        ("/cam/depth/image_rect_raw", IMAGE, depth),
        ("/cam/range", IMAGE, floats),
        ("/cam/depth/image_rect_raw/compressedDepth", COMPRESSED, packed),
    ]
    bag = Bag(record(tmp_path / "bag", others + images()))
    assert (bag.image_topic, len(list(bag.frames()))) == ("/cam/image_raw", 3)


def gray16_png(k: int, image_format: str) -> Any:
    data = cv2.imencode(".png", np.full((HEIGHT, WIDTH), 1000 + k, np.uint16))[1].ravel()
    return make_message(COMPRESSED, header=make_header(k), format=image_format, data=data)


@pytest.mark.parametrize(
    "image_format", ["png", "16UC1; png compressed ", "16UC1; png compressed 16UC1"]
)
def test_a_16_bit_png_does_not_count_as_a_camera(tmp_path: Path, image_format: str) -> None:
    depth = [("/cam/aligned/compressed", COMPRESSED, gray16_png(k, image_format)) for k in range(3)]
    color = [("/cam/color/compressed", COMPRESSED, png(k)) for k in range(3)]
    assert Bag(record(tmp_path / "bag", depth + color)).image_topic == "/cam/color/compressed"
    thermal = [
        ("/thermal/compressed", COMPRESSED, gray16_png(k, "mono16; png compressed ")) for k in range(3)
    ]
    with pytest.raises(AmbiguousSource):
        Bag(record(tmp_path / "two", thermal + color))


def test_topics_without_messages_do_not_hide_those_with_messages(tmp_path: Path) -> None:
    for plugin in StoragePlugin:
        with Writer(tmp_path / plugin.name, version=8, storage_plugin=plugin) as writer:
            for topic in ("/empty/image_raw", "/other/image_raw", "/cam/image"):
                connection = writer.add_connection(topic, IMAGE, typestore=ROS2)
            writer.add_connection("/cam/image/compressed", COMPRESSED, typestore=ROS2)
            for k in range(3):
                writer.write(connection, k, ROS2.serialize_cdr(raw_image(k), IMAGE))
        bag = Bag(tmp_path / plugin.name)
        assert (bag.image_topic, len(list(bag.frames()))) == ("/cam/image", 3)


def test_an_empty_topic_does_not_hide_its_compressed_copy(tmp_path: Path) -> None:
    with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.add_connection("/cam/image", IMAGE, typestore=ROS2)
        connection = writer.add_connection("/cam/image/compressed", COMPRESSED, typestore=ROS2)
        writer.write(connection, 0, ROS2.serialize_cdr(png(0), COMPRESSED))
    assert Bag(tmp_path / "bag").image_topic == "/cam/image/compressed"


def test_a_16_bit_gray_topic_is_a_camera(tmp_path: Path) -> None:
    gray = raw_image(0, encoding="mono16", step=2 * WIDTH, data=np.zeros(2 * WIDTH * HEIGHT, np.uint8))
    assert len(list(Bag(record(tmp_path / "bag", [("/thermal/image", IMAGE, gray)])).frames())) == 1


def test_another_calibration_topic_can_be_selected(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", [("/info", INFO, camera_info(fx=44.0)), *images()])
    assert next(iter(Bag(path).frames())).intrinsics is None
    options = SourceOptions(camera_info_topic="/info")
    frame = next(iter(open_source(str(path), options).frames()))
    assert frame.intrinsics is not None
    assert frame.intrinsics.fx == 44.0
    with pytest.raises(SourceError, match=r"no CameraInfo topic /none \(CameraInfo topics: /info\)"):
        Bag(path, camera_info_topic="/none")


def test_an_image_has_the_last_calibration_before_it(tmp_path: Path) -> None:
    first, second, third = images()
    changing = [
        first,
        ("/cam/camera_info", INFO, camera_info(fx=30.0)),
        second,
        ("/cam/camera_info", INFO, camera_info(fx=60.0)),
        third,
    ]
    frames = Bag(record(tmp_path / "bag", changing)).frames()
    assert [frame.intrinsics.fx for frame in frames if frame.intrinsics] == [30.0, 30.0, 60.0]


def test_frames_that_are_not_selected_are_not_decoded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    messages = images(count=5)
    messages[1] = ("/cam/image_raw", IMAGE, raw_image(1, encoding="32FC1"))
    bag = open_source(str(record(tmp_path / "bag", messages)), SourceOptions(stride=2, max_frames=2))
    assert [frame.stamp_ns % 10 for frame in bag.frames()] == [0, 2]
    assert (len(bag), bag.skipped, bag.name, caplog.text) == (2, 0, "bag", "")
