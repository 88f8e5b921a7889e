# SPDX-License-Identifier: Apache-2.0
"""The examples run and write valid outputs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from recordings import room_bag, video

from ttt3r_ros.geometry import T_BODY_OPTICAL, se3_inverse, transform
from ttt3r_ros.io.export.point_cloud import read_ply
from ttt3r_ros.synthetic.room import ProceduralRoom

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(name: str, *arguments: object) -> str:
    finished = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_a_folder_of_images_is_mapped_to_a_ply_file(tmp_path):
    room = ProceduralRoom(frames=3)
    for index, frame in enumerate(room.frames()):
        cv2.imwrite(str(tmp_path / f"{index:03d}.png"), frame.rgb[..., ::-1])
    printed = run("01_images_to_ply.py", tmp_path, tmp_path / "map.ply")
    assert printed.count("camera at") == 3
    assert "ttt3r_small.safetensors" in printed
    assert len(read_ply(tmp_path / "map.ply")[0]) > 125  # of 3 x 4480 pixels, in voxels of 5 cm


def test_a_video_in_place_of_a_webcam_is_mapped(tmp_path):
    printed = run("02_webcam.py", tmp_path / "map.ply", video(tmp_path / "walk.avi", 6), 4)
    assert printed.count("camera at") == 4
    assert len(read_ply(tmp_path / "map.ply")[0]) > 125


def test_a_bag_is_exported_for_splatting_tools(tmp_path):
    bag = room_bag(tmp_path / "bag", 6)
    printed = run("04_bag_to_splat.py", bag, tmp_path / "out", 2)
    assert "3 images and" in printed
    frames = json.loads((tmp_path / "out" / "transforms.json").read_text())["frames"]
    assert [(tmp_path / "out" / frame["file_path"]).is_file() for frame in frames] == [True] * 3
    lines = (tmp_path / "out" / "colmap" / "images.txt").read_text().splitlines()
    assert sum(line.endswith(".jpg") for line in lines) == 3


def test_a_folder_of_bags_is_mapped_as_a_batch(tmp_path):
    for name in ("one", "two"):
        room_bag(tmp_path / "bags" / name, 4)
    printed = run("05_batch_of_bags.py", tmp_path / "bags", tmp_path / "out")
    assert "2 of 2 done" in printed
    assert printed.count(" m  ") == 2


def test_there_are_five_examples():
    assert [path.name[:3] for path in sorted(EXAMPLES.glob("*.py"))] == [f"0{n}_" for n in range(1, 6)]


@pytest.mark.slow
def test_perfect_predictions_give_map_points_on_the_surfaces_of_the_room(tmp_path):
    """Session, state resets, frames and map together; the tolerance is about one voxel."""
    pytest.importorskip("matplotlib")
    frames = 60
    run("03_custom_backend.py", tmp_path / "room.ply", frames)
    assert (tmp_path / "room.png").stat().st_size > 10_000
    points, _ = read_ply(tmp_path / "room.ply")
    room = ProceduralRoom(frames=frames)
    T_world_map = room.T_world_camera(0) @ se3_inverse(T_BODY_OPTICAL)
    in_world = transform(T_world_map, points.astype(np.float64))
    assert len(points) > 10_000
    assert -0.01 < in_world[:, 2].min() < 0.05  # the floor is level, at height zero of the room
    for index in (0, 30, 55):  # segments 0, 1 and 2
        assert fraction_on_surface(room, index, in_world) > 0.97


def fraction_on_surface(room: ProceduralRoom, index: int, points_world: np.ndarray) -> float:
    """Return the fraction of visible map points within 8 cm of the surface that this camera observes."""
    rendered, camera = room.render(index), room.intrinsics
    points = transform(se3_inverse(rendered.T_world_camera), points_world)
    points = points[points[:, 2] > 0.2]
    u = np.rint(points[:, 0] / points[:, 2] * camera.fx + camera.cx).astype(int)
    v = np.rint(points[:, 1] / points[:, 2] * camera.fy + camera.cy).astype(int)
    in_view = (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
    difference = points[in_view, 2] - rendered.depth_m[v[in_view], u[in_view]]
    visible = difference < 0.08
    return float((np.abs(difference[visible]) < 0.08).mean())
