# SPDX-License-Identifier: Apache-2.0
"""Storage formats of bags: compressed, split, truncated, ROS 1."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bag_recording import (
    HEIGHT,
    IMAGE,
    INFO,
    WIDTH,
    camera_info,
    images,
    pixels,
    raw_image,
    record,
    storage_file,
    truncate,
)
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from rosbags.typesys import Stores, get_typestore

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.bags.reader import Bag
from ttt3r_ros.io.sequence import FrameSelection
from ttt3r_ros.io.sources import open_source

if TYPE_CHECKING:
    from pathlib import Path

    from bag_recording import Recording


def test_a_truncated_bag_is_an_error_of_one_line(tmp_path: Path) -> None:
    for plugin in StoragePlugin:
        path = record(tmp_path / plugin.name, images(count=200), plugin)
        for fraction in (0.95, 0.6, 0.3, 0.0):
            truncate(path, fraction)
            with pytest.raises(SourceError, match=rf"{path} cannot be read as a bag: ") as caught:
                list(Bag(path).frames())
            assert "\n" not in str(caught.value), (plugin, fraction)


def test_a_damaged_chunk_of_an_mcap_file_is_an_error(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", large_images(20), StoragePlugin.MCAP, CompressionMode.STORAGE)
    content = bytearray(storage_file(path).read_bytes())
    frame_magic = b"\x28\xb5\x2f\xfd"  # of zstd
    start = content.index(frame_magic, len(content) // 2)
    content[start : start + 4] = bytes(4)
    storage_file(path).write_bytes(content)
    frames: list[Any] = []
    with pytest.raises(SourceError, match=rf"{path} cannot be read as a bag: "):
        frames.extend(Bag(path).frames())
    assert 1 <= len(frames) < 20


def large_images(count: int) -> list[Recording]:
    """Return images of 360 kB, of which three fill a chunk of an MCAP file."""
    size = {"height": 300, "width": 400, "step": 3 * 400}
    random = np.random.default_rng(0)
    data = [random.integers(0, 256, 3 * 300 * 400, np.uint8) for _ in range(count)]
    return [("/cam/image_raw", IMAGE, raw_image(k, data=data[k], **size)) for k in range(count)]


def test_whole_records_of_a_truncated_mcap_file_are_read_before_the_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    infos = [("/cam/camera_info", INFO, camera_info())]
    path = record(tmp_path / "bag", infos + large_images(20), StoragePlugin.MCAP)
    truncate(path, 0.7)
    for _ in range(2):
        bag = Bag(path)
        assert f"{path} is truncated (it has no end: the recorder was killed" in caplog.text
        frames: list[Any] = []
        with pytest.raises(SourceError, match=r"truncated after \d+ images") as caught:
            frames.extend(bag.frames())
        assert f" {len(frames)} images" in str(caught.value)
        assert 8 <= len(frames) <= 14
        assert frames[-1].intrinsics is not None
        assert len(list(Bag(path, selection=FrameSelection(max_frames=3)).frames())) == 3
        (path / "metadata.yaml").unlink(missing_ok=True)


def test_an_mcap_file_without_a_whole_message_is_an_error_at_once(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", images(), StoragePlugin.MCAP)
    truncate(path, 0.1)
    with pytest.raises(SourceError, match=rf"{path} cannot be read as a bag: .*it has no end"):
        list(Bag(path).frames())


def test_a_bag_without_metadata_is_read(tmp_path: Path) -> None:
    for plugin in StoragePlugin:
        bag = record(tmp_path / plugin.name, images(), plugin)
        (bag / "metadata.yaml").unlink()
        for path in (bag, storage_file(bag)):
            assert len(list(open_source(str(path)).frames())) == 3, path


def test_compressed_bags_are_read_by_folder_file_and_metadata(tmp_path: Path) -> None:
    sqlite3, mcap = StoragePlugin.SQLITE3, StoragePlugin.MCAP
    modes = [
        (sqlite3, CompressionMode.FILE), (sqlite3, CompressionMode.MESSAGE), (mcap, CompressionMode.FILE),
        (mcap, CompressionMode.MESSAGE), (mcap, CompressionMode.STORAGE),
    ]  # fmt: skip
    for plugin, mode in modes:
        bag = record(tmp_path / f"{plugin.name}_{mode.name}", images(), plugin, mode)
        for path in (bag, storage_file(bag), bag / "metadata.yaml"):
            rgb = [frame.rgb for frame in open_source(str(path)).frames()]
            np.testing.assert_array_equal(rgb, [pixels(k) for k in range(3)], err_msg=str(path))


def record_split_bag(
    folder: Path, plugin: StoragePlugin, mode: CompressionMode = CompressionMode.NONE
) -> Path:
    """Record one bag in two files."""
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


def test_a_split_bag_is_one_sequence_with_or_without_metadata(tmp_path: Path) -> None:
    for plugin in StoragePlugin:
        path = record_split_bag(tmp_path / plugin.name, plugin)
        assert [frame.stamp_ns % 10 for frame in Bag(path).frames()] == [0, 1]
        second = next(file for file in path.iterdir() if file.stem == "bag_1")
        assert [frame.stamp_ns % 10 for frame in Bag(second).frames()] == [1]
        (path / "metadata.yaml").unlink()
        assert [frame.stamp_ns % 10 for frame in open_source(str(path)).frames()] == [0, 1]


def test_compressed_files_are_read_without_their_metadata(tmp_path: Path) -> None:
    for plugin, mode in (
        (StoragePlugin.MCAP, CompressionMode.MESSAGE),
        (StoragePlugin.SQLITE3, CompressionMode.FILE),
    ):
        path = record_split_bag(tmp_path / plugin.name, plugin, mode)
        assert len(list(Bag(path).frames())) == 2
        second = next(file for file in path.iterdir() if file.name.startswith("bag_1"))
        assert [frame.stamp_ns % 10 for frame in Bag(second).frames()] == [1]
        (path / "metadata.yaml").unlink()
        assert len(list(Bag(path).frames())) == 2


def test_the_content_of_a_file_counts_and_not_its_announced_storage(tmp_path: Path) -> None:
    for plugin in StoragePlugin:
        for identifier in ("rocksdb", "''", "mcap", "sqlite3"):
            path = record(tmp_path / f"{plugin.name}_{identifier}", images(), plugin)
            metadata = (path / "metadata.yaml").read_text()
            found = f"storage_identifier: {plugin.name.lower()}"
            assert found in metadata
            (path / "metadata.yaml").write_text(
                metadata.replace(found, f"storage_identifier: {identifier}")
            )
            assert len(list(Bag(path).frames())) == 3, path


def test_the_error_of_an_unknown_storage_lists_the_known_ones(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", images())
    metadata = (path / "metadata.yaml").read_text()
    (path / "metadata.yaml").write_text(metadata.replace("sqlite3", "rocksdb"))
    storage_file(path).unlink()
    (path / "bag.sst").write_bytes(b"rocks")
    with pytest.raises(
        SourceError, match=r"bag: storage 'rocksdb' is unknown; expected sqlite3 or mcap$"
    ):
        Bag(path)


def test_a_folder_of_two_storage_formats_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.mcap").write_bytes(b"")
    (tmp_path / "b.bag").write_bytes(b"")
    with pytest.raises(SourceError, match=r"no metadata\.yaml, and files of \.bag and \.mcap"):
        Bag(tmp_path)


def test_other_files_are_errors_with_their_path(tmp_path: Path) -> None:
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
                step=3 * WIDTH, data=pixels(k).ravel(),
            )  # fmt: skip
            writer.write(callers[k % 2], k * 10**6, ROS1.serialize_ros1(message, IMAGE))
    return path


def test_two_publishers_of_one_topic_in_a_ros1_bag_are_one_sequence(tmp_path: Path) -> None:
    path = write_ros1(tmp_path / "old.bag", range(2))
    for bag in (Bag(path), Bag(path, "/cam/image_raw")):
        frames = list(bag.frames())
        assert len(bag) == len(frames) == 2
        np.testing.assert_array_equal([frame.rgb for frame in frames], [pixels(0), pixels(1)])
        assert frames[0].stamp_ns == 7_000_000_009


def test_a_split_compressed_ros1_bag_is_one_sequence(tmp_path: Path) -> None:
    for compression in Writer1.CompressionFormat:
        folder = tmp_path / compression.name
        folder.mkdir()
        for part in range(3):
            write_ros1(folder / f"walk_{part}.bag", range(2 * part, 2 * part + 2), compression)
        rgb = [frame.rgb for frame in open_source(str(folder)).frames()]
        np.testing.assert_array_equal(rgb, [pixels(k) for k in range(6)], err_msg=compression.name)


def test_the_error_of_a_truncated_ros1_bag_mentions_a_recovery_tool(tmp_path: Path) -> None:
    path = write_ros1(tmp_path / "old.bag", range(50))
    content = path.read_bytes()
    for fraction, hint in {0.0: "empty", 0.3: "'rosbag reindex'", 0.99: "'rosbag reindex'"}.items():
        path.write_bytes(content[: int(len(content) * fraction)])
        with pytest.raises(SourceError, match=rf"{path} cannot be read as a bag: .*{hint}"):
            Bag(path)


def test_a_compressed_file_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    for plugin in (StoragePlugin.SQLITE3, StoragePlugin.MCAP):
        path = record(tmp_path / plugin.name, large_images(6), plugin, CompressionMode.FILE)
        truncate(path, 0.7)
        frames: list[Any] = []
        with pytest.raises(SourceError, match="is cut off"):
            frames.extend(Bag(path).frames())
        assert plugin is StoragePlugin.SQLITE3 or 2 <= len(frames) < 6
