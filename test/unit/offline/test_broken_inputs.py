# SPDX-License-Identifier: Apache-2.0
"""Inputs that break, and disks that fill: one clear line, a status that is not 0, and what was finished is kept."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from recordings import image_folder, room_bag, shots, video
from rosbags.rosbag2 import StoragePlugin

from ttt3r_ros.cli.main import main
from ttt3r_ros.io.export.point_cloud import read_ply
from ttt3r_ros.io.trajectory_files import read_tum

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: object) -> int:
    return main(["run", *map(str, arguments)])


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line that begins with the program's name."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ttt3r_ros: ")]
    assert len(lines) == 1, lines
    return lines[0]


def test_an_empty_folder(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty", "--output", tmp_path / "out") == 1
    assert str(tmp_path / "empty") in complaint(capsys)
    assert not (tmp_path / "out").exists()


def test_a_source_that_is_not_there(tmp_path, capsys):
    assert run(tmp_path / "absent.mcap", "--output", tmp_path / "out") == 1
    assert "absent.mcap" in complaint(capsys)


def test_a_pattern_that_nothing_matches(tmp_path, capsys):
    assert run(tmp_path / "*.mcap", "--output", tmp_path / "out") == 1
    assert "no source matches" in complaint(capsys)


def test_a_bag_of_unknown_storage(tmp_path, capsys):
    bag = room_bag(tmp_path / "bag", 2, StoragePlugin.SQLITE3)
    metadata = bag / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("sqlite3", "stone_tablets"))
    next(bag.glob("*.db3")).rename(bag / "bag.tablet").write_bytes(b"carved")
    assert run(bag, "--output", tmp_path / "out") == 1
    assert "stone_tablets" in complaint(capsys)


def test_a_topic_that_is_missing(tmp_path, capsys):
    bag = room_bag(tmp_path / "bag", 2)
    assert run(bag, "--topic", "/front", "--output", tmp_path / "out") == 1
    assert re.search(r"/front.*/camera/image_raw", complaint(capsys))


def test_of_several_topics_one_must_be_named_where_nobody_can_be_asked(tmp_path, capsys, monkeypatch):
    bag = room_bag(tmp_path / "bag", 2, topics=("/left/image", "/right/image"), calibrated=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert run(bag, "--output", tmp_path / "out") == 1
    line = complaint(capsys)
    assert "/left/image" in line
    assert "/right/image" in line
    assert run(bag, "--topic", "/right/image", "--output", tmp_path / "out") == 0


def test_a_bag_without_the_transforms_that_a_robot_needs(tmp_path, capsys):
    bag = room_bag(tmp_path / "bag", 2)
    assert run(bag, "--set", "tf_mode=map_odom", "--output", tmp_path / "out") == 1
    assert "tf_mode is map_odom, and the source has no transforms" in complaint(capsys)


def test_of_a_truncated_bag_what_is_readable_is_mapped(tmp_path, capsys):
    bag = cut(room_bag(tmp_path / "bag", 36), 0.7)
    assert run(bag, "--output", tmp_path / "out") == 1
    assert str(bag) in complaint(capsys)
    assert_kept(tmp_path / "out")


@pytest.mark.parametrize("plugin", list(StoragePlugin), ids=lambda plugin: plugin.name)
def test_of_a_truncated_bag_without_a_readable_image_nothing_is_written(tmp_path, capsys, plugin):
    bag = cut(room_bag(tmp_path / "bag", 12, plugin), 0.2)
    assert run(bag, "--output", tmp_path / "out") == 1
    assert str(bag) in complaint(capsys)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def cut(bag: Path, share: float) -> Path:
    """Leave the first part of a bag's storage."""
    storage = next(file for file in bag.iterdir() if file.suffix != ".yaml")
    content = storage.read_bytes()
    storage.write_bytes(content[: int(share * len(content))])
    return bag


@pytest.mark.parametrize("kind", ["folder", "video"])
def test_an_image_that_cannot_be_decoded_is_skipped_named_and_counted_whatever_the_source(
    tmp_path, capsys, caplog, kind
):
    if kind == "folder":
        source = image_folder(tmp_path / "room", truth=False)
        broken = source / "rgb" / "0006.png"
        broken.write_bytes(broken.read_bytes()[:50])
        named = f"{broken} cannot be read as an image"
    else:
        source = video(tmp_path / "walk.avi")
        content = bytearray(source.read_bytes())
        images = [match.start() for match in re.finditer(b"00dc", bytes(content))][
            1:
        ]  # the first is a header
        content[images[6] + 8 : images[7]] = bytes(images[7] - images[6] - 8)
        source.write_bytes(content)
        named = f"{source}: the frame at 0.60 s is damaged and skipped"
    assert run(source, "--output", tmp_path / "out") == 0
    meta = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (meta["mapped"], meta["broken"], meta["problems"]) == (11, 1, [])
    assert "11 of 11 frames mapped, 1 undecodable" in capsys.readouterr().out
    assert named in caplog.text
    assert run(source, "--output", tmp_path / "out", "--resume") == 0
    assert "nothing is left to do" in capsys.readouterr().out


