# SPDX-License-Identifier: Apache-2.0
"""Several sources in one call."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from recordings import image_folder, room_bag
from running import wait_for_pictures

from ttt3r_ros import SourceOptions, map_recordings
from ttt3r_ros.config import from_mapping
from ttt3r_ros.io.trajectory_files import read_tum
from ttt3r_ros.offline.batch.task import WORKER
from ttt3r_ros.offline.folder.lock import lock_folder

LONG = 80  # frames: more than are mapped before a signal arrives
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not installed: pip install 'ttt3r_ros[ray]'"
)


def summary(output: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((output / "summary.json").read_text())
    return content


def test_each_source_has_a_folder_and_a_broken_one_does_not_stop_the_others(tmp_path):
    room_bag(tmp_path / "bags" / "a.mcap", 4)
    room_bag(tmp_path / "bags" / "c.mcap", 4)
    (tmp_path / "bags" / "b.mcap").write_text("no bag at all")
    folder = image_folder(tmp_path / "a")
    output = tmp_path / "out"
    options = SourceOptions(max_frames=3)
    counts = []
    results = map_recordings(
        [folder, tmp_path / "bags" / "*.mcap"], output, outputs=["trajectory"], options=options, jobs=2,
        on_result=lambda _, count, total: counts.append((count, total)),
    )  # fmt: skip
    assert [(result.name, result.status) for result in results] == [
        ("a", 0), ("a.mcap", 0), ("b", 1), ("c.mcap", 0),
    ]  # fmt: skip
    assert counts == [(1, 4), (2, 4), (3, 4), (4, 4)]
    written = {result["name"]: result for result in summary(output)["results"]}
    assert list(written) == ["a", "a.mcap", "b", "c.mcap"]
    assert [result["status"] for result in written.values()] == [0, 0, 1, 0]
    assert "b.mcap" in written["b"]["problem"]
    assert written["a"]["ate_se3_m"] > 0
    assert summary(output)["failed"] == 1
    for name in ("a", "a.mcap", "c.mcap"):
        assert len(read_tum(output / name / "trajectory.txt")) == 3
    assert not (output / "b").exists() or not list((output / "b").iterdir())


def test_a_resumed_batch_maps_only_unfinished_sources(tmp_path):
    image_folder(tmp_path / "one", truth=False)
    output, options = tmp_path / "out", SourceOptions(max_frames=2)
    (first,) = map_recordings([tmp_path / "one"], output, options=options, jobs=1)
    assert first.status == 0
    before = (output / "one" / "run.json").stat().st_mtime_ns
    image_folder(tmp_path / "two", truth=False)
    sources = [tmp_path / "one", tmp_path / "two"]
    results = map_recordings(sources, output, options=options, resume=True)
    assert [(result.status, result.frames) for result in results] == [(0, 2), (0, 2)]
    assert (output / "one" / "run.json").stat().st_mtime_ns == before
    assert len(read_tum(output / "two" / "trajectory.txt")) == 2
    assert [result["frames"] for result in summary(output)["results"]] == [2, 2]


def test_a_resumed_batch_refuses_another_source_and_other_settings(tmp_path):
    for name in ("mine", "yours"):
        image_folder(tmp_path / name / "room", truth=False)
    mine, yours, output = tmp_path / "mine" / "room", tmp_path / "yours" / "room", tmp_path / "out"
    keywords = {"outputs": ("trajectory", "state"), "jobs": 1}
    map_recordings([mine], output, options=SourceOptions(max_frames=2), **keywords)
    (result,) = map_recordings([mine], output, resume=True, **keywords)
    assert (result.status, result.frames) == (0, 12)
    changes = ((mine, {"map.voxel_size": 0.5}, "map.voxel_size is 0.5"), (yours, {}, str(yours)))
    for source, settings, value in changes:
        config = from_mapping(settings)
        (result,) = map_recordings([source], output, config, resume=True, **keywords)
        assert (result.outcome, result.frames) == ("failed", 0)
        assert value in result.problem
        assert summary(output)["results"][0]["frames"] == 0


@pytest.mark.slow
def test_a_second_ctrl_c_ends_a_batch_at_once_and_leaves_no_process(tmp_path):
    image_folder(tmp_path / "one", LONG, truth=False)
    output = tmp_path / "out"
    command = [sys.executable, "-m", "ttt3r_ros", "run", tmp_path / "one", "--jobs", "1"]
    command += ["--output", output, "--outputs", "rgb"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for_pictures(output / "one", 1, process)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    with lock_folder(output / "one"):
        pass  # the process that wrote there has ended


def test_an_interrupted_batch_lets_each_run_write_its_results(tmp_path):
    for name in ("one", "two"):
        image_folder(tmp_path / name, LONG, truth=False)
    output = tmp_path / "out"
    command = [sys.executable, "-m", "ttt3r_ros", "run", tmp_path / "one", tmp_path / "two"]
    command += ["--output", output, "--outputs", "default", "rgb"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for_pictures(output / "one", 3, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    first, second = summary(output)["results"]
    assert (first["result"], second["result"]) == ("interrupted", "interrupted")
    assert (first["frames"] >= 3, second["frames"]) == (True, 0)
    assert len(read_tum(output / "one" / "trajectory.txt")) == first["frames"]


@pytest.mark.slow
@needs_ray
def test_a_ray_cluster_maps_one_source_per_task_and_tries_a_killed_one_again(tmp_path):
    image_folder(tmp_path / "one", LONG, truth=False)
    image_folder(tmp_path / "two", 4, truth=False)
    (tmp_path / "three").mkdir()
    output = tmp_path / "out"
    sources = [tmp_path / name for name in ("one", "two", "three")]
    command = [sys.executable, "-m", "ttt3r_ros", "run", *sources, "--ray", "local", "--output", output]
    command += ["--outputs", "trajectory", "rgb"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for_pictures(output / "one", 1, process, patience_s=90)
    kill_the_run_of(output / "one")
    printed = process.communicate(timeout=90)[0]
    assert process.returncode == 1, printed
    one, two, three = summary(output)["results"]
    assert (one["result"], one["attempts"], one["frames"]) == ("done", 2, LONG), printed
    assert (two["result"], two["attempts"], two["frames"]) == ("done", 1, 4)
    assert (three["result"], three["attempts"]) == ("failed", 1)
    assert str(tmp_path / "three") in three["problem"]


def kill_the_run_of(folder: Path) -> None:
    """Kill the process that writes into a folder, as a lost machine would."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if WORKER.encode() in words and any(str(folder).encode() in word for word in words):
            os.kill(int(entry.name), signal.SIGKILL)
            return
    raise AssertionError(folder)


@pytest.mark.slow
@needs_ray
def test_ctrl_c_lets_the_runs_on_a_ray_cluster_write_their_results(tmp_path):
    image_folder(tmp_path / "one", 120, truth=False)
    output = tmp_path / "out"
    command = [sys.executable, "-m", "ttt3r_ros", "run", tmp_path / "one", "--ray", "local"]
    command += ["--output", output, "--outputs", "trajectory", "rgb"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for_pictures(output / "one", 1, process, patience_s=90)
    process.send_signal(signal.SIGINT)
    printed = process.communicate(timeout=90)[0]
    assert process.returncode == 130, printed
    (one,) = summary(output)["results"]
    assert one["result"] == "interrupted", printed
    assert 0 < one["frames"] < 120
    assert len(read_tum(output / "one" / "trajectory.txt")) == one["frames"]
