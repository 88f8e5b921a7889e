# SPDX-License-Identifier: Apache-2.0
"""A run locks its folder, removes only files of runs, and keeps finished results."""

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
from mapping import map_with, map_without_problems
from recordings import image_folder, shots
from running import wait_for_pictures

from ttt3r_ros.errors import ImageError, OutputError, SourceError
from ttt3r_ros.io.run_folder import RunFolder
from ttt3r_ros.io.trajectory_files import read_tum
from ttt3r_ros.offline.folder.lock import MARKER, RunFolderError, lock_folder
from ttt3r_ros.pipeline.reconstructor import Reconstructor

if TYPE_CHECKING:
    from pathlib import Path

LONG = 60  # frames: more than are mapped before a signal arrives
FEW = ("trajectory", "state")  # outputs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return image_folder(tmp_path_factory.mktemp("source") / "room")


# The process that starts the tests may ignore signals, as nohup does.
DEFAULT_SIGHUP = """
import runpy, signal
signal.signal(signal.SIGHUP, signal.SIG_DFL)
runpy.run_module("ttt3r_ros", run_name="__main__")
"""


def start(*words: object, errors: int = subprocess.PIPE) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", DEFAULT_SIGHUP, "run", *map(str, words), "--set", "threads=1"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, text=True)


def test_the_source_is_never_overwritten(tmp_path):
    source = image_folder(tmp_path / "room")
    before = sorted(path.name for path in source.rglob("*"))
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(RunFolderError, match=str(source)) as found:
            map_with(source, source, "default", "rgb", **options)
        assert found.value.remedies == ("output",)
    assert sorted(path.name for path in source.rglob("*")) == before


def test_a_run_does_not_replace_its_source_images(folder, tmp_path):
    map_without_problems(folder, tmp_path, "rgb", max_frames=3)
    with pytest.raises(RunFolderError, match=str(tmp_path)):
        map_with(tmp_path / "rgb", tmp_path, *FEW, overwrite=True)
    assert len(list((tmp_path / "rgb").iterdir())) == 3


def test_overwrite_keeps_folders_that_no_run_has_written(folder, tmp_path):
    for name in ("bag_2024_07_01", "rgb"):
        (tmp_path / name).mkdir()
    map_without_problems(folder, tmp_path, *FEW, max_frames=3)
    map_without_problems(folder, tmp_path, *FEW, max_frames=3, overwrite=True)
    assert (tmp_path / "bag_2024_07_01").is_dir()
    assert (tmp_path / "rgb").is_dir()


def test_a_source_without_readable_images_does_not_replace_a_run(folder, tmp_path):
    output, broken = tmp_path / "out", tmp_path / "broken"
    map_without_problems(folder, output, *FEW, max_frames=3)
    broken.mkdir()
    (broken / "a.png").write_bytes(b"no image")
    with pytest.raises(SourceError, match="none of 1 files"):
        map_with(broken, output, overwrite=True)
    assert len(read_tum(output / "trajectory.txt")) == 3
    assert (output / "run.json").is_file()


def test_a_source_without_a_usable_image_does_not_replace_a_run(folder, tmp_path, monkeypatch):
    def refuse(self, frame):
        raise ImageError("one color")

    map_without_problems(folder, tmp_path, *FEW, max_frames=3)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != MARKER}
    monkeypatch.setattr(Reconstructor, "infer", refuse)
    with pytest.raises(SourceError, match=rf"no frame could be mapped.*{tmp_path}"):
        map_with(folder, tmp_path, overwrite=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != MARKER} == before
    assert map_with(folder, tmp_path / "new").problems, "without an earlier run a summary is written"
    assert (tmp_path / "new" / "run.json").is_file()


def test_a_run_without_a_state_cannot_be_resumed_and_stays(folder, tmp_path):
    map_without_problems(folder, tmp_path, "trajectory", max_frames=3)
    with pytest.raises(RunFolderError, match=r"state\.npz") as found:
        map_with(folder, tmp_path, "trajectory", resume=True)
    assert found.value.remedies == ("overwrite",)
    assert len(read_tum(tmp_path / "trajectory.txt")) == 3


def test_resuming_a_complete_run_writes_nothing(folder, tmp_path):
    first = map_without_problems(folder, tmp_path, *FEW, max_frames=3)
    before = (tmp_path / "run.json").read_bytes()
    second = map_without_problems(folder, tmp_path, *FEW, max_frames=3, resume=True)
    assert (first.was_complete, second.was_complete) == (False, True)
    assert second.stamps_ns == first.stamps_ns
    assert (tmp_path / "run.json").read_bytes() == before