def test_of_a_video_that_is_cut_off_what_is_readable_is_mapped(tmp_path, capsys):
    path = video(tmp_path / "walk.avi")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert run(path, "--output", tmp_path / "out") == 1
    assert re.search(rf"{path} is truncated: .* \d frames, .* of 1\.20 s", complaint(capsys))
    assert_kept(tmp_path / "out")


def assert_kept(output: Path) -> None:
    meta = json.loads((output / "run.json").read_text())
    assert meta["problems"]
    assert not meta["interrupted"]
    assert len(read_tum(output / "trajectory.txt")) == meta["mapped"] > 0
    assert len(read_ply(output / "map.ply")[0]) > 0
    assert "Problem: " in (output / "report.html").read_text()
    assert [path for path in output.rglob("*") if ".part" in path.name] == []


@pytest.mark.parametrize("kind", ["bag", "folder", "data set"])
def test_an_image_whose_stamp_repeats_is_skipped_and_named_whatever_the_source(
    tmp_path, capsys, monkeypatch, kind
):
    frames = shots(12)
    frames[5] = replace(frames[5], stamp_ns=frames[4].stamp_ns)
    monkeypatch.setattr("recordings.shots", lambda _: frames)
    source = (room_bag if kind == "bag" else image_folder)(tmp_path / "room")
    if kind == "data set":
        listed = [
            f"{frame.stamp_ns / 1e9:.9f} rgb/{index:04d}.png\n" for index, frame in enumerate(frames)
        ]
        (source / "rgb.txt").write_text("".join(listed))
    assert run(source, "--output", tmp_path / "out") == 0
    meta = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (meta["mapped"], meta["skipped"], meta["problems"]) == (11, {"out of order": 1}, [])
    assert "11 of 12 frames mapped, 1 out of order" in capsys.readouterr().out
    assert "its stamp is not after the last one" in (tmp_path / "out" / "frames.csv").read_text()
    assert kind == "bag" or meta["error"]["pairs"] == 11


def test_a_true_pose_that_is_not_finite_costs_its_frame_alone(tmp_path, capsys):
    source = image_folder(tmp_path / "room")
    lines = (source / "groundtruth.txt").read_text().splitlines()
    lines[5] = " ".join([lines[5].split()[0], *["nan"] * 7])
    (source / "groundtruth.txt").write_text("\n".join(lines))
    assert run(source, "--output", tmp_path / "out") == 0
    meta = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (meta["mapped"], meta["error"]["pairs"]) == (12, 11)


def test_images_of_one_color_alone(tmp_path, capsys):
    source = image_folder(tmp_path / "room", truth=False)
    import cv2

    for path in (source / "rgb").iterdir():
        cv2.imwrite(str(path), np.full((120, 160, 3), 7, np.uint8))
    assert run(source, "--output", tmp_path / "out") == 1
    assert "no frame could be mapped (12 of one color)" in complaint(capsys)
    assert not (tmp_path / "out" / "trajectory.txt").exists()


@pytest.mark.parametrize("limit_kib", [1, 6], ids=["nothing fits", "the map does not fit"])
def test_a_disk_that_fills_up_leaves_nothing_half_written(tmp_path, limit_kib):
    """A limit on the size of files stands for the disk: writing beyond it fails the same way."""
    source, output = image_folder(tmp_path / "room", truth=False), tmp_path / "out"
    code = (
        "import resource, sys\n"
        "from ttt3r_ros.cli.main import main\n"
        "from ttt3r_ros.model.runtime import loading\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_kib} * 1024, -1))\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    words = ["run", source, "--output", output, "--outputs", "trajectory", "frames", "map", "state"]
    finished = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 1, finished.stderr
    problems = [line for line in finished.stderr.splitlines() if line.startswith("ttt3r_ros: ")]
    assert any("map.ply: File too large" in line for line in problems), finished.stderr
    assert "Traceback" not in finished.stderr
    assert [path for path in output.rglob("*") if ".part" in path.name] == []
    assert not (output / "map.ply").exists()
    if limit_kib > 1:
        assert len(read_tum(output / "trajectory.txt")) == 12


def test_an_output_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").touch()
    source = image_folder(tmp_path / "room", truth=False)
    assert run(source, "--output", tmp_path / "file" / "out") == 1
    assert f"{tmp_path / 'file' / 'out'} cannot be written" in complaint(capsys)
