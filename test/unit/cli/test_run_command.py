# SPDX-License-Identifier: Apache-2.0
"""The command `ttt3r_ros run`: exit status and printed lines; test/unit/offline has the tests of the runs."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from recordings import image_folder, room_bag, video

from ttt3r_ros.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

FEW = ("--outputs", "trajectory", "state", "--max-frames", 2)


def run(*arguments: object) -> int:
    return main(["run", *map(str, arguments)])


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the only line on standard error that begins with the program's name."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ttt3r_ros: ")]
    assert len(lines) == 1, lines
    return lines[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return image_folder(tmp_path_factory.mktemp("source") / "room", frames=3)


def test_a_run_prints_counts_errors_and_the_folder(folder, tmp_path, capsys):
    assert run(folder, "--output", tmp_path, *FEW) == 0
    summary, errors, written = capsys.readouterr().out.splitlines()
    assert summary.startswith("room: 2 of 2 frames mapped")
    assert errors.startswith("ATE ")
    assert str(tmp_path) in written
    assert run(folder, "--output", tmp_path, "--resume", *FEW) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(str(tmp_path))


def test_a_run_that_cannot_start_is_one_line_with_the_decisive_value(folder, tmp_path, capsys):
    output = tmp_path / "out"
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    cases = {
        ("absent.mcap", "--output", output): "absent.mcap",
        (tmp_path / "*.mcap", "--output", output): "*.mcap",
        (tmp_path / "empty", "--output", output): str(tmp_path / "empty"),
        ("", "--output", output): "",
        ("~nobody_of_this_name/walk", "--output", output): "nobody_of_this_name",
        ("x" * 5000, "--output", output): "x",
        (folder, "--output", tmp_path / "file" / "out"): str(tmp_path / "file" / "out"),
        (folder, "--output", output, "--outputs", "nope"): "nope",
        (folder, "--output", folder, "--outputs", "rgb"): "choose another --output",
    }
    found = {arguments: (run(*arguments), error_line(capsys)) for arguments in cases}
    wrong = {
        arguments: result
        for arguments, result in found.items()
        if result[0] != 1 or cases[arguments] not in result[1]
    }
    assert wrong == {}
    assert not output.exists()


def test_an_existing_run_is_an_error_that_names_both_options(folder, tmp_path, capsys):
    assert run(folder, "--output", tmp_path, *FEW) == 0
    capsys.readouterr()
    assert run(folder, "--output", tmp_path, *FEW) == 1
    line = error_line(capsys)
    assert "--resume" in line
    assert "--overwrite" in line


def test_a_problem_of_a_run_is_printed_and_the_status_is_1(tmp_path, capsys):
    path = video(tmp_path / "walk.avi")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert run(path, "--output", tmp_path / "out", "--outputs", "trajectory") == 1
    assert str(path) in error_line(capsys)
    assert (tmp_path / "out" / "trajectory.txt").is_file()


def test_without_a_terminal_the_user_must_name_one_of_several_topics(tmp_path, capsys, monkeypatch):
    bag = room_bag(tmp_path / "bag", 2, topics=("/left/image", "/right/image"), calibrated=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert run(bag, "--output", tmp_path / "out", *FEW) == 1
    line = error_line(capsys)
    assert "/left/image" in line
    assert "/right/image" in line
    assert run(bag, "--topic", "/right/image", "--output", tmp_path / "out", *FEW) == 0


def test_a_batch_prints_progress_and_counts_and_fails_with_its_source(folder, tmp_path, capsys):
    (tmp_path / "broken.mcap").write_text("no bag at all")
    output = tmp_path / "out"
    assert run(folder, tmp_path / "*.mcap", "--output", output, *FEW, "--jobs", 2) == 1
    printed = capsys.readouterr()
    assert "1 of 2 done" in printed.out
    assert "[2 of 2]" in printed.err


def test_the_commands_start_without_the_packages_of_run():
    code = "import ttt3r_ros.cli.main, sys; print(sorted({'torch', 'matplotlib', 'tqdm', 'ray'} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": ""}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert found.stdout.strip() == "[]"
