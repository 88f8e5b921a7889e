# SPDX-License-Identifier: Apache-2.0
"""TUM RGB-D, Bonn, 7-Scenes and ScanNet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from dataset_files import (
    HEIGHT,
    START_NS,
    WIDTH,
    matrix_text,
    pose,
    poses,
    red_values,
    write_7scenes,
    write_depth,
    write_image,
    write_text,
    write_tum,
)

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.datasets.indoor import bonn_camera_pose
from ttt3r_ros.io.sources import SourceOptions, open_source

if TYPE_CHECKING:
    from pathlib import Path


def test_tum_images_have_the_depth_and_the_pose_nearest_in_time(tmp_path: Path) -> None:
    sequence = open_source(str(write_tum(tmp_path / "rgbd_dataset_freiburg1_desk")))
    stamps_ns = [100 * 10**9, 100_100_000_000, 100_200_000_000]
    assert [frame.stamp_ns for frame in sequence.frames()] == stamps_ns
    assert [(stamp_ns, T[0, 3]) for stamp_ns, T in sequence.ground_truth()] == [
        (stamps_ns[0], 1.0),
        (stamps_ns[2], 2.0),
    ]
    depth_m = [sequence.true_depth_m(stamp_ns) for stamp_ns in stamps_ns]  # type: ignore[attr-defined]
    assert (depth_m[0][1, 1], depth_m[0][0, 0], depth_m[1], depth_m[2][1, 1]) == (1.0, 0.0, None, 3.0)


def test_the_name_of_the_folder_determines_the_camera_of_tum(tmp_path: Path) -> None:
    cameras = [
        next(iter(open_source(str(write_tum(tmp_path / name))).frames())).intrinsics
        for name in (
            "rgbd_dataset_freiburg1_desk",
            "rgbd_dataset_freiburg3_walking_xyz",
            "own_recording",
        )
    ]
    assert cameras[0] is not None
    assert cameras[1] is not None
    assert (cameras[0].fx, cameras[0].distortion_model, len(cameras[0].distortion)) == (
        517.3,
        "plumb_bob",
        5,
    )
    assert (cameras[1].fy, cameras[1].distortion) == (539.2, ())
    assert (cameras[0].width, cameras[0].height) == (WIDTH, HEIGHT)
    assert cameras[2] is None


def test_poses_of_bonn_are_converted_to_the_camera(tmp_path: Path) -> None:
    root = write_tum(tmp_path / "rgbd_bonn_balloon")
    sequence = open_source(str(root))
    T = poses(sequence)[0]
    np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(T[:3, :3]) == pytest.approx(1.0)
    # The marker at (1, 0, 0) of the capture system is at (-1, 0, 0) of the world; the camera is 2 cm beside it.
    np.testing.assert_allclose(T[:3, 3], [-1.0 + 0.0113, -0.0098, 0.0111], atol=1e-9)
    frame = next(iter(sequence.frames()))
    assert frame.intrinsics is not None
    assert frame.intrinsics.fx == 542.822841
    elsewhere = write_tum(tmp_path / "balloon")
    named = open_source(str(elsewhere), SourceOptions(format="bonn"))
    np.testing.assert_array_equal(poses(named)[0], T)


def test_the_conversion_of_bonn_poses_keeps_distances() -> None:
    step = np.linalg.norm(bonn_camera_pose(pose(1))[:3, 3] - bonn_camera_pose(pose(0))[:3, 3])
    pure = np.eye(4)
    pure[:3, 3] = 3.0, 4.0, 0.0
    straight = bonn_camera_pose(pure)[:3, 3] - bonn_camera_pose(np.eye(4))[:3, 3]
    assert np.linalg.norm(straight) == pytest.approx(5.0)
    assert 0.9 < step < 1.1


def test_invalid_rows_of_tum_lists_are_errors(tmp_path: Path) -> None:
    root = write_tum(tmp_path / "desk")
    valid = (root / "rgb.txt").read_text()
    for line in ("100.5", "noon rgb/9.png"):
        (root / "rgb.txt").write_text(f"{valid}{line}\n")
        with pytest.raises(SourceError, match=rf"rgb\.txt.*'{line.split(maxsplit=1)[0]}'"):
            open_source(str(root))


def test_a_listed_image_that_is_missing_is_skipped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_tum(tmp_path / "desk")
    (root / "rgb" / "1.png").unlink()
    sequence = open_source(str(root))
    assert (red_values(sequence), sequence.skipped, len(sequence)) == ([0, 20], 1, 3)
    assert f"{root / 'rgb' / '1.png'} cannot be read as an image" in caplog.text


def test_7scenes_has_poses_depth_in_millimeters_and_the_published_focal_length(tmp_path: Path) -> None:
    sequence = open_source(str(write_7scenes(tmp_path / "seq-01")))
    frames = list(sequence.frames())
    assert [frame.stamp_ns for frame in frames] == [START_NS, START_NS + 33_333_333]
    np.testing.assert_allclose(poses(sequence), [pose(0), pose(1)], atol=1e-9)
    camera = frames[0].intrinsics
    assert camera is not None
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (585.0, 585.0, 320.0, 240.0)
    depth_m = [sequence.true_depth_m(frame.stamp_ns) for frame in frames]  # type: ignore[attr-defined]
    assert depth_m[0][1, 1] == 2.0
    assert not depth_m[1].any()


def test_7scenes_depth_projected_into_the_color_camera_is_preferred(tmp_path: Path) -> None:
    sequence = open_source(str(write_7scenes(tmp_path / "seq-01", projected=True)))
    frame = next(iter(sequence.frames()))
    assert frame.intrinsics is not None
    assert frame.intrinsics.fx == 525.0
    assert sequence.true_depth_m(frame.stamp_ns)[1, 1] == 3.0  # type: ignore[attr-defined]


def test_scannet_has_the_color_camera_and_no_pose_without_tracking(
    tmp_path: Path,
) -> None:
    K = np.diag([577.0, 578.0, 1.0, 1.0])
    K[:2, 2] = 3.5, 2.5
    write_text(tmp_path / "intrinsic" / "intrinsic_color.txt", matrix_text(K))
    for k in (0, 2, 10):
        write_image(tmp_path / "color" / f"{k}.jpg", 10 * k)
        write_depth(tmp_path / "depth" / f"{k}.png", 1000 + k)
        lost = np.full((4, 4), -np.inf)
        write_text(tmp_path / "pose" / f"{k}.txt", matrix_text(lost if k == 2 else pose(k)))
    sequence = open_source(str(tmp_path))
    frames = list(sequence.frames())
    assert np.abs(np.array(red_values(sequence)) - [0, 20, 100]).max() < 8  # 10.jpg comes after 2.jpg
    assert [stamp_ns for stamp_ns, _ in sequence.ground_truth()] == [
        frames[0].stamp_ns,
        frames[2].stamp_ns,
    ]
    np.testing.assert_allclose(poses(sequence)[1], pose(10), atol=1e-9)
    camera = frames[0].intrinsics
    assert camera is not None
    assert (camera.fx, camera.fy, camera.cx, camera.width) == (577.0, 578.0, 3.5, WIDTH)
    assert sequence.true_depth_m(frames[2].stamp_ns)[1, 1] == np.float32(1.01)  # type: ignore[attr-defined]
