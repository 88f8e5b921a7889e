# SPDX-License-Identifier: Apache-2.0
"""Several sources in one call."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from recordings import image_folder, room_bag
from running import wait_for_pictures

from ttt3r_ros.cli.main import main
from ttt3r_ros.io.trajectory_files import read_tum
from ttt3r_ros.offline.batch.task import WORKER
from ttt3r_ros.offline.folder.lock import lock_folder

LONG = 80  # frames: more than are mapped before a signal arrives
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not installed: pip install 'ttt3r_ros[ray]'"
)


def run(*arguments: object) -> int:
    return main(["run", *map(str, arguments)])


def summary(output: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((output / "summary.json").read_text())
    return content


def test_each_source_has_a_folder_and_a_broken_one_does_not_stop_the_others(tmp_path, capsys):
    room_bag(tmp_path / "bags" / "a.mcap", 4)
    room_bag(tmp_path / "bags" / "c.mcap", 4)
    (tmp_path / "bags" / "b.mcap").write_text("no bag at all")
    folder = image_folder(tmp_path / "a")
    output = tmp_path / "out"
    words = ("--outputs", "trajectory", "--max-frames", 3, "--jobs", 2)
    assert run(folder, tmp_path / "bags" / "*.mcap", "--output", output, *words) == 1
    told = capsys.readouterr()
    results = {result["name"]: result for result in summary(output)["results"]}
    assert list(results) == ["a", "a.mcap", "b", "c.mcap"]
    assert [result["status"] for result in results.values()] == [0, 0, 1, 0]
    assert "b.mcap" in results["b"]["problem"]
    assert results["a"]["ate_se3_m"] > 0
    assert summary(output)["failed"] == 1
    for name in ("a", "a.mcap", "c.mcap"):
        assert len(read_tum(output / name / "trajectory.txt")) == 3
    assert not (output / "b").exists() or not list((output / "b").iterdir())
    assert "3 of 4 done" in told.out
    assert "[4 of 4]" in told.err


def test_a_resumed_batch_does_only_what_is_left(tmp_path):
    image_folder(tmp_path / "one", truth=False)
    output = tmp_path / "out"
    assert run(tmp_path / "one", "--jobs", 1, "--max-frames", 2, "--output", output) == 0
    before = (output / "one" / "run.json").stat().st_mtime_ns
    image_folder(tmp_path / "two", truth=False)
    words = ("--resume", "--max-frames", 2, "--output", output)
    assert run(tmp_path / "one", tmp_path / "two", *words) == 0
    assert (output / "one" / "run.json").stat().st_mtime_ns == before
    assert len(read_tum(output / "two" / "trajectory.txt")) == 2
    assert [result["frames"] for result in summary(output)["results"]] == [2, 2]


def test_a_resumed_batch_takes_nothing_for_done_that_is_another_source_or_has_other_settings(tmp_path):
    for name in ("mine", "yours"):
        image_folder(tmp_path / name / "walk", truth=False)
    output = tmp_path / "out"
    words = ("--jobs", 1, "--output", output, "--outputs", "trajectory", "state")
    assert run(tmp_path / "mine" / "walk", *words, "--max-frames", 2) == 0
    assert run(tmp_path / "mine" / "walk", *words, "--resume") == 0
    assert summary(output)["results"][0]["frames"] == 12
    changes = (
        (tmp_path / "mine" / "walk", ("--set", "map.voxel_size=0.5"), "map.voxel_size is 0.5"),
        (tmp_path / "yours" / "walk", (), "source is"),
    )
    for source, options, why in changes:
        assert run(source, *words, "--resume", *options) == 1
        (result,) = summary(output)["results"]
        assert (result["result"], result["frames"]) == ("failed", 0), (
            "not the figures of the earlier run"
        )
        assert why in result["problem"]


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
        pass  # nobody is writing there any more


def test_an_interrupted_batch_lets_each_run_write_what_there_is(tmp_path):
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
    told = process.communicate(timeout=90)[0]
    assert process.returncode == 1, told
    one, two, three = summary(output)["results"]
    assert (one["result"], one["attempts"], one["frames"]) == ("done", 2, LONG), told
    assert (two["result"], two["attempts"], two["frames"]) == ("done", 1, 4)
    assert (three["result"], three["attempts"]) == ("failed", 1)
    assert str(tmp_path / "three") in three["problem"]


def kill_the_run_of(folder: Path) -> None:
    """Kill the process that writes into a folder, as a machine that goes away would."""
    import os

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
def test_ctrl_c_lets_the_runs_on_a_ray_cluster_write_what_there_is(tmp_path):
    image_folder(tmp_path / "one", 120, truth=False)
    output = tmp_path / "out"
    command = [sys.executable, "-m", "ttt3r_ros", "run", tmp_path / "one", "--ray", "local"]
    command += ["--output", output, "--outputs", "trajectory", "rgb"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for_pictures(output / "one", 1, process, patience_s=90)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=90)[0]
    assert process.returncode == 130, told
    (one,) = summary(output)["results"]
    assert one["result"] == "interrupted", told
    assert 0 < one["frames"] < 120
    assert len(read_tum(output / "one" / "trajectory.txt")) == one["frames"]
