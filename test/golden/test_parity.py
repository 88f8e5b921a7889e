# SPDX-License-Identifier: Apache-2.0
"""The network against recorded outputs of the reference implementation."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import parity as command

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
CASES = sorted(path.stem for path in HERE.glob("*__*.npz")) + ["geometry", "preprocess"]


class Finished(NamedTuple):
    """Exit status and output of the command."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def parity(capsys: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    def run(*arguments: object) -> Finished:
        return Finished(command.main([str(word) for word in arguments]), *capsys.readouterr())

    return run


def test_every_recorded_case_is_within_its_bounds():
    finished = subprocess.run(
        [sys.executable, command.__file__, str(HERE)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    for name in CASES:
        assert f"\n{name}  (" in "\n" + finished.stdout
    assert "FAIL" not in finished.stdout
    assert f"{len(CASES)} cases within bounds, 0 not" in finished.stdout


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for name in ("linear_a.json", "linear_a__main_ttt3r.npz", "recipe.py"):
        shutil.copy(HERE / name, tmp_path / name)
    return tmp_path


def altered(folder: Path, change: dict[str, np.ndarray], without: str = "") -> Path:
    file = folder / "linear_a__main_ttt3r.npz"
    with np.load(file) as archive:
        arrays = {
            key: archive[key]
            for key in archive.files
            if key.removeprefix("rope32_") != without or not without
        }
    np.savez(file, **(arrays | change))
    return folder


@pytest.mark.parametrize(
    "output", ["rope32_state_after", "rope32_camera_pose", "rope32_gate_logit", "new_mem"]
)
def test_a_small_difference_in_one_output_is_a_failure(parity, copied, output):
    with np.load(copied / "linear_a__main_ttt3r.npz") as archive:
        recorded = archive[output].copy()
    bound = 2e-5 if output.startswith("rope32") else 2e-3
    recorded.flat[np.abs(recorded).argmax()] *= 1 + 3 * bound
    finished = parity(altered(copied, {output: recorded}))
    assert finished.returncode == 1
    assert [line.split()[1] for line in finished.stdout.splitlines() if "FAIL" in line] == [output]


@pytest.mark.parametrize("name", ["linear_a__main_ttt3r", "dpt_small__main_cut3r"])
def test_points_or_quaternions_of_the_wrong_sign_are_a_failure(parity, tmp_path, name):
    for file in (f"{name}.npz", f"{name.split('__')[0]}.json", "recipe.py"):
        shutil.copy(HERE / file, tmp_path / file)
    with np.load(HERE / f"{name}.npz") as archive:
        arrays = {key: archive[key] for key in archive.files}
    for prefix in ("", "rope32_"):
        arrays[f"{prefix}pts3d_in_self_view"] = -arrays[f"{prefix}pts3d_in_self_view"]
        arrays[f"{prefix}camera_pose"][:, 3:] *= -1
    np.savez(tmp_path / f"{name}.npz", **arrays)
    failed = [line.split()[1] for line in parity(tmp_path).stdout.splitlines() if "FAIL" in line]
    expected = [
        f"{prefix}{output}"
        for prefix in ("", "rope32_")
        for output in ("pts3d_in_self_view", "camera_pose")
    ]
    assert sorted(failed) == sorted(expected)


def test_a_missing_output_is_a_failure(parity, copied):
    finished = parity(altered(copied, {}, without="mem_after"))
    assert finished.returncode == 1
    assert "mem_after" in finished.stdout


def test_an_unknown_output_is_a_failure(parity, copied):
    finished = parity(altered(copied, {"rope32_surprise": np.zeros(3, np.float32)}))
    assert finished.returncode == 1
    assert "rope32_surprise" in finished.stdout


def test_a_wrong_update_rule_is_a_failure(parity, copied):
    shutil.move(copied / "linear_a__main_ttt3r.npz", copied / "linear_a__main_cut3r.npz")
    assert parity(copied).returncode == 1


def test_a_wrong_rotary_base_is_a_failure(parity, copied):
    description = json.loads((copied / "linear_a.json").read_text())
    description["config"]["pos_embed"] = "RoPE50"
    (copied / "linear_a.json").write_text(json.dumps(description))
    assert parity(copied).returncode == 1


@pytest.mark.parametrize("arguments", [["absent-folder"], [HERE, "--case", "absent_case"]])
def test_a_missing_folder_or_case_is_one_line_on_stderr(parity, arguments):
    finished = parity(*arguments)
    assert finished.returncode == 1
    assert "absent" in finished.stderr
    assert finished.stderr.count("\n") == 1


def test_an_empty_folder_is_a_failure(parity, tmp_path):
    assert parity(tmp_path).returncode == 1


def copy_case(folder: Path, name: str) -> Path:
    for file in (f"{name}.npz", f"{name.split('__', maxsplit=1)[0]}.json", "recipe.py"):
        shutil.copy(HERE / file, folder / file)
    return folder / f"{name}.npz"


def test_a_demo_case_runs_at_the_size_of_its_own_images(parity, tmp_path):
    copy_case(tmp_path, "linear_a__demo_ttt3r")
    description = json.loads((tmp_path / "linear_a.json").read_text())
    description["config"]["img_size"] = [224, 224]
    (tmp_path / "linear_a.json").write_text(json.dumps(description))
    finished = parity(tmp_path)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "ok   demo_pts_world" in finished.stdout


def test_a_case_that_raises_does_not_end_the_others(parity, tmp_path):
    file = copy_case(tmp_path, "linear_a__demo_ttt3r")
    copy_case(tmp_path, "linear_a__main_ttt3r")
    with np.load(file) as archive:
        arrays = {key: archive[key] for key in archive.files}
    np.savez(file, **(arrays | {"in_img_u8": arrays["in_img_u8"][:, 1:]}))
    finished = parity(tmp_path)
    assert finished.returncode == 1
    assert "1 cases within bounds, 1 not: linear_a__demo_ttt3r" in finished.stdout
    (line,) = finished.stderr.splitlines()
    assert "linear_a__demo_ttt3r" in line
