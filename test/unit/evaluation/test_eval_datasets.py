# SPDX-License-Identifier: Apache-2.0
"""Every data set's protocols through the command: the demo's room laid out as each of them, a few frames long."""

from __future__ import annotations

import json
import shutil
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from ttt3r_ros.cli.main import main
from ttt3r_ros.geometry import quat_xyzw_from_rotation, se3_inverse
from ttt3r_ros.io.sources import SourceOptions, open_source
from ttt3r_ros.model.checkpoints.networks import PACKAGE_WEIGHTS, load_network
from ttt3r_ros.synthetic.room import ProceduralRoom, RenderedFrame

pytest.importorskip("evo")
pytest.importorskip("matplotlib")
pytestmark = pytest.mark.usefixtures("few_points")

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FRAMES = 5
ROOM = ProceduralRoom(frames=FRAMES, width=96, height=72)
SINTEL_TAG = np.array(202021.25, "<f4").tobytes()


@cache
def shot(index: int) -> RenderedFrame:
    return ROOM.render(index % FRAMES)


def write_image(path: Path, index: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), shot(index).rgb[..., ::-1])


def write_depth(path: Path, index: int, units_per_m: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), (shot(index).depth_m * units_per_m).astype(np.uint16))


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def text_of(matrix: np.ndarray) -> str:
    return "\n".join(" ".join(repr(float(value)) for value in row) for row in matrix) + "\n"


def write_listed(folder: Path, frames: int) -> None:
    """Write the layout of TUM RGB-D and Bonn."""
    rgb, depth, truth = [], [], []
    for k in range(frames):
        stamp = f"{10 + k}.000"
        write_image(folder / "rgb" / f"{stamp}.png", k)
        write_depth(folder / "depth" / f"{stamp}.png", k, 5000.0)
        rgb.append(f"{stamp} rgb/{stamp}.png")
        depth.append(f"{stamp} depth/{stamp}.png")
        T = shot(k).T_world_camera
        pose = " ".join(map(str, (*T[:3, 3], *quat_xyzw_from_rotation(T[:3, :3]))))
        truth.append(f"{10 + k}.010 {pose}")
    for name, lines in (("rgb", rgb), ("depth", depth), ("groundtruth", truth)):
        write_text(folder / f"{name}.txt", "\n".join(lines) + "\n")


def tum(root: Path) -> None:
    write_listed(root / "rgbd_dataset_freiburg3_walking_xyz", FRAMES)


def bonn(root: Path) -> None:
    write_listed(root / "rgbd_bonn_balloon2", 30 + FRAMES)


