# SPDX-License-Identifier: Apache-2.0
"""COLMAP models, read by COLMAP and by the definition of the format."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from motions import MOUNT, motion
from recorded import cloud, pixels_of, views

from ttt3r_ros.errors import OutputError
from ttt3r_ros.geometry import rotation_from_quat_wxyz
from ttt3r_ros.io.export.colmap import write_colmap
from ttt3r_ros.types import Intrinsics

WIDE = Intrinsics(200.0, 210.0, 159.5, 119.0, 320, 240)
LONG = replace(WIDE, fx=400.0, fy=420.0)
POSES = [
    MOUNT,
    motion(turn=(0.1, -0.2, 3.0), move=(1.0, -2.0, 0.3)) @ MOUNT,
    motion(move=(0.0, 4.0, 0.0)) @ MOUNT,
]
FILES = {"cameras.txt", "images.txt", "points3D.txt"}


def model(tmp_path) -> list:
    taken = views(tmp_path, POSES, [WIDE, LONG, WIDE])
    write_colmap(tmp_path / "colmap", taken, cloud(40))
    return taken


def rows(path) -> list[list[str]]:
    lines = path.read_text().splitlines()
    return [line.split() for line in lines if not line.startswith("#")]


def visible_points(view) -> np.ndarray:
    """Return points (N, 3) of the map in the view of a camera."""
    rays = np.random.default_rng(2).uniform((-0.5, -0.4, 1.0), (0.5, 0.4, 1.0), (30, 3))
    return (3.0 * rays) @ view.T_map_camera[:3, :3].T + view.T_map_camera[:3, 3]


def test_points_project_to_the_same_pixels(tmp_path):
    taken = model(tmp_path)
    pinholes = {row[0]: row for row in rows(tmp_path / "colmap" / "cameras.txt")}
    images = rows(tmp_path / "colmap" / "images.txt")
    assert [row for row in images if not row] == [[]] * 3  # no image has features
    for view, row in zip(taken, images[::2], strict=True):
        _, qw, qx, qy, qz, tx, ty, tz, camera, name = row
        fx, fy, cx, cy = (float(value) for value in pinholes[camera][4:])
        R = rotation_from_quat_wxyz(np.array([qw, qx, qy, qz], float))
        x, y, z = (visible_points(view) @ R.T + np.array([tx, ty, tz], float)).T
        # COLMAP's origin is the corner of the first pixel, ours its center.
        corner_based = np.stack((fx * x / z + cx, fy * y / z + cy), axis=1)
        np.testing.assert_allclose(corner_based - 0.5, pixels_of(visible_points(view), view), atol=1e-9)
        assert name == view.name
        assert pinholes[camera][1:4] == ["PINHOLE", "320", "240"]


def test_images_of_equal_cameras_have_one_camera(tmp_path):
    model(tmp_path)
    assert len(rows(tmp_path / "colmap" / "cameras.txt")) == 2
    assert [row[8] for row in rows(tmp_path / "colmap" / "images.txt")[::2]] == ["1", "2", "1"]


def test_points_are_written_exactly(tmp_path):
    model(tmp_path)
    written = rows(tmp_path / "colmap" / "points3D.txt")
    np.testing.assert_array_equal(np.array([row[1:4] for row in written], np.float32), cloud(40).points)
    assert [[int(value) for value in row[4:7]] for row in written] == cloud(40).rgb.tolist()
    assert [int(row[0]) for row in written] == list(range(1, 41))


def test_colmap_reads_the_model(tmp_path):
    pycolmap = pytest.importorskip("pycolmap")
    taken = model(tmp_path)
    read = pycolmap.Reconstruction(str(tmp_path / "colmap"))
    assert (read.num_cameras(), read.num_images(), read.num_points3D()) == (2, 3, 40)
    images = {image.name: image for image in read.images.values()}
    for view in taken:
        image = images[view.name]
        seen = np.array([image.project_point(point) for point in visible_points(view)])
        np.testing.assert_allclose(seen - 0.5, pixels_of(visible_points(view), view), atol=1e-6)
    points = sorted(read.points3D.items())
    np.testing.assert_allclose([point.xyz for _, point in points], cloud(40).points, atol=1e-7)
    assert [point.color.tolist() for _, point in points] == cloud(40).rgb.tolist()


def test_a_distorted_image_is_an_error(tmp_path):
    bent = replace(WIDE, distortion_model="plumb_bob", distortion=(0.1, 0.0, 0.0, 0.0, 0.0))
    with pytest.raises(OutputError, match=r"000001\.jpg has the distortion plumb_bob \[0\.1,"):
        write_colmap(tmp_path / "colmap", views(tmp_path, POSES[:2], [WIDE, bent]), cloud(1))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_keeps_the_former_model(little_room):
    taken = views(little_room, POSES, [WIDE] * 3)
    write_colmap(little_room, taken, cloud(2))
    before = {path.name: path.read_bytes() for path in little_room.iterdir()}
    assert set(before) == FILES
    with pytest.raises(OutputError, match=r"cannot write .*points3D\.txt: (No space|File too)"):
        write_colmap(little_room, taken[:1], cloud(20_000))
    assert {path.name: path.read_bytes() for path in little_room.iterdir()} == before
