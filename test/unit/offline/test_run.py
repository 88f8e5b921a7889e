# SPDX-License-Identifier: Apache-2.0
"""Offline runs from end to end, with the weights of the package."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from mapping import map_with, map_without_problems
from recordings import image_folder, shots
from running import wait_for_pictures

from ttt3r_ros import SourceOptions, map_recording
from ttt3r_ros.errors import ConfigError
from ttt3r_ros.io.frame_records import read_frames
from ttt3r_ros.io.run_folder import OUTPUTS, RunFolder
from ttt3r_ros.io.trajectory_files import read_tum
from ttt3r_ros.model.checkpoints.networks import PACKAGE_WEIGHTS, load_network
from ttt3r_ros.offline import progress as run_progress
from ttt3r_ros.offline.folder.lock import RunFolderError

if TYPE_CHECKING:
    from pathlib import Path

MEASURED = ("run.json", "report.html")  # contain durations
ONE_THREAD = {"threads": 1}  # another number adds in another order
LONG = 80  # frames: more than are mapped before a signal arrives
# Several state resets, and leveling, which rotates the map.
CHANGES = {"reset_interval": 5, "level_source": "floor"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return image_folder(tmp_path_factory.mktemp("source") / "room")


@pytest.fixture(scope="module")
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with every output."""
    output = tmp_path_factory.mktemp("finished") / "out"
    map_without_problems(folder, output, "all", settings=CHANGES)
    return output


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in MEASURED
    }


def assert_same(one: Path, other: Path) -> None:
    left, right = contents(one), contents(other)
    assert list(left) == list(right)
    assert [name for name in left if left[name] != right[name]] == []


def test_every_output_is_written_and_nothing_else(finished):
    names = {path.relative_to(finished).parts[0] for path in finished.rglob("*")}
    assert names == {
        "run.json", "frames.csv", "trajectory.txt", "trajectory_kitti.txt", "trajectory_euroc.csv", "camera.json",
        "map.ply", "map.pcd", "map.pgm", "map.yaml", "map.glb", "rgb", "depth", "confidence", "depth_npz", "colmap",
        "transforms.json", "bag", "report.html", "state.npz", ".ttt3r_run",
    }  # fmt: skip
    assert sorted(json.loads((finished / "run.json").read_text())["outputs"]) == sorted(OUTPUTS)
    for name in ("rgb", "depth", "confidence", "depth_npz"):
        assert len(list((finished / name).iterdir())) == 12


def test_the_same_input_gives_the_same_bytes(folder, finished, tmp_path):
    map_without_problems(folder, tmp_path / "out", "all", settings=CHANGES)
    assert_same(finished, tmp_path / "out")


def test_run_json_has_source_counts_settings_and_errors(folder, finished):
    meta = json.loads((finished / "run.json").read_text())
    assert (meta["source"], meta["frames"], meta["mapped"]) == (str(folder), 12, 12)
    assert (meta["interrupted"], meta["problems"], meta["skipped"]) == (False, [], {})
    assert meta["changed_settings"] == {"reset_interval": 5, "level_source": "floor"}
    assert meta["weights"].startswith("ttt3r_small.safetensors")
    assert set(meta["error"]) >= {"ate_se3_m", "ate_sim3_m", "scale"}
    assert len(meta["timings_ms"]["network"]) == 12


def test_a_run_can_be_read_back_frame_by_frame(finished):
    saved = RunFolder(finished)
    stamps_ns, poses = saved.poses()
    assert stamps_ns == [frame.stamp_ns for frame in shots()]
    assert poses.shape == (12, 4, 4)
    assert len(saved.cloud().points) > 100
    assert [record.segment for record in saved.records()] == [0] * 5 + [1] * 5 + [2] * 2
    rgb, depth_m, confidence = saved.frame(11)
    assert confidence is not None
    assert rgb.shape == (*load_network(PACKAGE_WEIGHTS).network.config.img_size, 3)
    with np.load(finished / "depth_npz" / "000011.npz") as exact:
        sure = np.isfinite(depth_m)
        np.testing.assert_allclose(depth_m[sure], exact["depth"][sure], atol=0.00051)
        np.testing.assert_allclose(exact["T_map_camera"], poses[11], atol=1e-6)


@pytest.mark.parametrize("first", [1, 7])
def test_a_resumed_run_has_the_outputs_of_an_uninterrupted_one(folder, finished, tmp_path, first):
    names = [name for name in OUTPUTS if name != "bag"]
    map_without_problems(folder, tmp_path, *names, settings=CHANGES, max_frames=first)
    assert len(read_tum(tmp_path / "trajectory.txt")) == first
    result = map_without_problems(folder, tmp_path, settings=CHANGES, resume=True)
    assert (result.resumed_at, result.mapped) == (first, 12)
    whole, resumed = contents(finished), contents(tmp_path)
    different = {name for name, content in resumed.items() if content != whole[name]}
    assert different <= {"state.npz", ".ttt3r_run"}  # they list the outputs; this run has no bag
    assert set(resumed) == {name for name in whole if not name.startswith("bag/")}