def test_a_folder_is_for_one_run_at_a_time(folder, tmp_path):
    with lock_folder(tmp_path / "out"), pytest.raises(OutputError, match=str(tmp_path / "out")):
        map_with(folder, tmp_path / "out", *FEW)
    assert not (tmp_path / "out").exists()


def test_a_damaged_marker_owns_nothing(tmp_path):
    (tmp_path / MARKER).write_text("{")
    (tmp_path / "rgb").mkdir()
    with lock_folder(tmp_path) as locked:
        assert locked.files() == []
        with pytest.raises(OutputError, match="rgb"):
            locked.require_free(("rgb",), tmp_path.parent)


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), OSError("device is gone")], ids=repr)
def test_frames_before_an_unexpected_error_are_written(folder, tmp_path, monkeypatch, error):
    infer = Reconstructor.infer

    def failing(self, frame):
        if frame.stamp_ns == shots()[5].stamp_ns:
            raise error
        return infer(self, frame)

    monkeypatch.setattr(Reconstructor, "infer", failing)
    (problem,) = map_with(folder, tmp_path).problems
    assert problem == f"frame 5: {type(error).__name__}: {error}"
    assert len(read_tum(tmp_path / "trajectory.txt")) == 5
    monkeypatch.undo()
    assert map_without_problems(folder, tmp_path, resume=True).mapped == 12
    assert len(read_tum(tmp_path / "trajectory.txt")) == 12


def test_a_closed_standard_error_does_not_end_a_run(folder, tmp_path):
    read, write = os.pipe()
    os.close(read)
    words = ("--output", tmp_path, "--outputs", *FEW, "--max-frames", 3)
    process = start(folder, *words, errors=write)
    os.close(write)
    assert process.wait(60) == 0
    assert len(read_tum(tmp_path / "trajectory.txt")) == 3


def test_a_hangup_ends_a_run_as_ctrl_c_does(tmp_path):
    source, output = image_folder(tmp_path / "room", LONG, truth=False), tmp_path / "out"
    process = start(source, "--output", output, "--outputs", "default", "rgb")
    wait_for_pictures(output, 3, process)
    process.send_signal(signal.SIGHUP)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert RunFolder(output).meta["interrupted"]


def test_a_bag_that_was_not_closed_is_written_from_the_first_frame(tmp_path):
    source, output = image_folder(tmp_path / "room", LONG, truth=False), tmp_path / "out"
    outputs, one_thread = ("state", "rgb", "bag", "trajectory"), {"threads": 1}
    map_without_problems(source, output, *outputs, settings=one_thread, max_frames=2)
    process = start(source, "--output", output, "--resume", "--max-frames", LONG)
    wait_for_pictures(output, 4, process)
    process.kill()
    process.communicate(timeout=60)
    map_without_problems(source, output, settings=one_thread, max_frames=5, resume=True)
    map_without_problems(source, tmp_path / "whole", *outputs, settings=one_thread, max_frames=5)
    names = {path.relative_to(output) for path in output.rglob("*")}
    assert names == {path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*")}
    bag = "bag/bag.mcap.zstd" if (output / "bag" / "bag.mcap.zstd").exists() else "bag/bag.mcap"
    assert (output / bag).read_bytes() == (tmp_path / "whole" / bag).read_bytes()


def test_a_damaged_depth_image_costs_one_measurement_of_the_scale(tmp_path, caplog):
    source = image_folder(tmp_path / "room")
    depth = source / "depth" / "0003.png"
    depth.parent.mkdir(exist_ok=True)
    depth.write_bytes(b"no image")
    result = map_without_problems(source, tmp_path / "out", settings={"scale.source": "depth"})
    assert str(depth) in caplog.text
    assert result.mapped == 12


def test_file_names_need_not_be_utf8(tmp_path):
    source = tmp_path / os.fsdecode(b"caf\xe9")
    source.mkdir()
    for index, frame in enumerate(shots()[:3]):
        encoded = tmp_path / "image.png"
        cv2.imwrite(str(encoded), frame.rgb[..., ::-1])
        shutil.copy(encoded, source / os.fsdecode(b"im\xff%d.png" % index))
    output = tmp_path / "out"
    map_without_problems(source, output, "default")
    assert json.loads((output / "run.json").read_text())["mapped"] == 3


def test_hidden_files_and_folders_named_like_images_are_ignored(tmp_path):
    source = image_folder(tmp_path / "room", truth=False)
    (source / "rgb" / "._0000.png").write_bytes(b"left by another system")
    (source / "rgb" / "more.png").mkdir()
    assert map_without_problems(source, tmp_path / "out", "frames").undecodable == 0
