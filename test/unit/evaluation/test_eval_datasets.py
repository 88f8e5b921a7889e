# SPDX-License-Identifier: Apache-2.0
"""Protocols of every dataset on a few frames of the demo's room, written in the format of the dataset."""

from __future__ import annotations

import json
import re
import shutil
from functools import cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from ttt3r_ros.config import Config
from ttt3r_ros.evaluation.run import evaluate_dataset
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
    """Write the format of TUM RGB-D and Bonn."""
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


def evaluate(dataset: str, root: Path, output: Path, **options: Any) -> tuple[dict[str, Any], str]:
    """Return the contents of results.json and table.md; every sequence must have results."""
    evaluation = evaluate_dataset(dataset, root, output, Config(), **options)
    assert evaluation.failed_sequences() == []
    assert (output / "table.md").read_text() == evaluation.table
    content: dict[str, Any] = json.loads((output / "results.json").read_text())
    return content, evaluation.table


@pytest.mark.parametrize("dataset", CASES)
def test_sequences_are_found_in_the_folders_of_the_dataset(dataset: str, tmp_path: Path) -> None:
    write: Callable[[Path], None]
    write, expected = CASES[dataset]
    write(tmp_path / "data")
    content, table = evaluate(dataset, tmp_path / "data", tmp_path / "out", protocols=list(expected))
    for one in content["evaluations"]:
        name = one["protocol"]["name"]
        (last,) = {(r["sequence"], r["frames"]) for r in one["results"]}
        assert last == expected[name]
        figure = one["results"][-1]["metrics"][FIGURE[name]]
        assert 0.0 < figure < 10.0
    assert {one["protocol"]["name"] for one in content["evaluations"]} == set(expected)
    assert "| TTT3R | published weights |" in table
    frames = load_network(PACKAGE_WEIGHTS).reset_interval
    assert re.search(
        rf"\| \*\*this run\*\* \| ttt3r, reset every {frames} frames,.* package's own", table
    )


def test_frames_without_a_true_pose_are_mapped_and_not_compared(tmp_path: Path) -> None:
    scannet(tmp_path / "data")
    content, _ = evaluate("scannet", tmp_path / "data", tmp_path / "out")
    result = content["evaluations"][0]["results"][0]
    assert (result["frames"], result["metrics"]["pairs"]) == (5, 4)


def test_unregistered_depth_of_7scenes_is_a_remark_in_table_and_json(tmp_path: Path) -> None:
    for name, has_remark in (("raw", True), ("projected", False)):
        seven_scenes(tmp_path / name)
        if name == "projected":
            for file in (tmp_path / name).rglob("*.depth.png"):
                file.rename(file.with_name(file.name.replace(".depth.", ".depth.proj.")))
        options = {"protocols": ["reconstruction"], "lengths": [3]}
        content, table = evaluate("7scenes", tmp_path / name, tmp_path / f"{name}_out", **options)
        remarks = content["evaluations"][0]["results"][0]["remarks"]
        assert ["depth.proj.png" in remark for remark in remarks] == [True] * has_remark
        assert ("Note, heads/seq-01: " in table) == has_remark
        assert all(remark in table for remark in remarks)


def test_odometry_of_kitti_without_depth_reports_the_missing_protocol(tmp_path: Path) -> None:
    kitti(tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "val_selection_cropped")
    content, table = evaluate("kitti", tmp_path / "data", tmp_path / "out")
    assert list(content["not_there"]) == ["KITTI, depth"]
    assert "val_selection_cropped/image_gathered" in content["not_there"]["KITTI, depth"]
    assert content["not_there"]["KITTI, depth"] in table


def test_a_truncated_depth_image_excludes_only_its_frame(tmp_path: Path) -> None:
    kitti(tmp_path / "data")
    path = next((tmp_path / "data").rglob("groundtruth_depth_gathered/drive/0000000002.png"))
    path.write_bytes(path.read_bytes()[:100])
    options = {"protocols": ["depth"], "lengths": [0]}
    content, table = evaluate("kitti", tmp_path / "data", tmp_path / "out", **options)
    (result,) = content["evaluations"][0]["results"]
    assert (result["frames"], result["metrics"]["pixels"]) == (4, 3 * 96 * 72)
    assert "0000000002.png" in result["remarks"][0]
    assert "0000000002.png" in table


def test_true_poses_of_nan_are_ignored_and_counted(tmp_path: Path) -> None:
    for dataset, write in (("tum", tum), ("bonn", bonn)):
        write(tmp_path / dataset)
        truth = next((tmp_path / dataset).rglob("groundtruth.txt"))
        lines = truth.read_text().splitlines()
        lines[2] = " ".join([lines[2].split()[0], *["nan"] * 7])
        truth.write_text("\n".join(lines))
        sequence = open_source(str(truth.parent), SourceOptions(format=dataset))
        assert len(sequence.ground_truth()) == len(lines) - 1, dataset
        (remark,) = sequence.remarks
        assert remark.startswith(f"1 of {len(lines)} "), dataset
