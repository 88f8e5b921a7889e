# SPDX-License-Identifier: Apache-2.0
"""Map and path as binary glTF, parsed by the definition of the format."""

from __future__ import annotations

import json
import struct
import sys

import numpy as np
import pytest
from motions import motion
from recorded import cloud

from ttt3r_ros.errors import OutputError
from ttt3r_ros.io.export.glb import write_glb

POSES = [motion(move=(float(k), 0.5 * k, 0.1)) for k in range(4)]


def accessor(gltf: dict, binary: bytes, number: int) -> np.ndarray:
    entry = gltf["accessors"][number]
    view = gltf["bufferViews"][entry["bufferView"]]
    kind = {5126: np.float32, 5121: np.uint8}[entry["componentType"]]
    width = {"VEC3": 3, "VEC4": 4}[entry["type"]]
    begin = view.get("byteOffset", 0) + entry.get("byteOffset", 0)
    return np.frombuffer(binary, kind, entry["count"] * width, begin).reshape(-1, width)


def parts_of(path) -> dict[str, tuple[int, np.ndarray, np.ndarray]]:
    """Return mode, positions in glTF's axes and colors of each node with a mesh."""
    content = path.read_bytes()
    assert struct.unpack("<4sII", content[:12]) == (b"glTF", 2, len(content))
    length = struct.unpack("<I", content[12:16])[0]
    gltf, binary = json.loads(content[20 : 20 + length]), content[28 + length :]
    found = {}
    for node in gltf["nodes"]:
        if "mesh" not in node:
            continue
        (shown,) = gltf["meshes"][node["mesh"]]["primitives"]
        T = np.array(node["matrix"]).reshape(4, 4).T
        positions = accessor(gltf, binary, shown["attributes"]["POSITION"])
        colors = accessor(gltf, binary, shown["attributes"]["COLOR_0"])
        found[node["name"]] = shown["mode"], positions @ T[:3, :3].T + T[:3, 3], colors
    return found


def test_points_have_their_colors_and_z_of_the_map_is_up(tmp_path):
    pytest.importorskip("trimesh")
    written = cloud(50)
    write_glb(tmp_path / "map.glb", written, POSES)
    mode, positions, colors = parts_of(tmp_path / "map.glb")["points"]
    assert mode == 0  # POINTS
    x, y, z = written.points.T
    np.testing.assert_allclose(positions, np.stack((x, z, -y), axis=1), atol=1e-6)
    np.testing.assert_array_equal(colors[:, :3], written.rgb)


def test_the_camera_path_is_a_line_through_its_positions(tmp_path):
    pytest.importorskip("trimesh")
    write_glb(tmp_path / "map.glb", cloud(3), POSES)
    mode, positions, _ = parts_of(tmp_path / "map.glb")["camera_path"]
    assert mode == 1  # LINES: two ends each
    x, y, z = np.array([T[:3, 3] for T in POSES]).T
    places = np.stack((x, z, -y), axis=1)
    np.testing.assert_allclose(positions[::2], places[:-1], atol=1e-6)
    np.testing.assert_allclose(positions[1::2], places[1:], atol=1e-6)


@pytest.mark.parametrize(("points", "poses"), [(0, 4), (5, 0), (5, 1), (0, 1)])
def test_empty_parts_are_not_written(tmp_path, points, poses):
    pytest.importorskip("trimesh")
    write_glb(tmp_path / "map.glb", cloud(points), POSES[:poses])
    names = {"points"} if points else set()
    assert set(parts_of(tmp_path / "map.glb")) == names | ({"camera_path"} if poses else set())


def test_equal_maps_are_written_as_equal_bytes(tmp_path):
    pytest.importorskip("trimesh")
    for name in ("a.glb", "b.glb"):
        write_glb(tmp_path / name, cloud(20), POSES)
    assert (tmp_path / "a.glb").read_bytes() == (tmp_path / "b.glb").read_bytes()


def test_an_empty_scene_and_a_missing_trimesh_are_errors(tmp_path, monkeypatch):
    pytest.importorskip("trimesh")
    with pytest.raises(OutputError, match=r"map\.glb: there are no points and no poses"):
        write_glb(tmp_path / "map.glb", cloud(0), [])
    monkeypatch.setitem(sys.modules, "trimesh", None)  # not installed
    with pytest.raises(
        OutputError, match=r"map\.glb: it needs the module trimesh: pip install 'ttt3r_ros\[run\]'"
    ):
        write_glb(tmp_path / "map.glb", cloud(3), POSES)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_no_file(little_room):
    pytest.importorskip("trimesh")
    with pytest.raises(OutputError, match=r"cannot write .*map\.glb: (No space|File too)"):
        write_glb(little_room / "map.glb", cloud(20_000), POSES)
    assert not list(little_room.iterdir())
