# SPDX-License-Identifier: Apache-2.0
"""The command ``ttt3r_ros eval`` with the weights of the package, on folders that are written here."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from ttt3r_ros.cli.main import main
from ttt3r_ros.geometry import quat_xyzw_from_rotation
from ttt3r_ros.io.room import ProceduralRoom, RenderedFrame
from ttt3r_ros.model.weights import PACKAGE_WEIGHTS, load_network

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
            millimetres = (rendered.depth_m * 1000).astype(np.uint16)
            cv2.imwrite(str(folder / "depth" / f"{index:06d}.png"), millimetres)
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
    status, found = evaluated(tmp_path / "data", out, "--frames", "4", "0", "--set", "threads=1")
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
    assert "nothing could be evaluated of broken" in capsys.readouterr().err
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
    assert "cannot write" in capsys.readouterr().err
