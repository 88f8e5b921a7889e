# SPDX-License-Identifier: Apache-2.0
"""EuRoC, KITTI odometry and KITTI depth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from dataset_files import (
    SENSOR,
    START_NS,
    pose,
    poses,
    red_values,
    write_depth,
    write_euroc,
    write_image,
    write_odometry,
    write_text,
)

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.sources import open_source

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("below", ["", "mav0"])
def test_euroc_poses_are_interpolated_and_converted_to_the_camera(tmp_path: Path, below: str) -> None:
    sequence = open_source(str(write_euroc(tmp_path) / below))
    frames = list(sequence.frames())
    assert frames[0].stamp_ns == 1403636579763555584
    truth = sequence.ground_truth()
    assert [stamp_ns for stamp_ns, _ in truth] == [
        frame.stamp_ns for frame in frames[:2]
    ]  # it ends early
    np.testing.assert_allclose(truth[0][1][:3], [[0, -1, 0, 1.0], [1, 0, 0, 0], [0, 0, 1, 0]], atol=1e-9)
    np.testing.assert_allclose(truth[1][1][:3, 3], [6.0, 0.0, 0.0], atol=1e-9)
    camera = frames[0].intrinsics
    assert camera is not None
    assert (camera.fx, camera.cy, camera.width, camera.height) == (458.654, 248.375, 8, 6)
    assert camera.distortion_model == "plumb_bob"
    assert camera.distortion == (-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05, 0.0)


def test_an_equidistant_camera_of_euroc_has_four_coefficients(tmp_path: Path) -> None:
    sensor = SENSOR.replace("radial-tangential", "equidistant")
    frame = next(iter(open_source(str(write_euroc(tmp_path, "%YAML:1.0\n" + sensor))).frames()))
    assert frame.intrinsics is not None
    assert (frame.intrinsics.distortion_model, len(frame.intrinsics.distortion)) == ("equidistant", 4)


def test_invalid_sensor_files_of_euroc_are_errors(tmp_path: Path) -> None:
    changes = {
        "T_BS:": "T_XX:",
        "radial-tangential": "omni",
        "[8, 6]": "8",
        "intrinsics: [458.654,": "intrinsics: [",
        "rows: 4": "rows: [",
    }
    for before, after in changes.items():
        root = write_euroc(tmp_path / str(len(after)), SENSOR.replace(before, after))
        with pytest.raises(SourceError, match=r"sensor\.yaml(: expected T_BS| is not YAML|: .*omni)"):
            open_source(str(root))


def test_a_euroc_frame_next_to_a_pose_of_nan_has_no_pose(tmp_path: Path) -> None:
    root = write_euroc(tmp_path)
    truth = root / "mav0" / "state_groundtruth_estimate0" / "data.csv"
    lines = truth.read_text().splitlines()
    lines[1] = ",".join([lines[1].split(",")[0], *["nan"] * 7])  # the first, just before the first image
    truth.write_text("\n".join(lines))
    sequence = open_source(str(root))
    stamps_ns = [frame.stamp_ns for frame in sequence.frames()]
    assert [stamp_ns for stamp_ns, _ in sequence.ground_truth()] == stamps_ns[1:2]
    assert sequence.remarks == ("1 of 2 true poses are not finite and ignored",)  # type: ignore[attr-defined]


def test_euroc_without_ground_truth_has_only_images(tmp_path: Path) -> None:
    root = write_euroc(tmp_path)
    (root / "mav0" / "state_groundtruth_estimate0" / "data.csv").unlink()
    sequence = open_source(str(root))
    assert (red_values(sequence), sequence.ground_truth()) == ([0, 10, 20], [])


@pytest.mark.parametrize(("camera", "offset_m"), [(2, 0.1), (0, 0.0)])
def test_kitti_poses_are_converted_to_the_camera_of_the_images(
    tmp_path: Path, camera: int, offset_m: float
) -> None:
    sequence = open_source(str(write_odometry(tmp_path, camera)))
    frames = list(sequence.frames())
    assert [frame.stamp_ns - START_NS for frame in frames] == [0, 103_787_500, 207_482_900]
    offset = np.eye(4)
    offset[0, 3] = offset_m
    np.testing.assert_allclose(poses(sequence), [pose(k) @ offset for k in range(3)], atol=1e-9)
    assert frames[0].intrinsics is not None
    assert (frames[0].intrinsics.fx, frames[0].intrinsics.cx) == (700.0, 4.0)
    assert sequence.name == "07"


def test_kitti_with_too_few_times_is_an_error(tmp_path: Path) -> None:
    root = write_odometry(tmp_path)
    write_text(root / "times.txt", "0.0\n0.1\n")
    with pytest.raises(SourceError, match=r"000002\.png has no row in times\.txt or in the poses"):
        open_source(str(root))


def test_invalid_calibrations_of_kitti_are_errors(tmp_path: Path) -> None:
    root = write_odometry(tmp_path)
    for text, problem in {"P0: 1 2 3\n": "P2", "P2: 1 2 3\n": "'P2: 1 2 3'"}.items():
        write_text(root / "calib.txt", text)
        with pytest.raises(SourceError, match=rf"calib\.txt.* {problem}"):
            open_source(str(root))


def test_images_of_the_kitti_depth_selection_have_depth_and_calibration(
    tmp_path: Path,
) -> None:
    drive = "2011_09_26_drive_0002_sync"
    for k in (5, 8):
        stem = f"{drive}_image_{k:010d}_image_02"
        write_image(tmp_path / "image" / f"{stem}.png", k)
        write_depth(
            tmp_path / "groundtruth_depth" / f"{drive}_groundtruth_depth_{k:010d}_image_02.png", 256 * k
        )
        write_text(tmp_path / "intrinsics" / f"{stem}.txt", f"{700 + k} 0 4 0 700 3 0 0 1")
    sequence = open_source(str(tmp_path))
    frames = list(sequence.frames())
    assert [frame.intrinsics.fx for frame in frames if frame.intrinsics] == [705.0, 708.0]
    depth_m = [sequence.true_depth_m(frame.stamp_ns) for frame in frames]  # type: ignore[attr-defined]
    assert [depth[1, 1] for depth in depth_m] == [5.0, 8.0]
    assert sequence.ground_truth() == []


def test_kitti_depth_of_one_drive_is_found_in_both_folder_structures(tmp_path: Path) -> None:
    gathered, raw = tmp_path / "selection", tmp_path / "2011_09_26" / "2011_09_26_drive_0002_sync"
    for k in range(2):
        write_image(gathered / "image_gathered" / "drive_02" / f"{k:010d}.png", k)
        write_depth(gathered / "groundtruth_depth_gathered" / "drive_02" / f"{k:010d}.png", 512)
        write_image(raw / "image_02" / "data" / f"{k:010d}.png", k)
    write_depth(raw / "proj_depth" / "groundtruth" / "image_02" / "0000000001.png", 512)
    write_text(
        raw.parent / "calib_cam_to_cam.txt", "S_02: 1 2\nP_rect_02: 721 0 4 0 0 721 3 0 0 0 1 0\n"
    )
    for root, with_depth in (
        (gathered / "image_gathered" / "drive_02", [True, True]),
        (raw, [False, True]),
    ):
        sequence = open_source(str(root))
        depth_m = [sequence.true_depth_m(f.stamp_ns) for f in sequence.frames()]  # type: ignore[attr-defined]
        assert [depth is not None for depth in depth_m] == with_depth
        assert depth_m[1][1, 1] == 2.0
    assert next(iter(open_source(str(raw)).frames())).intrinsics.fx == 721.0  # type: ignore[union-attr]


def test_kitti_depth_without_a_pair_is_an_error(tmp_path: Path) -> None:
    write_image(tmp_path / "image" / "a_image_1.png")
    write_depth(tmp_path / "groundtruth_depth" / "b_groundtruth_depth_1.png", 1)
    with pytest.raises(SourceError, match=r"no image in .* has a depth of the same name"):
        open_source(str(tmp_path))
