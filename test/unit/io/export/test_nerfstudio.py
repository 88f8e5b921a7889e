# SPDX-License-Identifier: Apache-2.0
"""transforms.json, checked by projection of points into OpenGL cameras."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from recorded import pixels_of, views
from test_colmap import LONG, POSES, WIDE, visible_points

from ttt3r_ros.errors import OutputError
from ttt3r_ros.io.export.nerfstudio import write_transforms


def write(tmp_path, cameras) -> tuple[list, dict]:
    taken = views(tmp_path, POSES, cameras)
    write_transforms(tmp_path / "transforms.json", taken, tmp_path / "map.ply")
    return taken, json.loads((tmp_path / "transforms.json").read_text())


@pytest.mark.parametrize("cameras", [[WIDE] * 3, [WIDE, LONG, WIDE]], ids=["one", "several"])
def test_points_project_to_the_same_pixels(tmp_path, cameras):
    taken, content = write(tmp_path, cameras)
    for view, frame in zip(taken, content["frames"], strict=True):
        camera = {**content, **frame}
        T_map_opengl = np.array(frame["transform_matrix"])
        x, y, z = ((visible_points(view) - T_map_opengl[:3, 3]) @ T_map_opengl[:3, :3]).T
        assert (z < 0).all()  # OpenGL: z backward
        u = camera["fl_x"] * x / -z + camera["cx"]
        v = camera["fl_y"] * -y / -z + camera["cy"]
        np.testing.assert_allclose(
            np.stack((u, v), axis=1) - 0.5, pixels_of(visible_points(view), view), atol=1e-9
        )
        assert (camera["w"], camera["h"]) == (320, 240)


def test_a_common_camera_is_written_once(tmp_path):
    _, content = write(tmp_path, [WIDE] * 3)
    assert "fl_x" in content
    assert set(content["frames"][0]) == {"file_path", "transform_matrix"}
    _, content = write(tmp_path, [WIDE, LONG, WIDE])
    assert "fl_x" not in content
    assert [frame["fl_x"] for frame in content["frames"]] == [200.0, 400.0, 200.0]


def test_paths_are_relative_to_the_json(tmp_path):
    _, content = write(tmp_path, [WIDE] * 3)
    assert content["ply_file_path"] == "map.ply"
    assert [frame["file_path"] for frame in content["frames"]] == [f"rgb/00000{k}.jpg" for k in range(3)]


def test_a_distorted_image_is_an_error(tmp_path):
    bent = replace(WIDE, distortion_model="plumb_bob", distortion=(0.1, 0.0, 0.0, 0.0, 0.0))
    with pytest.raises(OutputError, match=r"transforms\.json: 000002\.jpg has the distortion"):
        write(tmp_path, [WIDE, WIDE, bent])
    assert not list(tmp_path.iterdir())


def test_a_full_disk_keeps_the_former_file(little_room):
    _, content = write(little_room, [WIDE] * 3)
    taken = views(little_room, POSES * 1000, [WIDE] * 3000)
    with pytest.raises(OutputError, match=r"cannot write .*transforms\.json: (No space|File too)"):
        write_transforms(little_room / "transforms.json", taken, little_room / "map.ply")
    assert json.loads((little_room / "transforms.json").read_text()) == content
    assert [path.name for path in little_room.iterdir()] == ["transforms.json"]
