# SPDX-License-Identifier: Apache-2.0
"""MCAP files of any profile, with foreign channels, other encodings, and without an index."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bag_recording import HEIGHT, IMAGE, INFO, ROS2, WIDTH, camera_info, pixels, raw_image
from mcap.writer import CompressionType, IndexType, Writer
from rosbags.typesys import Stores, get_typestore

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.bags.reader import Bag
from ttt3r_ros.io.sources import open_source

if TYPE_CHECKING:
    from pathlib import Path

TOPIC = "/cam/image_raw"
IMAGE_TEXT = ROS2.generate_msgdef(IMAGE, ros_version=2)[0]
INFO_TEXT = ROS2.generate_msgdef(INFO, ros_version=2)[0]


class Mcap:
    """Writes a small MCAP file."""

    def __init__(self, path: Path, profile: str = "ros2", **options: Any) -> None:
        self.path = path
        self._file = path.open("wb")
        self.writer = Writer(self._file, **options)
        self.writer.start(profile, library="")

    def channel(
        self,
        topic: str,
        msgtype: str,
        text: bytes | str = b"",
        form: str = "ros2msg",
        encoding: str = "cdr",
    ) -> int:
        data = text.encode() if isinstance(text, str) else text
        schema = self.writer.register_schema(msgtype, form, data)
        return self.writer.register_channel(topic, encoding, schema)

    def write(self, channel: int, log_ns: int, data: bytes) -> None:
        self.writer.add_message(channel, log_ns, data, log_ns)

    def write_images(self, channel: int, order: list[int]) -> None:
        for k in order:
            self.write(channel, k * 10**6, bytes(ROS2.serialize_cdr(raw_image(k), IMAGE)))

    def finish(self) -> Path:
        self.writer.finish()
        self._file.close()
        return self.path


def numbers(path: Path) -> list[int]:
    return [frame.stamp_ns % 1000 for frame in open_source(str(path)).frames()]


FOREIGN = [
    ("/foxglove/image", "foxglove.CompressedImage", b"\xff\x00\x81", "protobuf", "protobuf"),
    ("/web", "foxglove.Log", b'{"type": "object"}', "jsonschema", "json"),
    ("/flat", "foxglove.Grid", b"\x01\x02", "flatbuffer", "flatbuffer"),
    ("/schemaless", "", b"", "", "json"),
    ("/unknown", "my_msgs/msg/Secret", b"", "ros2msg", "cdr"),
    ("/broken", "my_msgs/msg/Broken", b"this is: no definition !", "ros2msg", "cdr"),
    ("/other_idl", "my_msgs/msg/Idl", b"module x {", "omgidl", "cdr"),
    ("/new_format", "my_msgs/msg/New", b"\x80\x81", "ros3msg", "cdr"),
]


def test_channels_that_are_not_of_ros_do_not_hide_the_images(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for foreign in [[one] for one in FOREIGN] + [FOREIGN]:
        mcap = Mcap(tmp_path / "bag.mcap")
        channels = [mcap.channel(*one) for one in foreign]
        image = mcap.channel(TOPIC, IMAGE, IMAGE_TEXT)
        for channel in channels:
            mcap.write(channel, 0, b"\x00\x01\x02")
        mcap.write_images(image, [0, 1, 2])
        assert numbers(mcap.finish()) == [0, 1, 2], foreign
    assert "/web (foxglove.Log in json)" in caplog.text


def test_the_error_of_a_bag_of_foreign_images_names_type_and_encoding(tmp_path: Path) -> None:
    mcap = Mcap(tmp_path / "bag.mcap")
    mcap.write(mcap.channel(*FOREIGN[0]), 0, b"\x00")
    with pytest.raises(SourceError, match=r"/foxglove/image \(foxglove.CompressedImage in protobuf\)"):
        Bag(mcap.finish())


@pytest.mark.parametrize(
    "text", ["", "no definition", "uint8 x", "Header header\nmy_msgs/Lost lost", IMAGE_TEXT]
)
def test_images_with_a_useless_definition_are_read_with_that_of_ros(tmp_path: Path, text: str) -> None:
    mcap = Mcap(tmp_path / "bag.mcap")
    mcap.write_images(mcap.channel(TOPIC, IMAGE, text), [0, 1, 2])
    assert numbers(mcap.finish()) == [0, 1, 2]


@pytest.mark.parametrize("profile", ["", "ros2", "ros1", "x-recorder"])
def test_the_profile_of_a_file_does_not_matter(tmp_path: Path, profile: str) -> None:
    mcap = Mcap(tmp_path / "bag.mcap", profile)
    mcap.write_images(mcap.channel(TOPIC, IMAGE, IMAGE_TEXT), [0, 1, 2])
    assert numbers(mcap.finish()) == [0, 1, 2]


def test_a_bag_of_ros1_in_mcap_is_read(tmp_path: Path) -> None:
    store = get_typestore(Stores.ROS1_NOETIC)
    mcap = Mcap(tmp_path / "bag.mcap", "ros1")
    text = store.generate_msgdef(IMAGE, ros_version=1)[0]
    channel = mcap.channel(TOPIC, "sensor_msgs/Image", text, "ros1msg", "ros1")
    for k in range(3):
        stamp = store.types["builtin_interfaces/msg/Time"](sec=7, nanosec=9 + k)
        head = store.types["std_msgs/msg/Header"](seq=k, stamp=stamp, frame_id="left_optical")
        message = store.types[IMAGE](
            header=head, height=HEIGHT, width=WIDTH, encoding="rgb8", is_bigendian=0,
            step=3 * WIDTH, data=pixels(k).ravel(),
        )  # fmt: skip
        mcap.write(channel, k * 10**6, bytes(store.serialize_ros1(message, IMAGE)))
    frames = list(Bag(mcap.finish()).frames())
    np.testing.assert_array_equal([frame.rgb for frame in frames], [pixels(k) for k in range(3)])
    assert [frame.stamp_ns for frame in frames] == [7_000_000_009 + k for k in range(3)]


def shuffled(count: int, reach: int) -> list[int]:
    """Return numbers that are out of order by at most ``reach``."""
    source = random.Random(reach)
    return sorted(range(count), key=lambda k: k + source.uniform(0, reach))


LAYOUTS = {
    "unchunked": {"use_chunking": False},
    "chunked": {"chunk_size": 700},
    "zstd": {"chunk_size": 700, "compression": CompressionType.ZSTD},
    "lz4": {"chunk_size": 700, "compression": CompressionType.LZ4},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("index", ["indexed", "no index", "no footer", "cut record"])
def test_messages_are_sorted_by_log_time_with_or_without_an_index(
    tmp_path: Path, layout: str, index: str
) -> None:
    count = 60
    for reach in (0, 2, count):
        types = IndexType.ALL if index == "indexed" else IndexType.NONE
        mcap = Mcap(
            tmp_path / "bag.mcap",
            index_types=types,
            use_statistics=index == "indexed",
            **LAYOUTS[layout],
        )
        info = mcap.channel("/cam/camera_info", INFO, INFO_TEXT)
        mcap.write(info, 0, bytes(ROS2.serialize_cdr(camera_info(), INFO)))
        mcap.write_images(mcap.channel(TOPIC, IMAGE, IMAGE_TEXT), shuffled(count, reach))
        path = mcap.finish()
        if index not in ("no footer", "cut record"):
            assert numbers(path) == list(range(count))
            continue
        content = path.read_bytes()
        end = content.rindex(b"\x0f\x04\0\0\0\0\0\0\0")  # end of the data
        path.write_bytes(content[: end if index == "no footer" else end // 2])
        found = []
        with pytest.raises(SourceError, match="the recorder was killed or still writes"):
            found.extend(frame.stamp_ns % 1000 for frame in Bag(path).frames())
        assert found == sorted(found)
        assert len(found) == count if index == "no footer" else 10 < len(found) < count


def test_a_chunk_that_claims_too_many_bytes_is_an_error(tmp_path: Path) -> None:
    mcap = Mcap(tmp_path / "bag.mcap", index_types=IndexType.NONE, use_statistics=False)
    mcap.write_images(mcap.channel(TOPIC, IMAGE, IMAGE_TEXT), [0, 1])
    path = mcap.finish()
    content = bytearray(path.read_bytes())
    chunk = content.index(b"\x06", 8 + 9 + 8)
    content[chunk + 25 : chunk + 33] = (2**40).to_bytes(8, "little")
    path.write_bytes(content)
    with pytest.raises(SourceError, match=rf"{path} cannot be read as a bag: .*claims {2**40} bytes"):
        Bag(path)