def scannet(root: Path) -> None:
    scene = root / "scans_test" / "scene0707_00"
    for k in range(13):
        write_image(scene / "color" / f"{k}.jpg", k // 3)
        pose = shot(k // 3).T_world_camera if k != 6 else np.full((4, 4), -np.inf)
        write_text(scene / "pose" / f"{k}.txt", text_of(pose))


def sintel(root: Path) -> None:
    for k in range(FRAMES):
        name = f"frame_{k + 1:04d}"
        write_image(root / "training" / "final" / "alley_2" / f"{name}.png", k)
        K, T = ROOM.intrinsics.matrix(), se3_inverse(shot(k).T_world_camera)[:3]
        camera = SINTEL_TAG + np.concatenate((K.ravel(), T.ravel())).astype("<f8").tobytes()
        depth = (
            SINTEL_TAG + np.array([96, 72], "<i4").tobytes() + shot(k).depth_m.astype("<f4").tobytes()
        )
        for kind, suffix, data in (("camdata_left", "cam", camera), ("depth", "dpt", depth)):
            path = root / "training" / kind / "alley_2" / f"{name}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def kitti(root: Path) -> None:
    odometry, depth = root / "sequences" / "04", root / "val_selection_cropped"
    for k in range(FRAMES):
        write_image(odometry / "image_2" / f"{k:06d}.png", k)
        write_image(depth / "image_gathered" / "drive" / f"{k:010d}.png", k)
        if k:
            write_depth(depth / "groundtruth_depth_gathered" / "drive" / f"{k:010d}.png", k, 256.0)
    write_text(odometry / "times.txt", "\n".join(f"{0.1 * k:e}" for k in range(FRAMES)))
    rows = [shot(k).T_world_camera[:3].reshape(1, 12) for k in range(FRAMES)]
    write_text(root / "poses" / "04.txt", text_of(np.concatenate(rows)))


def seven_scenes(root: Path) -> None:
    scene = root / "heads" / "seq-01"
    for k in range(2 * FRAMES):
        write_image(scene / f"frame-{k:06d}.color.png", k // 2)
        write_depth(scene / f"frame-{k:06d}.depth.png", k // 2, 1000.0)
        write_text(scene / f"frame-{k:06d}.pose.txt", text_of(shot(k // 2).T_world_camera))


def nrgbd(root: Path) -> None:
    scene = root / "staircase"
    poses = []
    for k in range(FRAMES):
        write_image(scene / "images" / f"img{k}.png", k)
        write_depth(scene / "depth" / f"depth{k}.png", k, 1000.0)
        poses.append(shot(k).T_world_camera @ np.diag([1.0, -1.0, -1.0, 1.0]))
    write_text(scene / "poses.txt", text_of(np.concatenate(poses)))
    write_text(scene / "focal.txt", f"{ROOM.intrinsics.fx}\n")


CASES = {
    "tum": (tum, {"pose": ("walking_xyz", 5)}),
    "scannet": (scannet, {"pose": ("scene0707_00", 5)}),
    "sintel": (sintel, {"pose": ("alley_2", 5), "depth": ("alley_2", 5)}),
    "kitti": (kitti, {"pose": ("04", 5), "depth": ("drive", 4)}),
    "bonn": (bonn, {"depth": ("balloon2", 5)}),
    "7scenes": (seven_scenes, {"pose": ("heads/seq-01", 5), "reconstruction": ("heads/seq-01", 5)}),
    "nrgbd": (nrgbd, {"pose": ("staircase", 5), "reconstruction": ("staircase", 5)}),
}
FIGURE = {"pose": "ate_sim3_m", "depth": "abs_rel.scale", "reconstruction": "accuracy_mean.scaled"}


@pytest.mark.parametrize("dataset", CASES)
def test_a_data_set_is_evaluated_where_its_files_lie(dataset: str, tmp_path: Path, capsys) -> None:
    write: Callable[[Path], None]
    write, expected = CASES[dataset]
    write(tmp_path / "data")
    arguments = [str(tmp_path / "data"), "--output", str(tmp_path / "out"), "--protocols", *expected]
    assert main(["eval", dataset, *arguments]) == 0
    evaluations = json.loads((tmp_path / "out" / "results.json").read_text())["evaluations"]
    for one in evaluations:
        name = one["protocol"]["name"]
        (last,) = {(r["sequence"], r["frames"]) for r in one["results"]}
        assert last == expected[name]
        figure = one["results"][-1]["metrics"][FIGURE[name]]
        assert 0.0 < figure < 10.0
    assert {one["protocol"]["name"] for one in evaluations} == set(expected)
    printed = capsys.readouterr().out
    assert "| TTT3R | published weights |" in printed
    frames = load_network(PACKAGE_WEIGHTS).reset_interval
    assert (
        f"| **this run** | ttt3r, reset every {frames} frames, poses by visual odometry, the package's own"
        in printed
    )


def test_frames_without_a_true_pose_are_shown_and_not_compared(tmp_path: Path) -> None:
    scannet(tmp_path / "data")
    assert main(["eval", "scannet", str(tmp_path / "data"), "--output", str(tmp_path / "out")]) == 0
    evaluations = json.loads((tmp_path / "out" / "results.json").read_text())["evaluations"]
    result = evaluations[0]["results"][0]
    assert (result["frames"], result["metrics"]["pairs"]) == (5, 4)


def test_depth_of_7scenes_that_is_not_registered_is_said_in_table_and_json(tmp_path: Path) -> None:
    said = "no depth.proj.png: true depth is depth.png, which is not registered to the color camera"
    for name, is_said in (("raw", True), ("projected", False)):
        seven_scenes(tmp_path / name)
        if name == "projected":
            for file in (tmp_path / name).rglob("*.depth.png"):
                file.rename(file.with_name(file.name.replace(".depth.", ".depth.proj.")))
        arguments = ["7scenes", str(tmp_path / name), "--output", str(tmp_path / f"{name}_out")]
        assert main(["eval", *arguments, "--protocols", "reconstruction", "--lengths", "3"]) == 0
        table = (tmp_path / f"{name}_out" / "table.md").read_text()
        assert (f"Note, heads/seq-01: {said}." in table) == is_said
        content = json.loads((tmp_path / f"{name}_out" / "results.json").read_text())
        assert content["evaluations"][0]["results"][0]["remarks"] == [said] * is_said


def test_odometry_of_kitti_alone_says_that_depth_is_not_there(tmp_path: Path) -> None:
    kitti(tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "val_selection_cropped")
    assert main(["eval", "kitti", str(tmp_path / "data"), "--output", str(tmp_path / "out")]) == 0
    table = (tmp_path / "out" / "table.md").read_text()
    assert "## KITTI, depth\n\nNot there: " in table
    assert "expected depth_selection/val_selection_cropped/image_gathered/NAME or" in table
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(content["not_there"]) == ["KITTI, depth"]


def test_a_truncated_depth_costs_its_frame_alone_and_is_named(tmp_path: Path) -> None:
    kitti(tmp_path / "data")
    path = next((tmp_path / "data").rglob("groundtruth_depth_gathered/drive/0000000002.png"))
    path.write_bytes(path.read_bytes()[:100])
    arguments = ["kitti", str(tmp_path / "data"), "--protocols", "depth", "--lengths", "0"]
    assert main(["eval", *arguments, "--output", str(tmp_path / "out")]) == 0
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    (result,) = content["evaluations"][0]["results"]
    assert (result["frames"], result["metrics"]["pixels"]) == (4, 3 * 96 * 72)
    assert "true depths that cannot be read are left out, 1: " in result["remarks"][0]
    assert "0000000002.png is not a depth image" in (tmp_path / "out" / "table.md").read_text()


@pytest.mark.parametrize(("dataset", "name"), [("tum", "walking_xyz"), ("bonn", "balloon2")])
def test_rows_of_nan_in_the_truth_are_left_out_and_counted(
    dataset: str, name: str, tmp_path: Path
) -> None:
    (tum if dataset == "tum" else bonn)(tmp_path)
    truth = next(tmp_path.rglob("groundtruth.txt"))
    lines = truth.read_text().splitlines()
    lines[2] = " ".join([lines[2].split()[0], *["nan"] * 7])
    truth.write_text("\n".join(lines))
    sequence = open_source(str(truth.parent), SourceOptions(format=dataset))
    assert len(sequence.ground_truth()) == len(lines) - 1
    assert sequence.remarks == (f"1 of {len(lines)} true poses are not finite and ignored",)
