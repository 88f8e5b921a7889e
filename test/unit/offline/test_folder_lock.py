# SPDX-License-Identifier: Apache-2.0
"""A run has its folder for itself, removes nothing but what runs wrote, and loses nothing that was finished."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import cv2
import pytest
from recordings import image_folder, shots
from running import wait_for_pictures

from ttt3r_ros.cli.main import main
from ttt3r_ros.errors import OutputError
from ttt3r_ros.io.run_folder import RunFolder
from ttt3r_ros.io.trajectory_files import read_tum
from ttt3r_ros.offline.folder.lock import MARKER, lock_folder
from ttt3r_ros.pipeline.reconstructor import Reconstructor

if TYPE_CHECKING:
    from pathlib import Path

LONG = 60  # frames: more than are mapped before a signal arrives
FEW = ("--outputs", "trajectory", "state", "--max-frames", "3")


def run(*arguments: object) -> int:
    return main(["run", *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return image_folder(tmp_path_factory.mktemp("source") / "room")


# Whoever starts the tests may have asked for signals to be ignored, as nohup does.
HEARING = """
import runpy, signal
signal.signal(signal.SIGHUP, signal.SIG_DFL)
runpy.run_module("ttt3r_ros", run_name="__main__")
"""


def started(*words: object, errors: int = subprocess.PIPE) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HEARING, "run", *map(str, words), "--set", "threads=1"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, text=True)


def test_the_source_is_never_written_over(tmp_path, capsys):
    source = image_folder(tmp_path / "room")
    before = sorted(path.name for path in source.rglob("*"))
    for options in ((), ("--overwrite",), ("--resume",)):
        assert run(source, "--output", source, "--outputs", "default", "rgb", *options) == 1
        assert "choose another --output" in capsys.readouterr().err
    assert sorted(path.name for path in source.rglob("*")) == before


def test_a_run_does_not_replace_the_pictures_that_it_is_to_map(folder, tmp_path, capsys):
    assert run(folder, "--output", tmp_path, "--outputs", "rgb", "--max-frames", 3) == 0
    assert run(tmp_path / "rgb", "--output", tmp_path, "--overwrite", *FEW) == 1
    assert "is the source" in capsys.readouterr().err
    assert len(list((tmp_path / "rgb").iterdir())) == 3


def test_overwrite_leaves_what_no_run_has_written(folder, tmp_path):
    for name in ("bag_2024_07_01", "rgb"):
        (tmp_path / name).mkdir()
    assert run(folder, "--output", tmp_path, *FEW) == 0
    assert run(folder, "--output", tmp_path, "--overwrite", *FEW) == 0
    assert (tmp_path / "bag_2024_07_01").is_dir()
    assert (tmp_path / "rgb").is_dir()


def test_what_is_there_stays_until_the_new_source_shows_something(folder, tmp_path, capsys):
    output, broken = tmp_path / "out", tmp_path / "broken"
    assert run(folder, "--output", output, *FEW) == 0
    broken.mkdir()
    (broken / "a.png").write_bytes(b"no image")
    assert run(broken, "--output", output, "--overwrite") == 1
    assert "none of 1 files can be read as an image" in capsys.readouterr().err
    assert len(read_tum(output / "trajectory.txt")) == 3
    assert (output / "run.json").is_file()


def test_a_run_without_a_state_is_not_thrown_away_by_resuming(folder, tmp_path, capsys):
    assert run(folder, "--output", tmp_path, "--outputs", "trajectory", "--max-frames", 3) == 0
    assert run(folder, "--output", tmp_path, "--resume", "--outputs", "trajectory") == 1
    assert "without state.npz, which cannot be resumed" in capsys.readouterr().err
    assert len(read_tum(tmp_path / "trajectory.txt")) == 3


def test_resuming_a_run_that_is_done_does_nothing(folder, tmp_path, capsys):
    assert run(folder, "--output", tmp_path, *FEW) == 0
    before = (tmp_path / "run.json").read_bytes()
    assert run(folder, "--output", tmp_path, "--resume", *FEW) == 0
    assert "nothing is left to do" in capsys.readouterr().out
    assert (tmp_path / "run.json").read_bytes() == before


def test_a_folder_is_for_one_run_at_a_time(folder, tmp_path, capsys):
    with lock_folder(tmp_path / "out"):
        assert run(folder, "--output", tmp_path / "out", *FEW) == 1
        assert "another run is writing into" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_damaged_marker_owns_nothing(tmp_path):
    (tmp_path / MARKER).write_text("{")
    (tmp_path / "rgb").mkdir()
    with lock_folder(tmp_path) as locked:
        assert locked.files() == []
        with pytest.raises(OutputError, match="rgb"):
            locked.require_free(("rgb",), tmp_path.parent)


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), OSError("device is gone")], ids=repr)
def test_whatever_fails_in_the_middle_what_was_mapped_is_written(
    folder, tmp_path, monkeypatch, capsys, error
):
    infer = Reconstructor.infer

    def failing(self, frame):
        if frame.stamp_ns == shots()[5].stamp_ns:
            raise error
        return infer(self, frame)

    monkeypatch.setattr(Reconstructor, "infer", failing)
    assert run(folder, "--output", tmp_path) == 1
    assert f"frame 5: {type(error).__name__}: {error}" in capsys.readouterr().err
    assert len(read_tum(tmp_path / "trajectory.txt")) == 5
    monkeypatch.undo()
    assert run(folder, "--output", tmp_path, "--resume") == 0
    assert len(read_tum(tmp_path / "trajectory.txt")) == 12


def test_nobody_has_to_listen(folder, tmp_path):
    read, write = os.pipe()
    os.close(read)
    process = started(folder, "--output", tmp_path, *FEW, errors=write)
    os.close(write)
    assert process.wait(60) == 0
    assert len(read_tum(tmp_path / "trajectory.txt")) == 3


def test_a_terminal_that_goes_away_ends_a_run_as_ctrl_c_does(tmp_path):
    source, output = image_folder(tmp_path / "room", LONG, truth=False), tmp_path / "out"
    process = started(source, "--output", output, "--outputs", "default", "rgb")
    wait_for_pictures(output, 3, process)
    process.send_signal(signal.SIGHUP)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert RunFolder(output).meta["interrupted"]


def test_a_bag_that_was_not_closed_is_made_anew(tmp_path):
    source, output = image_folder(tmp_path / "room", LONG, truth=False), tmp_path / "out"
    outputs = ("--outputs", "state", "rgb", "bag", "trajectory")
    assert run(source, "--output", output, *outputs, "--max-frames", 2, "--set", "threads=1") == 0
    process = started(source, "--output", output, "--resume", "--max-frames", LONG)
    wait_for_pictures(output, 4, process)
    process.kill()
    process.communicate(timeout=60)
    assert run(source, "--output", output, "--resume", "--max-frames", 5, "--set", "threads=1") == 0
    assert (
        run(source, "--output", tmp_path / "whole", *outputs, "--max-frames", 5, "--set", "threads=1")
        == 0
    )
    names = {path.relative_to(output) for path in output.rglob("*")}
    assert names == {path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*")}
    bag = "bag/bag.mcap.zstd" if (output / "bag" / "bag.mcap.zstd").exists() else "bag/bag.mcap"
    assert (output / bag).read_bytes() == (tmp_path / "whole" / bag).read_bytes()


def test_a_damaged_depth_image_costs_one_measurement_of_the_scale(tmp_path, capsys):
    source = image_folder(tmp_path / "room")
    depth = source / "depth" / "0003.png"
    depth.parent.mkdir(exist_ok=True)
    depth.write_bytes(b"no image")
    assert run(source, "--output", tmp_path / "out", "--set", "scale.source=depth") == 0
    assert f"no depth for the scale: {depth}" in capsys.readouterr().err
    assert RunFolder(tmp_path / "out").meta["mapped"] == 12


def test_names_that_are_no_utf8_are_names(tmp_path):
    source = tmp_path / os.fsdecode(b"caf\xe9")
    source.mkdir()
    for index, frame in enumerate(shots()[:3]):
        shown = tmp_path / "shown.png"
        cv2.imwrite(str(shown), frame.rgb[..., ::-1])
        shutil.copy(shown, source / os.fsdecode(b"im\xff%d.png" % index))
    output = tmp_path / "out"
    assert run(source, "--output", output, "--outputs", "default") == 0
    assert json.loads((output / "run.json").read_text())["mapped"] == 3


@pytest.mark.parametrize("source", ["", "~nobody_of_this_name/walk", "x" * 5000])
def test_a_source_that_cannot_even_be_looked_at_is_one_line(source, tmp_path, capsys):
    assert run(source, "--output", tmp_path / "out") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ttt3r_ros: ")


def test_hidden_files_and_folders_that_end_like_images_are_none(tmp_path):
    source = image_folder(tmp_path / "room", truth=False)
    (source / "rgb" / "._0000.png").write_bytes(b"left by another system")
    (source / "rgb" / "more.png").mkdir()
    assert run(source, "--output", tmp_path / "out", "--outputs", "frames") == 0
    assert RunFolder(tmp_path / "out").meta["broken"] == 0
