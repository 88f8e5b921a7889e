# SPDX-License-Identifier: Apache-2.0
"""Which files belong to a bag: QoS, metadata that differs from the files, other names, and counts of images."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from bag_recording import HEIGHT, IMAGE, ROS2, WIDTH, images, raw_image, record, storage_file
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.bags.reader import Bag
from ttt3r_ros.io.sources import open_source

if TYPE_CHECKING:
    from pathlib import Path

TOPIC = "/cam/image_raw"


def numbers(path: Path) -> list[int]:
    return [frame.stamp_ns % 100 for frame in open_source(str(path)).frames()]


def qos(reliability: QosReliability, depth: int) -> Qos:
    forever = QosTime(2147483647, 4294967295)
    return Qos(
        QosHistory.KEEP_LAST, depth, reliability, QosDurability.VOLATILE, forever, forever,
        QosLiveliness.AUTOMATIC, forever, avoid_ros_namespace_conventions=False,
    )  # fmt: skip


def record_part(path: Path, ks: range, plugin: StoragePlugin, profile: Qos) -> Path:
    with Writer(path, version=8, storage_plugin=plugin) as writer:
        topic = writer.add_connection(TOPIC, IMAGE, typestore=ROS2, offered_qos_profiles=[profile])
        for k in ks:
            writer.write(topic, k * 10**6, ROS2.serialize_cdr(raw_image(k), IMAGE))
    return path


def record_split(folder: Path, plugin: StoragePlugin, announced: int = 6, listed: int = 3) -> Path:
    """Record a bag of three files with two images each, whose publishers offer different QoS."""
    folder.mkdir()
    suffix = "db3" if plugin is StoragePlugin.SQLITE3 else "mcap"
    for k in range(3):
        profile = qos((QosReliability.RELIABLE, QosReliability.BEST_EFFORT)[k % 2], depth=k + 1)
        part = record_part(folder / f"walk_{k}", range(2 * k, 2 * k + 2), plugin, profile)
        storage_file(part).rename(folder / f"walk_{k}.{suffix}")
        metadata = (part / "metadata.yaml").read_text()
        shutil.rmtree(part)
    names = "".join(f"  - walk_{k}.{suffix}\n" for k in range(listed))
    metadata = re.sub(r"relative_file_paths:\n  - \S+\n", f"relative_file_paths:\n{names}", metadata)
    metadata = re.sub(r"message_count: \d+", f"message_count: {announced}", metadata)
    (folder / "metadata.yaml").write_text(metadata)
    return folder


def test_files_whose_publishers_offer_other_qos_are_one_sequence(tmp_path: Path) -> None:
    for plugin in StoragePlugin:
        path = record_split(tmp_path / plugin.name, plugin)
        assert numbers(path) == [0, 1, 2, 3, 4, 5]
        assert len(Bag(path)) == 6


def test_edited_qos_in_the_metadata_loses_no_image(tmp_path: Path) -> None:
    path = record_split(tmp_path / "bag", StoragePlugin.MCAP)
    metadata = (path / "metadata.yaml").read_text()
    edited = re.sub(
        r"offered_qos_profiles:.*?(?=\n      \w|\n  \w)",
        "offered_qos_profiles: ''",
        metadata,
        flags=re.DOTALL,
    )
    assert edited != metadata
    (path / "metadata.yaml").write_text(edited)
    assert numbers(path) == [0, 1, 2, 3, 4, 5]


def test_metadata_older_than_the_files_loses_no_image_and_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = record_split(tmp_path / "bag", StoragePlugin.SQLITE3, announced=2, listed=1)
    (path / "other.db3").write_bytes((path / "walk_0.db3").read_bytes())
    assert numbers(path) == [0, 1, 2, 3, 4, 5]
    assert "does not list walk_1.db3, walk_2.db3, which is read" in caplog.text
    assert "does not list other.db3, which is not read" in caplog.text
    assert f"2 on {TOPIC}, the files have 6" in caplog.text


def test_fewer_images_than_announced_are_an_error_with_both_numbers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for plugin in StoragePlugin:
        path = record_split(tmp_path / plugin.name, plugin)
        next(path.glob("walk_1.*")).unlink()
        found = []
        with pytest.raises(SourceError, match=rf"6 images are announced on {TOPIC}, 4 were read"):
            found.extend(frame.stamp_ns % 100 for frame in Bag(path).frames())
        assert found == [0, 1, 4, 5]
        assert re.search(r"lists walk_1\.\w+, which does not exist", caplog.text)


def test_a_damaged_file_of_several_is_an_error_after_the_images_of_the_others(tmp_path: Path) -> None:
    path = record_split(tmp_path / "bag", StoragePlugin.MCAP)
    (path / "walk_1.mcap").write_bytes(b"")
    found = []
    with pytest.raises(SourceError, match=r"walk_1\.mcap: it is empty"):
        found.extend(frame.stamp_ns % 100 for frame in Bag(path).frames())
    assert found == [0, 1, 4, 5]


@pytest.mark.parametrize(
    "metadata",
    [
        "",
        "rosbag2_bagfile_information: [",
        "[]",
        "rosbag2_bagfile_information:\n  version: 99\n",
        "\x00\x01",
    ],
)
def test_damaged_metadata_does_not_hide_the_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, metadata: str
) -> None:
    path = record_split(tmp_path / "bag", StoragePlugin.MCAP)
    (path / "metadata.yaml").write_text(metadata)
    assert numbers(path) == [0, 1, 2, 3, 4, 5]
    assert "metadata.yaml cannot be read" in caplog.text


def test_a_renamed_file_is_read(tmp_path: Path) -> None:
    for plugin in StoragePlugin:
        for name in ("lunch.mcap", "lunch.db3", "lunch", "lunch.bin"):
            path = record(tmp_path / f"{plugin.name}_{name}", images(), plugin)
            renamed = storage_file(path).rename(path / name)
            assert numbers(path) == [0, 1, 2], renamed
            assert numbers(renamed) == [0, 1, 2], renamed


@pytest.mark.parametrize(
    "name", ["a#b", "a?b=c", "a%20b", "a b", "ä", os.fsdecode(b"\xff\xfe")], ids=ascii
)
def test_any_name_of_a_bag_is_read(tmp_path: Path, name: str) -> None:
    for plugin in StoragePlugin:
        plain = record(tmp_path / plugin.name, images(), plugin)
        folder = tmp_path / f"{plugin.name}{name}"
        folder.mkdir()
        suffix = storage_file(plain).suffix
        shutil.copy(storage_file(plain), folder / f"{name}{suffix}")
        assert numbers(folder) == [0, 1, 2]
        assert numbers(folder / f"{name}{suffix}") == [0, 1, 2]


def test_messages_in_the_write_ahead_log_of_a_recorder_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = record(tmp_path / "bag", images(count=4))
    (path / "metadata.yaml").unlink()
    with closing(sqlite3.connect(storage_file(path))) as database:
        database.execute("PRAGMA journal_mode=WAL")
        rows = database.execute("SELECT topic_id, timestamp, data FROM messages").fetchall()
        database.execute("DELETE FROM messages")
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.executemany("INSERT INTO messages(topic_id, timestamp, data) VALUES (?, ?, ?)", rows)
        database.commit()
        assert numbers(path) == [0, 1, 2, 3]
    assert "the recorder still writes or was killed" in caplog.text


def test_an_active_bag_of_ros1_names_reason_and_remedy(tmp_path: Path) -> None:
    path = tmp_path / "walk.bag.active"
    fields = b"\x0d\0\0\0" + b"op=" + b"\x03" + b"12345678"
    path.write_bytes(b"#ROSBAG V2.0\n" + fields)
    with pytest.raises(SourceError, match=r"walk\.bag\.active cannot be read as a bag: "):
        open_source(str(path))


def test_a_file_of_other_content_names_its_first_bytes(tmp_path: Path) -> None:
    path = tmp_path / "walk.mcap"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(SourceError, match=r"no mcap file: it starts with 3c 68 74 6d 6c 3e"):
        open_source(str(path))


def test_a_recorder_in_its_first_transaction_is_the_reason_of_a_missing_topic(tmp_path: Path) -> None:
    with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        topic = writer.add_connection(TOPIC, IMAGE, typestore=ROS2)
        writer.write(topic, 0, ROS2.serialize_cdr(raw_image(0), IMAGE))
        assert next((tmp_path / "bag").glob("*-journal")).stat().st_size > 0
        with pytest.raises(SourceError, match="the recorder still writes or was killed"):
            open_source(str(tmp_path / "bag"))
    assert numbers(tmp_path / "bag") == [0]


def test_an_mcap_file_that_is_still_recorded_is_read_up_to_its_last_chunk(tmp_path: Path) -> None:
    with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        topic = writer.add_connection(TOPIC, IMAGE, typestore=ROS2)
        for k in range(6000):
            writer.write(topic, k * 10**6, ROS2.serialize_cdr(raw_image(k), IMAGE))
        found = []
        with pytest.raises(SourceError, match="the recorder was killed or still writes"):
            found.extend(frame.stamp_ns for frame in open_source(str(tmp_path / "bag")).frames())
        assert 1000 < len(found) < 6000


def test_metadata_of_another_tool_does_not_make_a_folder_of_images_a_bag(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "0.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    (tmp_path / "metadata.yaml").write_text("camera: front\n")
    assert len(list(open_source(str(tmp_path)).frames())) == 1
