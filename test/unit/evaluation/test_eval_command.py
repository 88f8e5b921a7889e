# SPDX-License-Identifier: Apache-2.0
"""The command ``ttt3r_ros eval`` with the weights of the package, on folders that are written here."""

from __future__ import annotations

import json
import shutil
from functools import cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from ttt3r_ros.cli.main import main
from ttt3r_ros.evaluation import run as evaluation_run
from ttt3r_ros.evaluation.measurement import Measurement, evaluate
from ttt3r_ros.geometry import quat_xyzw_from_rotation
from ttt3r_ros.model.checkpoints.networks import PACKAGE_WEIGHTS, load_network
from ttt3r_ros.synthetic.room import ProceduralRoom, RenderedFrame

pytest.importorskip("evo")
pytest.importorskip("matplotlib")
pytestmark = pytest.mark.usefixtures("few_points")

if TYPE_CHECKING:
    from pathlib import Path


ROOM = ProceduralRoom(frames=6, width=96, height=72)


@cache
def shot(index: int) -> RenderedFrame:
    return ROOM.render(index)


def written(folder: Path, frames: int = 6, *, depth: bool = True) -> Path:
    """Write the demo's room in the layout of recorded sequences."""
    for name in ("rgb", "depth"):
        (folder / name).mkdir(parents=True)
    rows = []
    for index in range(frames):
        rendered = shot(index)
        T = rendered.T_world_camera
        cv2.imwrite(str(folder / "rgb" / f"{index:06d}.png"), rendered.rgb[..., ::-1])
        if depth:
            millimeters = (rendered.depth_m * 1000).astype(np.uint16)
            cv2.imwrite(str(folder / "depth" / f"{index:06d}.png"), millimeters)
        rows.append(" ".join(map(str, (0.1 * index, *T[:3, 3], *quat_xyzw_from_rotation(T[:3, :3])))))
    (folder / "groundtruth.txt").write_text("\n".join(rows))
    lens = ROOM.intrinsics
    camera = {"fx": lens.fx, "fy": lens.fy, "cx": lens.cx, "cy": lens.cy, "width": 96, "height": 72}
    (folder / "camera.json").write_text(json.dumps(camera))
    return folder


def evaluated(root: Path, output: Path, *options: str) -> tuple[int, dict[str, dict]]:
    status = main(["eval", "folder", str(root), "--output", str(output), *options])
    content = json.loads((output / "results.json").read_text())
    return status, {one["protocol"]["name"]: one for one in content["evaluations"]}


def test_every_task_is_evaluated_and_written(tmp_path: Path, capsys) -> None:
    written(tmp_path / "data" / "walk")
    written(tmp_path / "data" / "stroll", frames=5)
    out = tmp_path / "out"
    status, found = evaluated(tmp_path / "data", out, "--lengths", "4", "0", "--set", "threads=1")
    assert status == 0
    assert set(found) == {"pose", "depth", "reconstruction"}
    assert [(r["sequence"], r["length"], r["frames"]) for r in found["pose"]["results"]] == [
        ("stroll", 4, 4), ("stroll", 0, 5), ("walk", 4, 4), ("walk", 0, 6),
    ]  # fmt: skip
    for one in found.values():
        assert all(result["metrics"] and not result["problem"] for result in one["results"])
    assert {"ate_se3_m", "ate_sim3_m", "scale"} <= set(found["pose"]["means"]["0"])
    printed = capsys.readouterr().out
    assert (out / "table.md").read_text() in printed
    assert "the package's own ttt3r_small.safetensors" in printed
    assert {path.name for path in out.iterdir()} == {
        "table.md", "results.json", "walk_pose_depth_reconstruction.png", "stroll_pose_depth_reconstruction.png",
    }  # fmt: skip
    picture = cv2.imread(str(out / "walk_pose_depth_reconstruction.png"))
    assert picture.std() > 10, "something is drawn"
    content = json.loads((out / "results.json").read_text())
    assert content["settings"]["threads"] == 1
    assert content["network"]["reset_interval"] == load_network(PACKAGE_WEIGHTS).reset_interval
    assert {"ttt3r_ros", "numpy", "torch", "evo", "scipy"} <= set(content["versions"])


def test_the_same_run_gives_the_same_figures(tmp_path: Path) -> None:
    root = written(tmp_path / "walk", frames=3)
    first, second = (
        evaluated(root, tmp_path / name, "--update-rule", "cut3r")[1] for name in ("one", "two")
    )
    for name, one in first.items():
        assert one["means"] == second[name]["means"]


