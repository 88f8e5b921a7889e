# SPDX-License-Identifier: Apache-2.0
"""Bags as image sequences."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.bags import Bag

if TYPE_CHECKING:
    from pathlib import Path

ROS2 = get_typestore(Stores.ROS2_HUMBLE)
HEIGHT, WIDTH, PADDING = 6, 8, 5
IMAGE, INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo"
COMPRESSED, POSE = "sensor_msgs/msg/CompressedImage", "geometry_msgs/msg/PoseStamped"

Recording = tuple[str, str, Any]  # topic, type, message


def made(name: str, **values: Any) -> Any:
    return ROS2.types[name](**values)


def header(k: int) -> Any:
    stamp = made("builtin_interfaces/msg/Time", sec=1785000000, nanosec=k)
    return made("std_msgs/msg/Header", stamp=stamp, frame_id="left_optical")


def picture(k: int) -> np.ndarray:
    return np.random.default_rng(k).integers(0, 256, size=(HEIGHT, WIDTH, 3), dtype=np.uint8)


def raw_image(k: int, **changes: Any) -> Any:
    padded = np.pad(picture(k).reshape(HEIGHT, -1), ((0, 0), (0, PADDING)), constant_values=77)
    values = {
        "header": header(k), "height": HEIGHT, "width": WIDTH, "encoding": "rgb8", "is_bigendian": 0,
        "step": 3 * WIDTH + PADDING, "data": padded.ravel(),
    }  # fmt: skip
    return made(IMAGE, **{**values, **changes})


def png(k: int) -> Any:
    data = cv2.imencode(".png", picture(k)[..., ::-1])[1].ravel()
    return made(COMPRESSED, header=header(k), format="rgb8; png compressed bgr8", data=data)


def camera_info(fx: float = 30.0) -> Any:
    region = made(
        "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
    )
    return made(
        INFO,
        header=header(0), height=HEIGHT, width=WIDTH, distortion_model="plumb_bob",
        d=np.array([0.1, -0.2, 0.0, 0.0, 0.0]),
        k=np.array([fx, 0, 3.5, 0, 31.0, 2.5, 0, 0, 1]), r=np.eye(3).ravel(), p=np.zeros(12),
        binning_x=0, binning_y=0, roi=region,
    )  # fmt: skip


def pose(k: int) -> Any:
    position = made("geometry_msgs/msg/Point", x=float(k), y=2.0, z=3.0)
    quarter = np.sqrt(0.5)
    orientation = made("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=quarter, w=quarter)
    return made(
        POSE,
        header=header(k),
        pose=made("geometry_msgs/msg/Pose", position=position, orientation=orientation),
    )


def record(path: Path, messages: list[Recording], plugin: StoragePlugin = StoragePlugin.SQLITE3) -> Path:
    with Writer(path, version=8, storage_plugin=plugin) as writer:
        kinds = dict.fromkeys((topic, kind) for topic, kind, _ in messages)
        topics = {key: writer.add_connection(*key, typestore=ROS2) for key in kinds}
        for k, (topic, kind, message) in enumerate(messages):
            writer.write(topics[topic, kind], k * 10**6, ROS2.serialize_cdr(message, kind))
    return path


def images(topic: str = "/cam/image_raw", count: int = 3) -> list[Recording]:
    return [(topic, IMAGE, raw_image(k)) for k in range(count)]


@pytest.mark.parametrize("plugin", list(StoragePlugin), ids=lambda plugin: plugin.name)
def test_padded_images_come_back_with_stamp_frame_calibration_and_poses(
    tmp_path: Path, plugin: StoragePlugin
) -> None:
    extras = [("/cam/camera_info", INFO, camera_info())]
    extras += [("/ground_truth/pose", POSE, pose(k)) for k in range(2)]
    bag = Bag(record(tmp_path / "bag", images() + extras, plugin))
    frames = list(bag.frames())
    assert (len(bag), bag.image_topic) == (3, "/cam/image_raw")
    for k, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.rgb, picture(k))
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


def test_compressed_images_find_their_calibration_one_level_up(tmp_path: Path) -> None:
    messages = [("/cam/image_raw/compressed", COMPRESSED, png(k)) for k in range(2)]
    bag = Bag(record(tmp_path / "bag", [*messages, ("/cam/camera_info", INFO, camera_info())]))
    frames = list(bag.frames())
    np.testing.assert_array_equal([frame.rgb for frame in frames], [picture(0), picture(1)])
    assert frames[0].intrinsics is not None


def test_images_alone_have_neither_calibration_nor_poses(tmp_path: Path) -> None:
    bag = Bag(record(tmp_path / "bag", images()))
    assert next(iter(bag.frames())).intrinsics is None
    assert bag.ground_truth() == []


def test_zeros_for_a_calibration_and_the_calibration_of_another_camera_are_none(tmp_path: Path) -> None:
    extras = [
        ("/other/camera_info", INFO, camera_info()),
        ("/cam/camera_info", INFO, camera_info(fx=0.0)),
    ]
    assert next(iter(Bag(record(tmp_path / "bag", images() + extras)).frames())).intrinsics is None


def test_a_bag_without_message_definitions_is_read_as_humble_wrote_it(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", images())
    with closing(sqlite3.connect(next(path.glob("*.db3")))) as database:
        database.execute("DELETE FROM message_definitions")
        database.commit()
    np.testing.assert_array_equal(next(iter(Bag(path).frames())).rgb, picture(0))


def test_of_several_image_topics_one_must_be_named(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", images("/left/image", 2) + images("/right/image", 3))
    with pytest.raises(
        SourceError, match=r"2 image topics; name one \(image topics: /left/image, /right/image\)"
    ):
        Bag(path)
    assert len(list(Bag(path, "/right/image").frames())) == len(Bag(path, "/right/image")) == 3


def test_a_topic_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", images())
    with pytest.raises(SourceError, match=r"no image topic /front \(image topics: /cam/image_raw\)"):
        Bag(path, "/front")


def test_a_bag_without_images_says_so(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", [("/cam/camera_info", INFO, camera_info())])
    with pytest.raises(SourceError, match=r"0 image topics.*\(image topics: none\)"):
        Bag(path)


@pytest.mark.parametrize(
    "broken",
    [{"encoding": "32FC1"}, {"step": 5}, {"data": np.zeros(7, np.uint8)}],
    ids=["encoding", "step", "data"],
)
def test_an_image_that_cannot_be_decoded_is_left_out_by_topic_and_stamp(
    tmp_path: Path, broken: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    messages = [*images(count=1), ("/cam/image_raw", IMAGE, raw_image(1, **broken))]
    assert len(list(Bag(record(tmp_path / "bag", messages)).frames())) == 1
    assert "/cam/image_raw at 1785000000000000001 is left out: " in caplog.text


def test_a_bag_without_a_single_good_image_is_named(tmp_path: Path) -> None:
    bag = record(tmp_path / "bag", [("/cam/image_raw", IMAGE, raw_image(1, encoding="32FC1"))])
    with pytest.raises(SourceError, match=r"bag: none of 1 images on /cam/image_raw can be decoded"):
        list(Bag(bag).frames())


@pytest.mark.parametrize("plugin", list(StoragePlugin), ids=lambda plugin: plugin.name)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.95])
def test_a_truncated_bag_is_named(tmp_path: Path, plugin: StoragePlugin, share: float) -> None:
    path = record(tmp_path / "bag", [(t, k, m) for t, k, m in images(count=200)], plugin)
    storage = next(file for file in path.iterdir() if file.suffix != ".yaml")
    content = storage.read_bytes()
    storage.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(SourceError, match=rf"{path} cannot be read as a bag: "):
        list(Bag(path).frames())


def test_what_is_no_bag_is_named(tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("not a bag")
    (tmp_path / "metadata.yaml").write_text("rosbag2_bagfile_information: [")
    for path in (tmp_path / "absent", note, tmp_path):
        with pytest.raises(SourceError, match=rf"{path} cannot be read as a bag: "):
            Bag(path)


def test_two_publishers_of_one_topic_in_a_ros1_bag_are_one_sequence(tmp_path: Path) -> None:
    ros1 = get_typestore(Stores.ROS1_NOETIC)
    path = tmp_path / "old.bag"
    stamp = ros1.types["builtin_interfaces/msg/Time"](sec=7, nanosec=9)
    with Writer1(path) as writer:
        for k in range(2):
            caller = writer.add_connection(
                "/cam/image_raw", IMAGE, typestore=ros1, callerid=f"/driver{k}"
            )
            head = ros1.types["std_msgs/msg/Header"](seq=k, stamp=stamp, frame_id="left_optical")
            message = ros1.types[IMAGE](
                header=head, height=HEIGHT, width=WIDTH, encoding="rgb8", is_bigendian=0,
                step=3 * WIDTH, data=picture(k).ravel(),
            )  # fmt: skip
            writer.write(caller, k * 10**6, ros1.serialize_ros1(message, IMAGE))
    for bag in (Bag(path), Bag(path, "/cam/image_raw")):
        frames = list(bag.frames())
        assert len(bag) == len(frames) == 2
        np.testing.assert_array_equal([frame.rgb for frame in frames], [picture(0), picture(1)])
        assert frames[0].stamp_ns == 7_000_000_009
