# SPDX-License-Identifier: Apache-2.0
"""Evaluation of folders with the weights of the package, and exit status and lines of ``ttt3r_ros eval``."""

from __future__ import annotations

import json
import re
import shutil
from functools import cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from ttt3r_ros.cli.main import main
from ttt3r_ros.config import Config, from_mapping
from ttt3r_ros.evaluation import run as evaluation_run
from ttt3r_ros.evaluation.measurement import Measurement, evaluate
from ttt3r_ros.evaluation.run import evaluate_dataset
from ttt3r_ros.geometry import quat_xyzw_from_rotation
from ttt3r_ros.model.checkpoints.networks import PACKAGE_WEIGHTS, load_network
from ttt3r_ros.synthetic.room import ProceduralRoom, RenderedFrame

pytest.importorskip("evo")
pytest.importorskip("matplotlib")
pytestmark = pytest.mark.usefixtures("few_points")

if TYPE_CHECKING:
    from pathlib import Path

    from ttt3r_ros.evaluation.run import DatasetEvaluation


ROOM = ProceduralRoom(frames=6, width=96, height=72)


@cache
def shot(index: int) -> RenderedFrame:
    return ROOM.render(index)


def write_sequence(folder: Path, frames: int = 6, *, depth: bool = True) -> Path:
    """Write images, depth and true poses of the demo's room."""
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


def evaluations(output: Path) -> dict[str, dict[str, Any]]:
    """Return the evaluation of each protocol in results.json."""
    content = json.loads((output / "results.json").read_text())
    return {one["protocol"]["name"]: one for one in content["evaluations"]}


def evaluate_folder(
    root: Path, output: Path, config: Config | None = None, **options: Any
) -> tuple[DatasetEvaluation, dict[str, dict[str, Any]]]:
    evaluation = evaluate_dataset("folder", root, output, config or Config(), **options)
    return evaluation, evaluations(output)


def test_every_protocol_is_evaluated_and_written(tmp_path: Path) -> None:
    write_sequence(tmp_path / "data" / "walk")
    write_sequence(tmp_path / "data" / "stroll", frames=5)
    out = tmp_path / "out"
    evaluation, found = evaluate_folder(
        tmp_path / "data", out, from_mapping({"threads": 1}), lengths=[4, 0]
    )
    assert (evaluation.failed_sequences(), evaluation.failed_plots) == ([], 0)
    assert set(found) == {"pose", "depth", "reconstruction"}
    assert [(r["sequence"], r["length"], r["frames"]) for r in found["pose"]["results"]] == [
        ("stroll", 4, 4), ("stroll", 0, 5), ("walk", 4, 4), ("walk", 0, 6),
    ]  # fmt: skip
    for one in found.values():
        assert all(result["metrics"] and not result["problem"] for result in one["results"])
    assert {"ate_se3_m", "ate_sim3_m", "scale"} <= set(found["pose"]["means"]["0"])
    assert (out / "table.md").read_text() == evaluation.table
    assert "the package's own ttt3r_small.safetensors" in evaluation.table
    assert {path.name for path in out.iterdir()} == {
        "table.md", "results.json", "walk_pose_depth_reconstruction.png", "stroll_pose_depth_reconstruction.png",
    }  # fmt: skip
    picture = cv2.imread(str(out / "walk_pose_depth_reconstruction.png"))
    assert picture.std() > 10, "the plot is not empty"
    content = json.loads((out / "results.json").read_text())
    assert content["settings"]["threads"] == 1
    assert content["network"]["reset_interval"] == load_network(PACKAGE_WEIGHTS).reset_interval
    assert {"ttt3r_ros", "numpy", "torch", "evo", "scipy"} <= set(content["versions"])


def test_the_same_run_gives_the_same_figures(tmp_path: Path) -> None:
    root, config = write_sequence(tmp_path / "walk", frames=3), from_mapping({"update_rule": "cut3r"})
    first, second = (evaluate_folder(root, tmp_path / name, config)[1] for name in ("one", "two"))
    assert {name: one["means"] for name, one in first.items()} == {
        name: one["means"] for name, one in second.items()
    }


def test_the_command_prints_the_table_and_fails_with_an_unreadable_sequence(
    tmp_path: Path, capsys
) -> None:
    write_sequence(tmp_path / "data" / "walk", depth=False)
    (tmp_path / "data" / "broken" / "rgb").mkdir(parents=True)
    out = tmp_path / "out"
    arguments = ["--output", str(out), "--update-rule", "cut3r"]
    assert main(["eval", "folder", str(tmp_path / "data"), *arguments]) == 1
    printed = capsys.readouterr()
    assert (out / "table.md").read_text() in printed.out
    errors = [line for line in printed.err.splitlines() if line.startswith("ttt3r_ros: ")]
    assert len(errors) == 1
    assert "broken" in errors[0]
    assert json.loads((out / "results.json").read_text())["settings"]["update_rule"] == "cut3r"
    found = evaluations(out)
    problems = {result["sequence"]: result["problem"] for result in found["depth"]["results"]}
    assert "depth" in problems["walk"]
    assert "image" in problems["broken"]
    assert found["pose"]["results"][1]["metrics"]