def test_a_sequence_that_cannot_be_read_is_a_row_and_fails_the_command(tmp_path: Path, capsys) -> None:
    written(tmp_path / "data" / "walk", depth=False)
    (tmp_path / "data" / "broken" / "rgb").mkdir(parents=True)
    status, found = evaluated(tmp_path / "data", tmp_path / "out")
    assert status == 1
    assert "no results for broken" in capsys.readouterr().err
    problems = {result["sequence"]: result["problem"] for result in found["depth"]["results"]}
    assert problems["walk"] == "walk has no true depth"
    assert "image" in problems["broken"]
    assert found["pose"]["results"][1]["metrics"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nowhere", "{root}"], "data set is 'nowhere'; expected one of tum, scannet"),
        (["folder", "{root}/none"], "none is not a folder; expected the root of folders"),
        (["tum", "{root}"], "has no sequence"),
        (["folder", "{root}", "--sequences", "run"], "no sequence run of folders"),
        (["folder", "{root}", "--set", "voxels=3"], "unknown setting voxels"),
    ],
)
def test_what_cannot_be_evaluated_is_one_clear_line(
    arguments: list[str], text: str, tmp_path: Path, capsys
) -> None:
    written(tmp_path / "walk", frames=3)
    words = [word.format(root=tmp_path) for word in arguments]
    assert main(["eval", *words, "--output", str(tmp_path / "out")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert text in lines[0]


def test_an_output_that_cannot_be_written_fails_before_the_work(tmp_path: Path, capsys) -> None:
    root = written(tmp_path / "walk", frames=3)
    (tmp_path / "file").write_text("")
    assert main(["eval", "folder", str(root), "--output", str(tmp_path / "file")]) == 1
    assert "file cannot be written: File exists" in capsys.readouterr().err


def test_one_broken_file_of_each_kind_costs_its_frame_alone(tmp_path: Path) -> None:
    root = written(tmp_path / "walk")
    depth = root / "depth" / "000004.png"
    depth.write_bytes(depth.read_bytes()[:60])
    lines = (root / "groundtruth.txt").read_text().splitlines()
    lines[1] = " ".join([lines[1].split()[0], *["nan"] * 3, "0", "0", "0", "1"])
    (root / "groundtruth.txt").write_text("\n".join(lines))
    status, found = evaluated(root, tmp_path / "out")
    assert status == 0
    pose, depths = (found[name]["results"][0] for name in ("pose", "depth"))
    assert (pose["metrics"]["pairs"], pose["metrics"]["steps"]) == (5, 3)
    assert pose["remarks"] == ["1 of 6 true poses are not finite and ignored"]
    assert depths["metrics"]["pixels"] == 5 * 24 * 17, "the network crops two rows of pixels"
    assert "000004.png is not a depth image" in depths["remarks"][1]
    assert found["reconstruction"]["results"][0]["metrics"]["views"] == 4


def test_an_interruption_leaves_a_table_that_says_what_was_not_run(
    tmp_path: Path, capsys, monkeypatch
) -> None:
    for name in ("a", "b", "c"):
        written(tmp_path / "data" / name, frames=4)
    calls = []

    def interrupted(name: str, *arguments: Any) -> Measurement:
        calls.append(name)
        if name == "b":
            raise KeyboardInterrupt
        return evaluate(name, *arguments)

    monkeypatch.setattr(evaluation_run, "evaluate", interrupted)
    status, found = evaluated(tmp_path / "data", tmp_path / "out", "--protocols", "pose")
    assert (status, calls) == (130, ["a", "b"])
    assert found["pose"]["not_run"] == ["b", "c"]
    table = (tmp_path / "out" / "table.md").read_text()
    assert "1 of 3 sequences" in table
    assert "Not run, for the run was interrupted: b, c." in table


def test_a_picture_that_fails_is_a_problem_and_the_figures_stay(
    tmp_path: Path, capsys, monkeypatch
) -> None:
    root = written(tmp_path / "walk", frames=4)

    def broken(*_: Any) -> bool:
        msg = "no ink"
        raise ValueError(msg)

    monkeypatch.setattr(evaluation_run, "write_plot", broken)
    status, found = evaluated(root, tmp_path / "out", "--protocols", "pose")
    assert status == 1
    assert "walk: the plot could not be written: no ink" in capsys.readouterr().err
    assert found["pose"]["results"][0]["metrics"]
    assert (
        "Note, walk: the plot could not be written: no ink."
        in (tmp_path / "out" / "table.md").read_text()
    )


@pytest.mark.parametrize(
    ("options", "interval", "text"),
    [
        ([], 0, "no resets"),
        (["--set", "reset_interval=100"], 100, "reset every 100 frames"),
        (["--set", "reset_interval=-1"], 16, "reset every 16 frames"),
    ],
)
def test_weights_of_others_run_without_resets_unless_it_is_wished(
    options: list[str], interval: int, text: str, tmp_path: Path
) -> None:
    root = written(tmp_path / "walk", frames=3)
    weights = shutil.copy(PACKAGE_WEIGHTS, tmp_path / "published.safetensors")
    arguments = ["folder", str(root), "--protocols", "pose", "--weights", str(weights), *options]
    assert main(["eval", *arguments, "--output", str(tmp_path / "out")]) == 0
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert content["network"]["reset_interval"] == interval
    assert content["network"]["pose_source"] == "network"
    assert (
        f"This run: ttt3r, {text}, published.safetensors" in (tmp_path / "out" / "table.md").read_text()
    )


@pytest.mark.parametrize("text", ["x", "-3", "1.5"])
def test_a_number_of_frames_that_is_none_is_told_with_what_was_expected(
    text: str, tmp_path: Path, capsys
) -> None:
    with pytest.raises(SystemExit):
        main(["eval", "folder", str(tmp_path), "--output", str(tmp_path), f"--lengths={text}"])
    assert f"'{text}' is not a number of frames" in capsys.readouterr().err


def test_a_name_with_a_slash_and_a_length_said_twice_are_taken_once(tmp_path: Path) -> None:
    written(tmp_path / "data" / "a_ok", frames=4)
    options = ["--sequences", "a_ok/", "--lengths", "4", "4", "--protocols", "pose"]
    status, found = evaluated(tmp_path / "data", tmp_path / "out", *options)
    assert status == 0
    assert [result["sequence"] for result in found["pose"]["results"]] == ["a_ok"]
    assert (tmp_path / "out" / "a_ok_pose.png").is_file()