def test_a_resumed_run_must_have_the_same_source_and_settings(folder, tmp_path):
    map_without_problems(folder, tmp_path, max_frames=3)
    with pytest.raises(ConfigError, match=r"map\.voxel_size is 0\.1.* 0\.05"):
        map_with(folder, tmp_path, settings={"map.voxel_size": 0.1}, resume=True)
    other = image_folder(tmp_path / "other", truth=False)
    with pytest.raises(ConfigError, match=str(other)):
        map_with(other, tmp_path, resume=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_an_interrupted_run_writes_its_results_and_can_be_resumed(tmp_path, number):
    source, output = image_folder(tmp_path / "room", LONG, truth=False), tmp_path / "out"
    command = [sys.executable, "-m", "ttt3r_ros", "run", source, "--output", output]
    command += ["--outputs", "default", "rgb", "--set", "threads=1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_for_pictures(output, 5, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; --resume continues with frame" in errors
    meta = json.loads((output / "run.json").read_text())
    assert meta["interrupted"]
    assert 5 <= meta["frames"] < LONG
    assert len(read_tum(output / "trajectory.txt")) == meta["mapped"]
    assert (output / "report.html").is_file()
    more = {"settings": ONE_THREAD, "max_frames": meta["frames"] + 4}
    map_without_problems(source, output, resume=True, **more)
    map_without_problems(source, tmp_path / "whole", "trajectory", "frames", "map", **more)
    for name in ("trajectory.txt", "frames.csv", "map.ply"):
        assert (output / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_uniform_and_undecodable_images_are_skipped_and_counted(tmp_path):
    source = image_folder(tmp_path / "room", truth=False)
    cv2.imwrite(str(source / "rgb" / "0003.png"), np.full((120, 160, 3), 7, np.uint8))
    (source / "rgb" / "0005.png").write_bytes(b"\x89PNG and nothing more")
    result = map_without_problems(source, tmp_path / "out")
    assert (result.mapped, result.skipped, result.undecodable) == (10, {"of one color": 1}, 1)
    meta = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (meta["mapped"], meta["skipped"], meta["broken"]) == (10, {"of one color": 1}, 1)
    records = read_frames(tmp_path / "out" / "frames.csv")
    assert re.search(r"\b7 to 7\b", records[3].skip_detail)
    assert len(RunFolder(tmp_path / "out")) == len(RunFolder(tmp_path / "out").records()) == 10


def test_only_overwrite_replaces_a_run_and_only_its_files(folder, tmp_path):
    map_without_problems(folder, tmp_path, "all", max_frames=2)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError) as found:
        map_with(folder, tmp_path)
    assert found.value.remedies == ("resume", "overwrite")
    assert len(read_tum(tmp_path / "trajectory.txt")) == 2
    map_without_problems(folder, tmp_path, "trajectory", overwrite=True)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "notes.txt", "run.json", "camera.json", ".ttt3r_run",
        "trajectory.txt", "trajectory_kitti.txt", "trajectory_euroc.csv",
    }  # fmt: skip


def test_stride_and_limit_choose_frames(folder, tmp_path):
    result = map_without_problems(folder, tmp_path, stride=3, max_frames=2)
    expected = (shots()[0].stamp_ns, shots()[3].stamp_ns)
    assert result.stamps_ns == expected
    assert tuple(stamp_ns for stamp_ns, _ in read_tum(tmp_path / "trajectory.txt")) == expected


def test_without_a_terminal_progress_is_shown_in_lines(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run_progress, "_LINE_INTERVAL_S", 0.0)
    map_recording(folder, tmp_path, options=SourceOptions(max_frames=3), progress=True)
    lines = [line for line in capsys.readouterr().err.splitlines() if "frames/s" in line]
    assert len(lines) == 3
    assert re.fullmatch(
        r"room: 2 of 3 frames, [\d.]+ frames/s, \d:\d\d left, \d+ MiB, \d+ voxels", lines[1]
    )


def test_the_report_refers_to_no_other_file(finished):
    text = (finished / "report.html").read_text()
    assert not re.search(r"(?:src|href|url\()\s*=?\s*[\"']?(?:https?:)?//", text)
    assert set(re.findall(r'src="(data:image/[a-z+]+;base64),', text)) == {
        "data:image/png;base64",
        "data:image/svg+xml;base64",
    }
    for heading in ("Trajectory", "Map", "Over time", "Stage timings", "Skipped frames", "Settings"):
        assert f"<h2>{heading}</h2>" in text
    for word in ("ATE, SE(3)", "ATE, Sim(3)", "RPE", "map.voxel_size", "reset_interval"):
        assert word in text


def test_a_nearly_empty_map_is_a_warning_with_the_threshold(folder, tmp_path):
    result = map_without_problems(folder, tmp_path / "out", settings={"map.min_confidence": 100000})
    (warning,) = result.warnings
    assert re.search(r"\b0\.0 % .*map\.min_confidence 100000", warning)
    assert warning[1:] in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_most_pixels_reach_the_confidence_threshold_of_the_map(finished):
    records = read_frames(finished / "frames.csv")
    assert np.mean([record.fused_fraction for record in records]) > 0.5


def test_visual_odometry_tracks_all_images_but_the_first(finished):
    first, *others = read_frames(finished / "frames.csv")
    assert first.landmarks == 0
    assert min(record.landmarks for record in others) > 50
    meta = json.loads((finished / "run.json").read_text(encoding="utf-8"))
    assert meta["tracked_ratio"] == pytest.approx(len(others) / (1 + len(others)), abs=1e-4)
    assert "poses by visual odometry" in (finished / "report.html").read_text(encoding="utf-8")


def test_the_report_escapes_names(tmp_path):
    source = image_folder(tmp_path / "<b>room & co", truth=False)
    map_without_problems(source, tmp_path / "out", "report", max_frames=2)
    text = (tmp_path / "out" / "report.html").read_text()
    assert "&lt;b&gt;room &amp; co" in text
    assert "<b>" not in text
