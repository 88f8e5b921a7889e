# SPDX-License-Identifier: Apache-2.0
"""Bags as image sequences."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from ttt3r_ros.errors import AmbiguousSource, SourceError
from ttt3r_ros.io.bags.reader import Bag
from ttt3r_ros.io.bags.transforms import BagTransforms, RecordedTransform
from ttt3r_ros.io.sequence import FrameSelection
from ttt3r_ros.io.sources import SourceOptions, open_source

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


def record(
    path: Path,
    messages: list[Recording],
    plugin: StoragePlugin = StoragePlugin.SQLITE3,
    compression: CompressionMode = CompressionMode.NONE,
) -> Path:
    writer = Writer(path, version=8, storage_plugin=plugin)
    if compression != CompressionMode.NONE:
        writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
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
        AmbiguousSource, match=r"2 image topics; select one \(image topics: /left/image, /right/image\)"
    ) as caught:
        Bag(path)
    assert (caught.value.choices, caught.value.kind) == (["/left/image", "/right/image"], "image topic")
    assert len(open_source(str(path), SourceOptions(topic="/left/image"))) == 2
    assert len(list(Bag(path, "/right/image").frames())) == len(Bag(path, "/right/image")) == 3


def test_a_topic_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", images())
    with pytest.raises(SourceError, match=r"no image topic /front \(image topics: /cam/image_raw\)"):
        Bag(path, "/front")


def test_a_bag_without_images_says_so(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", [("/cam/camera_info", INFO, camera_info())])
    with pytest.raises(SourceError, match=r"has no image topic \(its topics: /cam/camera_info\)"):
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
    assert "/cam/image_raw at 1785000000000000001 is skipped: " in caplog.text


def test_a_bag_without_a_single_good_image_is_named(tmp_path: Path) -> None:
    bag = record(tmp_path / "bag", [("/cam/image_raw", IMAGE, raw_image(1, encoding="32FC1"))])
    with pytest.raises(SourceError, match=r"bag: none of 1 images on /cam/image_raw can be decoded"):
        list(Bag(bag).frames())


def storage_file(bag: Path) -> Path:
    return next(file for file in bag.iterdir() if file.suffix != ".yaml")


def cut(bag: Path, share: float) -> None:
    content = storage_file(bag).read_bytes()
    storage_file(bag).write_bytes(content[: int(len(content) * share)])


@pytest.mark.parametrize("plugin", list(StoragePlugin), ids=lambda plugin: plugin.name)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.95])
def test_a_truncated_bag_is_named(tmp_path: Path, plugin: StoragePlugin, share: float) -> None:
    path = record(tmp_path / "bag", images(count=200), plugin)
    cut(path, share)
    with pytest.raises(SourceError, match=rf"{path} cannot be read as a bag: ") as caught:
        list(Bag(path).frames())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("has_metadata", [True, False])
def test_what_is_whole_in_a_truncated_mcap_file_is_read_before_its_end_is_named(
    tmp_path: Path, has_metadata: bool, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 256, (300, 3 * 400), np.uint8)
    large = [
        ("/cam/image_raw", IMAGE, raw_image(k, height=300, width=400, step=3 * 400, data=wide.ravel()))
        for k in range(20)
    ]
    infos = [("/cam/camera_info", INFO, camera_info())]
    path = record(tmp_path / "bag", infos + large, StoragePlugin.MCAP)
    cut(path, 0.7)
    if not has_metadata:
        (path / "metadata.yaml").unlink()
    bag = Bag(path)
    assert "is truncated (File end magic is invalid)" in caplog.text
    frames: list[Any] = []
    with pytest.raises(
        SourceError, match=rf"{path} cannot be read as a bag: it is truncated after \d+ images"
    ):
        frames.extend(bag.frames())
    assert 8 <= len(frames) <= 14
    assert frames[-1].intrinsics is not None
    assert (
        len(list(Bag(path, selection=FrameSelection(max_frames=3)).frames())) == 3
    )  # never gets that far


def test_an_mcap_file_in_which_nothing_is_whole_is_refused_at_once(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", images(), StoragePlugin.MCAP)
    cut(path, 0.1)
    with pytest.raises(
        SourceError, match=rf"{path} cannot be read as a bag: File end magic is invalid$"
    ):
        Bag(path)


@pytest.mark.parametrize("plugin", list(StoragePlugin), ids=lambda plugin: plugin.name)
def test_a_recording_that_was_killed_has_no_metadata_and_is_read_all_the_same(
    tmp_path: Path, plugin: StoragePlugin
) -> None:
    path = record(tmp_path / "bag", images(), plugin)
    (path / "metadata.yaml").unlink()
    for named in (path, storage_file(path)):
        assert len(list(open_source(str(named)).frames())) == 3


SQLITE3, MCAP = StoragePlugin.SQLITE3, StoragePlugin.MCAP


@pytest.mark.parametrize(
    ("plugin", "mode"),
    [
        (SQLITE3, CompressionMode.FILE),
        (SQLITE3, CompressionMode.MESSAGE),
        (MCAP, CompressionMode.FILE),
        (MCAP, CompressionMode.MESSAGE),
        (MCAP, CompressionMode.STORAGE),
    ],
    ids=lambda value: value.name,
)
def test_compressed_bags_are_read_by_folder_file_and_metadata(
    tmp_path: Path, plugin: StoragePlugin, mode: CompressionMode
) -> None:
    path = record(tmp_path / "bag", images(), plugin, mode)
    for named in (path, storage_file(path), path / "metadata.yaml"):
        bag = open_source(str(named))
        np.testing.assert_array_equal(
            [frame.rgb for frame in bag.frames()], [picture(k) for k in range(3)]
        )


def split(folder: Path, plugin: StoragePlugin, mode: CompressionMode = CompressionMode.NONE) -> Path:
    """Record two bags and put them together as the recorder would have split one."""
    folder.mkdir()
    halves = [
        record(folder / f"bag_{k}", [("/cam/image_raw", IMAGE, raw_image(k))], plugin, mode)
        for k in range(2)
    ]
    metadata = (halves[0] / "metadata.yaml").read_text()
    names = [storage_file(half).name for half in halves]
    metadata = metadata.replace(
        f"relative_file_paths:\n  - {names[0]}\n",
        f"relative_file_paths:\n  - {names[0]}\n  - {names[1]}\n",
    )
    assert metadata.count(names[1]) == 1
    for half in halves:
        storage_file(half).rename(folder / storage_file(half).name)
        shutil.rmtree(half)
    (folder / "metadata.yaml").write_text(metadata)
    return folder


@pytest.mark.parametrize("plugin", list(StoragePlugin), ids=lambda plugin: plugin.name)
def test_a_split_bag_is_one_sequence_with_or_without_its_metadata(
    tmp_path: Path, plugin: StoragePlugin
) -> None:
    path = split(tmp_path / "bag", plugin)
    assert [frame.stamp_ns % 10 for frame in Bag(path).frames()] == [0, 1]
    one = next(file for file in path.iterdir() if file.stem == "bag_1")
    assert [frame.stamp_ns % 10 for frame in Bag(one).frames()] == [1]
    (path / "metadata.yaml").unlink()
    assert [frame.stamp_ns % 10 for frame in open_source(str(path)).frames()] == [0, 1]


def test_one_file_of_a_split_compressed_bag_is_answered_with_a_hint_at_its_folder(
    tmp_path: Path,
) -> None:
    path = split(tmp_path / "bag", StoragePlugin.MCAP, CompressionMode.MESSAGE)
    assert len(list(Bag(path).frames())) == 2
    with pytest.raises(SourceError, match="one of several compressed files; open their folder"):
        Bag(path / "bag_0.mcap")


def test_a_compressed_file_alone_is_answered_with_what_it_needs(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", images(), compression=CompressionMode.FILE)
    (path / "metadata.yaml").unlink()
    with pytest.raises(SourceError, match=r"needs metadata\.yaml in its folder"):
        Bag(path / "bag.db3.zstd")


def test_an_unknown_storage_is_answered_with_those_that_are_known(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", images())
    metadata = (path / "metadata.yaml").read_text()
    (path / "metadata.yaml").write_text(metadata.replace("sqlite3", "rocksdb"))
    with pytest.raises(
        SourceError, match=r"bag: storage 'rocksdb' is unknown; expected sqlite3 or mcap$"
    ):
        Bag(path)


def test_a_folder_of_two_kinds_of_bags_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mcap").write_bytes(b"")
    (tmp_path / "b.bag").write_bytes(b"")
    with pytest.raises(SourceError, match=r"no metadata\.yaml, and files of \.bag and \.mcap"):
        Bag(tmp_path)


def test_a_damaged_message_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = record(tmp_path / "bag", images())
    with closing(sqlite3.connect(storage_file(path))) as database:
        database.execute("UPDATE messages SET data = substr(data, 1, 40) WHERE id = 2")
        database.commit()
    bag = Bag(path)
    assert ([frame.stamp_ns % 10 for frame in bag.frames()], bag.skipped) == ([0, 2], 1)
    assert "a message of /cam/image_raw is damaged and skipped" in caplog.text


def test_what_is_no_bag_is_named(tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("not a bag")
    (tmp_path / "metadata.yaml").write_text("rosbag2_bagfile_information: [")
    for path in (tmp_path / "absent", note, tmp_path):
        with pytest.raises(SourceError, match=rf"{path} cannot be read as a bag: "):
            Bag(path)


ROS1 = get_typestore(Stores.ROS1_NOETIC)


def write_ros1(path: Path, numbers: range, compression: Any = None) -> Path:
    """Record images of two publishers in turn."""
    writer = Writer1(path)
    if compression is not None:
        writer.set_compression(compression)
    with writer:
        callers = [
            writer.add_connection("/cam/image_raw", IMAGE, typestore=ROS1, callerid=f"/driver{k}")
            for k in range(2)
        ]
        for k in numbers:
            stamp = ROS1.types["builtin_interfaces/msg/Time"](sec=7, nanosec=9 + k)
            head = ROS1.types["std_msgs/msg/Header"](seq=k, stamp=stamp, frame_id="left_optical")
            message = ROS1.types[IMAGE](
                header=head, height=HEIGHT, width=WIDTH, encoding="rgb8", is_bigendian=0,
                step=3 * WIDTH, data=picture(k).ravel(),
            )  # fmt: skip
            writer.write(callers[k % 2], k * 10**6, ROS1.serialize_ros1(message, IMAGE))
    return path


def test_two_publishers_of_one_topic_in_a_ros1_bag_are_one_sequence(tmp_path: Path) -> None:
    path = write_ros1(tmp_path / "old.bag", range(2))
    for bag in (Bag(path), Bag(path, "/cam/image_raw")):
        frames = list(bag.frames())
        assert len(bag) == len(frames) == 2
        np.testing.assert_array_equal([frame.rgb for frame in frames], [picture(0), picture(1)])
        assert frames[0].stamp_ns == 7_000_000_009


@pytest.mark.parametrize("compression", list(Writer1.CompressionFormat), ids=lambda one: one.name)
def test_a_split_compressed_ros1_bag_is_one_sequence(tmp_path: Path, compression: Any) -> None:
    for part in range(3):
        write_ros1(tmp_path / f"walk_{part}.bag", range(2 * part, 2 * part + 2), compression)
    frames = list(open_source(str(tmp_path)).frames())
    np.testing.assert_array_equal([frame.rgb for frame in frames], [picture(k) for k in range(6)])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_ros1_bag_is_named_with_the_tool_that_may_help(tmp_path: Path, share: float) -> None:
    path = write_ros1(tmp_path / "old.bag", range(50))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    hint = r".*\('rosbag reindex' may recover messages\)$" if share else "seems to be empty"
    with pytest.raises(SourceError, match=rf"{path} cannot be read as a bag: .*{hint}"):
        Bag(path)


def test_depth_and_compressed_copies_are_no_second_camera(tmp_path: Path) -> None:
    depth = raw_image(0, encoding="16UC1", step=2 * WIDTH, data=np.zeros(2 * WIDTH * HEIGHT, np.uint8))
    floats = raw_image(0, encoding="32FC1", step=4 * WIDTH, data=np.zeros(4 * WIDTH * HEIGHT, np.uint8))
    packed = made(
        COMPRESSED, header=header(0), format="16UC1; compressedDepth", data=np.zeros(9, np.uint8)
    )
    others = [
        ("/cam/image_raw/compressed", COMPRESSED, png(0)),
        ("/cam/depth/image_rect_raw", IMAGE, depth),
        ("/cam/range", IMAGE, floats),
        ("/cam/depth/image_rect_raw/compressedDepth", COMPRESSED, packed),
    ]
    bag = Bag(record(tmp_path / "bag", others + images()))
    assert (bag.image_topic, len(list(bag.frames()))) == ("/cam/image_raw", 3)


def test_a_gray_camera_of_16_bits_is_a_camera(tmp_path: Path) -> None:
    gray = raw_image(0, encoding="mono16", step=2 * WIDTH, data=np.zeros(2 * WIDTH * HEIGHT, np.uint8))
    assert len(list(Bag(record(tmp_path / "bag", [("/thermal/image", IMAGE, gray)])).frames())) == 1


def test_a_calibration_from_elsewhere_may_be_named(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", [("/info", INFO, camera_info(fx=44.0)), *images()])
    assert next(iter(Bag(path).frames())).intrinsics is None
    options = SourceOptions(camera_info_topic="/info")
    frame = next(iter(open_source(str(path), options).frames()))
    assert frame.intrinsics is not None
    assert frame.intrinsics.fx == 44.0
    with pytest.raises(SourceError, match=r"no CameraInfo topic /none \(CameraInfo topics: /info\)"):
        Bag(path, camera_info_topic="/none")


def test_an_image_has_the_calibration_that_was_recorded_last_before_it(tmp_path: Path) -> None:
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


def test_every_second_image_is_chosen_without_decoding_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    messages = images(count=5)
    messages[1] = ("/cam/image_raw", IMAGE, raw_image(1, encoding="32FC1"))
    bag = open_source(str(record(tmp_path / "bag", messages)), SourceOptions(stride=2, max_frames=2))
    assert [frame.stamp_ns % 10 for frame in bag.frames()] == [0, 2]
    assert (len(bag), bag.skipped, bag.name, caplog.text) == (2, 0, "bag", "")


# --- transforms --------------------------------------------------------------------------------------


def tf(parent: str, child: str, k: int, x: float) -> Any:
    translation = made("geometry_msgs/msg/Vector3", x=x, y=0.0, z=0.0)
    rotation = made("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0)
    transform = made("geometry_msgs/msg/Transform", translation=translation, rotation=rotation)
    stamp = made("builtin_interfaces/msg/Time", sec=k, nanosec=0)
    head = made("std_msgs/msg/Header", stamp=stamp, frame_id=parent)
    stamped = made(
        "geometry_msgs/msg/TransformStamped", header=head, child_frame_id=child, transform=transform
    )
    return made("tf2_msgs/msg/TFMessage", transforms=[stamped])


def test_transforms_are_found_over_chains_still_or_moving_at_any_stamp(tmp_path: Path) -> None:
    kind = "tf2_msgs/msg/TFMessage"
    messages: list[Recording] = [
        ("/tf_static", kind, tf("base_link", "left_optical", 0, 0.5)),
        *[("/tf", kind, tf("odom", "/base_link", k, 2.0 * k)) for k in (12, 10, 11)],
        *images(),
    ]
    bag = Bag(record(tmp_path / "bag", messages))
    transforms = bag.transforms()
    assert transforms is not None
    assert bag.camera_frame == "left_optical"
    assert transforms.frames() == {"odom", "base_link", "left_optical"}
    assert transforms.root_of(bag.camera_frame) == "odom"
    assert transforms.root_of(bag.camera_frame, below={"odom"}) == "base_link"

    def x_at(parent: str, child: str, second: float) -> float | None:
        T = transforms.lookup(parent, child, round(second * 1e9))
        return None if T is None else float(T[0, 3])

    assert x_at("odom", "left_optical", 10) == 20.5
    assert x_at("odom", "left_optical", 10.25) == 21.0
    assert x_at("left_optical", "odom", 12) == -24.5
    assert x_at("base_link", "left_optical", 99) == 0.5
    assert [x_at("odom", "base_link", second) for second in (9.9, 12.1)] == [None, None]
    assert x_at("map", "base_link", 11) is None
    assert x_at("nobody", "nobody", 11) == 0.0


def test_a_bag_without_transforms_has_none(tmp_path: Path) -> None:
    assert Bag(record(tmp_path / "bag", images())).transforms() is None


def test_of_several_parents_the_one_named_most_often_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    T = np.eye(4)
    said = [RecordedTransform("odom", "base", T, k) for k in range(3)]
    transforms = BagTransforms([RecordedTransform("map", "base", T, None), *said])
    assert transforms.root_of("base") == "odom"
    assert "several parents of base (map, odom); odom is used" in caplog.text
