# SPDX-License-Identifier: Apache-2.0
"""Damaged inputs and full disks: the error names the file, and finished results are kept."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from mapping import map_with, map_without_problems
from recordings import image_folder, room_bag, shots, video
from rosbags.rosbag2 import StoragePlugin

from ttt3r_ros.errors import OutputError, SourceError, Ttt3rError
from ttt3r_ros.io.export.point_cloud import read_ply
from ttt3r_ros.io.trajectory_files import read_tum

if TYPE_CHECKING:
    from pathlib import Path


def test_an_unusable_source_raises_with_its_name_and_writes_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    bag = room_bag(tmp_path / "bag", 2)
    unknown = room_bag(tmp_path / "unknown", 2, StoragePlugin.SQLITE3)
    metadata = unknown / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("sqlite3", "stone_tablets"))
    next(unknown.glob("*.db3")).rename(unknown / "bag.tablet").write_bytes(b"carved")
    cases = [
        (tmp_path / "empty", {}, str(tmp_path / "empty")),
        (tmp_path / "absent.mcap", {}, r"absent\.mcap"),
        ("x" * 5000, {}, "x"),
        (unknown, {}, "stone_tablets"),
        (bag, {"topic": "/front"}, "/front.*/camera/image_raw"),
        (bag, {"settings": {"tf_mode": "map_odom"}}, "tf_mode is map_odom"),
    ]
    for source, keywords, pattern in cases:
        with pytest.raises(Ttt3rError, match=pattern):
            map_with(source, tmp_path / "out", **keywords)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_readable_frames_of_a_truncated_bag_are_mapped(tmp_path):
    bag = cut(room_bag(tmp_path / "bag", 36), 0.7)
    (problem,) = map_with(bag, tmp_path / "out").problems
    assert str(bag) in problem
    assert_kept(tmp_path / "out")


@pytest.mark.parametrize("plugin", list(StoragePlugin), ids=lambda plugin: plugin.name)
def test_a_truncated_bag_without_a_readable_image_writes_nothing(tmp_path, plugin):
    bag = cut(room_bag(tmp_path / "bag", 12, plugin), 0.2)
    with pytest.raises(SourceError, match=str(bag)):
        map_with(bag, tmp_path / "out")
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def cut(bag: Path, fraction: float) -> Path:
    """Truncate a bag's storage to a fraction of its bytes."""
    storage = next(file for file in bag.iterdir() if file.suffix != ".yaml")
    content = storage.read_bytes()
    storage.write_bytes(content[: int(fraction * len(content))])
    return bag


@pytest.mark.parametrize("kind", ["folder", "video"])
def test_an_undecodable_image_is_skipped_logged_and_counted(tmp_path, caplog, kind):
    if kind == "folder":
        source = image_folder(tmp_path / "room", truth=False)
        broken = source / "rgb" / "0006.png"
        broken.write_bytes(broken.read_bytes()[:50])
        name = str(broken)
    else:
        source = video(tmp_path / "walk.avi")
        content = bytearray(source.read_bytes())
        images = [match.start() for match in re.finditer(b"00dc", bytes(content))][
            1:
        ]  # the first is a header
        content[images[6] + 8 : images[7]] = bytes(images[7] - images[6] - 8)
        source.write_bytes(content)
        name = f"{source}: the frame at 0.60 s"
    result = map_without_problems(source, tmp_path / "out")
    assert (result.mapped, result.undecodable) == (11, 1)
    meta = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (meta["mapped"], meta["broken"], meta["problems"]) == (11, 1, [])
    assert name in caplog.text
    assert map_with(source, tmp_path / "out", resume=True).was_complete


def test_readable_frames_of_a_truncated_video_are_mapped(tmp_path):
    path = video(tmp_path / "walk.avi")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (problem,) = map_with(path, tmp_path / "out").problems
    assert re.search(rf"{path} .* \d frames, .* 1\.20 s", problem)
    assert_kept(tmp_path / "out")


def assert_kept(output: Path) -> None:
    meta = json.loads((output / "run.json").read_text())
    assert meta["problems"]
    assert not meta["interrupted"]
    assert len(read_tum(output / "trajectory.txt")) == meta["mapped"] > 0
    assert len(read_ply(output / "map.ply")[0]) > 0
    assert "Problem: " in (output / "report.html").read_text()
    assert [path for path in output.rglob("*") if ".part" in path.name] == []


@pytest.mark.parametrize("kind", ["bag", "folder", "dataset"])
def test_an_image_with_the_stamp_of_the_last_is_skipped(tmp_path, monkeypatch, kind):
    frames = shots(12)
    frames[5] = replace(frames[5], stamp_ns=frames[4].stamp_ns)
    monkeypatch.setattr("recordings.shots", lambda _: frames)
    source = (room_bag if kind == "bag" else image_folder)(tmp_path / "room")
    if kind == "dataset":
        listed = [
            f"{frame.stamp_ns / 1e9:.9f} rgb/{index:04d}.png\n" for index, frame in enumerate(frames)
        ]
        (source / "rgb.txt").write_text("".join(listed))
    result = map_without_problems(source, tmp_path / "out")
    assert (result.mapped, result.skipped) == (11, {"out of order": 1})
    assert [record.skipped for record in result.records].index("out of order") == 5
    assert kind == "bag" or result.evaluation["pairs"] == 11


def test_a_true_pose_that_is_not_finite_excludes_only_its_frame(tmp_path):
    source = image_folder(tmp_path / "room")
    lines = (source / "groundtruth.txt").read_text().splitlines()
    lines[5] = " ".join([lines[5].split()[0], *["nan"] * 7])
    (source / "groundtruth.txt").write_text("\n".join(lines))
    result = map_without_problems(source, tmp_path / "out")
    assert (result.mapped, result.evaluation["pairs"]) == (12, 11)


def test_a_source_of_uniform_images_is_a_problem_with_their_number(tmp_path):
    source = image_folder(tmp_path / "room", truth=False)
    for path in (source / "rgb").iterdir():
        cv2.imwrite(str(path), np.full((120, 160, 3), 7, np.uint8))
    result = map_with(source, tmp_path / "out")
    assert (result.mapped, result.skipped) == (0, {"of one color": 12})
    assert any("12 of one color" in problem for problem in result.problems)
    assert not (tmp_path / "out" / "trajectory.txt").exists()


@pytest.mark.parametrize("limit_kib", [1, 6], ids=["no output fits", "the map does not fit"])
def test_a_full_disk_leaves_no_partial_file(tmp_path, limit_kib):
    """A limit on the size of files replaces the full disk: writing beyond it fails in the same way."""
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


def test_an_output_that_cannot_be_written_raises_with_its_path(tmp_path):
    (tmp_path / "file").touch()
    source = image_folder(tmp_path / "room", truth=False)
    with pytest.raises(OutputError, match=str(tmp_path / "file" / "out")):
        map_with(source, tmp_path / "file" / "out")