def test_an_evaluation_that_cannot_start_is_one_line_with_the_decisive_value(
    tmp_path: Path, capsys
) -> None:
    root = str(write_sequence(tmp_path / "data" / "walk", frames=3).parent)
    (tmp_path / "file").write_text("")
    out = str(tmp_path / "out")
    cases = {
        ("nowhere", root, "--output", out): "nowhere",
        ("folder", f"{root}/none", "--output", out): "none",
        ("tum", root, "--output", out): root,
        ("folder", root, "--sequences", "run", "--output", out): "run",
        ("folder", root, "--set", "voxels=3", "--output", out): "voxels",
        ("folder", root, "--output", str(tmp_path / "file")): str(tmp_path / "file"),
    }
    wrong = {}
    for arguments, value in cases.items():
        status = main(["eval", *arguments])
        lines = capsys.readouterr().err.splitlines()
        if status != 1 or len(lines) != 1 or value not in lines[0]:
            wrong[arguments] = (status, lines)
    assert wrong == {}


def test_a_damaged_file_of_each_kind_excludes_only_its_frame(tmp_path: Path) -> None:
    root = write_sequence(tmp_path / "walk")
    depth = root / "depth" / "000004.png"
    depth.write_bytes(depth.read_bytes()[:60])
    lines = (root / "groundtruth.txt").read_text().splitlines()
    lines[1] = " ".join([lines[1].split()[0], *["nan"] * 3, "0", "0", "0", "1"])
    (root / "groundtruth.txt").write_text("\n".join(lines))
    evaluation, found = evaluate_folder(root, tmp_path / "out")
    assert evaluation.failed_sequences() == []
    pose, depths = (found[name]["results"][0] for name in ("pose", "depth"))
    assert (pose["metrics"]["pairs"], pose["metrics"]["steps"]) == (5, 3)
    (remark,) = pose["remarks"]
    assert remark.startswith("1 of 6 ")
    assert depths["metrics"]["pixels"] == 5 * 24 * 17, "the network crops two rows of pixels"
    assert "000004.png" in depths["remarks"][1]
    assert found["reconstruction"]["results"][0]["metrics"]["views"] == 4


def test_after_an_interruption_the_table_lists_the_sequences_without_results(
    tmp_path: Path, monkeypatch
) -> None:
    for name in ("a", "b", "c"):
        write_sequence(tmp_path / "data" / name, frames=4)
    calls = []

    def interrupted(name: str, *arguments: Any) -> Measurement:
        calls.append(name)
        if name == "b":
            raise KeyboardInterrupt
        return evaluate(name, *arguments)

    monkeypatch.setattr(evaluation_run, "evaluate", interrupted)
    out = tmp_path / "out"
    words = ["folder", str(tmp_path / "data"), "--output", str(out), "--protocols", "pose"]
    assert (main(["eval", *words]), calls) == (130, ["a", "b"])
    assert evaluations(out)["pose"]["not_run"] == ["b", "c"]
    table = (out / "table.md").read_text()
    assert "1 of 3 sequences" in table
    assert "b, c" in table


def test_a_failed_plot_is_a_remark_and_the_figures_are_written(tmp_path: Path, monkeypatch) -> None:
    root = write_sequence(tmp_path / "walk", frames=4)

    def broken(*_: Any) -> bool:
        msg = "no ink"
        raise ValueError(msg)

    monkeypatch.setattr(evaluation_run, "write_plot", broken)
    lines: list[str] = []
    options = {"protocols": ["pose"], "on_progress": lines.append}
    evaluation, found = evaluate_folder(root, tmp_path / "out", **options)
    assert evaluation.failed_plots == 1
    assert any(line.startswith("walk: ") and "no ink" in line for line in lines)
    assert found["pose"]["results"][0]["metrics"]
    assert "no ink" in evaluation.table


def test_published_weights_run_without_resets_unless_the_setting_is_given(tmp_path: Path) -> None:
    root = write_sequence(tmp_path / "walk", frames=3)
    weights = shutil.copy(PACKAGE_WEIGHTS, tmp_path / "published.safetensors")
    cases = (
        ([], 0, "no resets"),
        (["--set", "reset_interval=100"], 100, "every 100 frames"),
        (["--set", "reset_interval=-1"], 16, "every 16 frames"),
    )
    for number, (options, interval, text) in enumerate(cases):
        out = tmp_path / str(number)
        arguments = ["folder", str(root), "--protocols", "pose", "--weights", str(weights), *options]
        assert main(["eval", *arguments, "--output", str(out)]) == 0
        network = json.loads((out / "results.json").read_text())["network"]
        assert (network["reset_interval"], network["pose_source"]) == (interval, "network")
        assert re.search(rf"ttt3r, .*{text}, published\.safetensors", (out / "table.md").read_text())


def test_a_length_must_be_a_number_of_frames(tmp_path: Path, capsys) -> None:
    for text in ("x", "-3", "1.5"):
        with pytest.raises(SystemExit) as found:
            main(["eval", "folder", str(tmp_path), "--output", str(tmp_path), f"--lengths={text}"])
        assert found.value.code == 2
        assert f"'{text}'" in capsys.readouterr().err


def test_a_name_may_end_with_a_slash_and_a_repeated_length_counts_once(tmp_path: Path) -> None:
    write_sequence(tmp_path / "data" / "a_ok", frames=4)
    options = {"sequences": ["a_ok/"], "lengths": [4, 4], "protocols": ["pose"]}
    evaluation, found = evaluate_folder(tmp_path / "data", tmp_path / "out", **options)
    assert evaluation.failed_sequences() == []
    assert [result["sequence"] for result in found["pose"]["results"]] == ["a_ok"]
    assert (tmp_path / "out" / "a_ok_pose.png").is_file()
