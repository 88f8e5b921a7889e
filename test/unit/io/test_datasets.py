# SPDX-License-Identifier: Apache-2.0
"""Data sets in their own layouts: images, stamps, poses of the optical camera, depth and calibration."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from ttt3r_ros.errors import SourceError
from ttt3r_ros.geometry import se3_inverse, so3_exp
from ttt3r_ros.io.datasets.common import DatasetSequence, nearest_index
from ttt3r_ros.io.datasets.indoor import bonn_camera_pose
from ttt3r_ros.io.datasets.registry import DATASET_FORMATS, detect_format
from ttt3r_ros.io.image_folder import ImageRecord
from ttt3r_ros.io.sequence import ALL_FRAMES
from ttt3r_ros.io.sources import SourceOptions, open_source

if TYPE_CHECKING:
    from ttt3r_ros.io.sequence import ImageSequence

HEIGHT, WIDTH = 6, 8
START_NS = 10**9


def write_image(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), (value, 200, 30), np.uint8)[..., ::-1])


def write_depth(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    depth = np.full((HEIGHT, WIDTH), value, np.uint16)
    depth[0, 0] = 0
    assert cv2.imwrite(str(path), depth)


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def matrix_text(T: np.ndarray) -> str:
    return "\n".join(" ".join(f"{value:.12g}" for value in row) for row in T) + "\n"


def moved(k: int) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = so3_exp(np.array([0.1, 0.2, 0.3]) * k)
    T[:3, 3] = k, 2.0, -1.0
    return T


def poses(sequence: ImageSequence) -> np.ndarray:
    return np.array([T for _, T in sequence.ground_truth()])


def red(sequence: ImageSequence) -> list[int]:
    return [int(frame.rgb[0, 0, 0]) for frame in sequence.frames()]


# --- TUM RGB-D and Bonn ------------------------------------------------------------------------------


def write_tum(root: Path) -> Path:
    """Three images 0.1 s apart; the second has neither depth nor pose near enough."""
    for k in range(3):
        write_image(root / "rgb" / f"{k}.png", 10 * k)
        write_depth(root / "depth" / f"{k}.png", 5000 * (k + 1))
    listed = [(0, 100.0), (1, 100.1), (2, 100.2)]
    write_text(root / "rgb.txt", "# color\n" + "".join(f"{t:.6f} rgb/{k}.png\n" for k, t in listed))
    write_text(root / "depth.txt", "100.01 depth/0.png\n100.13 depth/1.png\n100.19 depth/2.png\n")
    write_text(
        root / "groundtruth.txt",
        "# t tx ty tz qx qy qz qw\n99.99 7 0 0 0 0 0 1\n100.005 1 0 0 0 0 0 1\n100.21 2 0 0 0 0 0 1\n",
    )
    return root


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


def test_the_cameras_of_tum_are_told_by_the_name_of_the_folder(tmp_path: Path) -> None:
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


def test_poses_of_bonn_become_those_of_the_camera_as_its_authors_say(tmp_path: Path) -> None:
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


def test_a_motion_of_bonns_marker_is_as_long_for_its_camera() -> None:
    step = np.linalg.norm(bonn_camera_pose(moved(1))[:3, 3] - bonn_camera_pose(moved(0))[:3, 3])
    pure = np.eye(4)
    pure[:3, 3] = 3.0, 4.0, 0.0
    straight = bonn_camera_pose(pure)[:3, 3] - bonn_camera_pose(np.eye(4))[:3, 3]
    assert np.linalg.norm(straight) == pytest.approx(5.0)
    assert 0.9 < step < 1.1


@pytest.mark.parametrize("line", ["100.5", "noon rgb/9.png"])
def test_a_wrong_row_of_tums_lists_is_named(tmp_path: Path, line: str) -> None:
    root = write_tum(tmp_path / "desk")
    with (root / "rgb.txt").open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
    with pytest.raises(SourceError, match=rf"rgb\.txt.*'{line.split(maxsplit=1)[0]}'"):
        open_source(str(root))


def test_a_stamp_that_repeats_has_the_depth_and_the_pose_of_its_first_image(tmp_path: Path) -> None:
    root = write_7scenes(tmp_path / "desk")
    views = [
        ImageRecord(START_NS, root / f"frame-{k:06d}.color.png", Path(str(k)), moved(k))
        for k in range(2)
    ]
    later = ImageRecord(2 * START_NS, views[0].image, Path("2"), moved(2))
    sequence = DatasetSequence(
        root, [*views, later], ALL_FRAMES, lambda path: np.full((1, 1), int(str(path)), np.float32)
    )
    assert [frame.stamp_ns for frame in sequence.frames()] == [START_NS, START_NS, 2 * START_NS]
    assert [stamp_ns for stamp_ns, _ in sequence.ground_truth()] == [START_NS, 2 * START_NS]
    np.testing.assert_array_equal(poses(sequence), [moved(0), moved(2)])
    assert sequence.true_depth_m(START_NS) == 0.0


def test_a_listed_image_that_is_missing_is_left_out_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_tum(tmp_path / "desk")
    (root / "rgb" / "1.png").unlink()
    sequence = open_source(str(root))
    assert (red(sequence), sequence.skipped, len(sequence)) == ([0, 20], 1, 3)
    assert f"{root / 'rgb' / '1.png'} cannot be read as an image" in caplog.text


# --- 7-Scenes and ScanNet ----------------------------------------------------------------------------


def write_7scenes(root: Path, projected: bool = False) -> Path:
    for k in range(2):
        write_image(root / f"frame-{k:06d}.color.png", 10 * k)
        write_depth(root / f"frame-{k:06d}.depth.png", 65535 if k else 2000)
        write_text(root / f"frame-{k:06d}.pose.txt", matrix_text(moved(k)))
        if projected:
            write_depth(root / f"frame-{k:06d}.depth.proj.png", 3000)
    return root


def test_7scenes_has_poses_depth_in_millimeters_and_the_published_focal_length(tmp_path: Path) -> None:
    sequence = open_source(str(write_7scenes(tmp_path / "seq-01")))
    frames = list(sequence.frames())
    assert [frame.stamp_ns for frame in frames] == [START_NS, START_NS + 33_333_333]
    np.testing.assert_allclose(poses(sequence), [moved(0), moved(1)], atol=1e-9)
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


def test_scannet_has_the_color_cameras_calibration_and_no_pose_where_tracking_was_lost(
    tmp_path: Path,
) -> None:
    K = np.diag([577.0, 578.0, 1.0, 1.0])
    K[:2, 2] = 3.5, 2.5
    write_text(tmp_path / "intrinsic" / "intrinsic_color.txt", matrix_text(K))
    for k in (0, 2, 10):
        write_image(tmp_path / "color" / f"{k}.jpg", 10 * k)
        write_depth(tmp_path / "depth" / f"{k}.png", 1000 + k)
        lost = np.full((4, 4), -np.inf)
        write_text(tmp_path / "pose" / f"{k}.txt", matrix_text(lost if k == 2 else moved(k)))
    sequence = open_source(str(tmp_path))
    frames = list(sequence.frames())
    assert np.abs(np.array(red(sequence)) - [0, 20, 100]).max() < 8  # 10.jpg comes after 2.jpg
    assert [stamp_ns for stamp_ns, _ in sequence.ground_truth()] == [
        frames[0].stamp_ns,
        frames[2].stamp_ns,
    ]
    np.testing.assert_allclose(poses(sequence)[1], moved(10), atol=1e-9)
    camera = frames[0].intrinsics
    assert camera is not None
    assert (camera.fx, camera.fy, camera.cx, camera.width) == (577.0, 578.0, 3.5, WIDTH)
    assert sequence.true_depth_m(frames[2].stamp_ns)[1, 1] == np.float32(1.01)  # type: ignore[attr-defined]


# --- EuRoC -------------------------------------------------------------------------------------------

SENSOR = """# General sensor definitions.
sensor_type: camera
comment: VI-Sensor cam0 (MT9M034)
T_BS:
  cols: 4
  rows: 4
  data: [0.0, -1.0, 0.0, 0.5,
         1.0, 0.0, 0.0, 0.0,
         0.0, 0.0, 1.0, 0.0,
         0.0, 0.0, 0.0, 1.0]
rate_hz: 20
resolution: [8, 6]
camera_model: pinhole
intrinsics: [458.654, 457.296, 367.215, 248.375] #fu, fv, cu, cv
distortion_model: radial-tangential
distortion_coefficients: [-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05]
"""


def write_euroc(root: Path, sensor: str = SENSOR) -> Path:
    cam = root / "mav0" / "cam0"
    stamps_ns = [1403636579763555584 + k * 50_000_000 for k in range(3)]
    write_text(
        cam / "data.csv", "#timestamp [ns],filename\n" + "".join(f"{s},{s}.png\r\n" for s in stamps_ns)
    )
    for k, stamp_ns in enumerate(stamps_ns):
        write_image(cam / "data" / f"{stamp_ns}.png", 10 * k)
    write_text(cam / "sensor.yaml", sensor)
    truth = [(stamps_ns[0] + k * 10_000_000 - 5_000_000, k) for k in range(8)]
    write_text(
        root / "mav0" / "state_groundtruth_estimate0" / "data.csv",
        "#timestamp, p_RS_R_x [m], ...\n" + "".join(f"{s},{k},0,0,1,0,0,0,9,9,9\n" for s, k in truth),
    )
    return root


@pytest.mark.parametrize("below", ["", "mav0"])
def test_euroc_poses_are_interpolated_and_those_of_the_camera(tmp_path: Path, below: str) -> None:
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


def test_an_equidistant_lens_in_the_layout_of_euroc_keeps_its_four_coefficients(tmp_path: Path) -> None:
    sensor = SENSOR.replace("radial-tangential", "equidistant")
    frame = next(iter(open_source(str(write_euroc(tmp_path, "%YAML:1.0\n" + sensor))).frames()))
    assert frame.intrinsics is not None
    assert (frame.intrinsics.distortion_model, len(frame.intrinsics.distortion)) == ("equidistant", 4)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("T_BS:", "T_XX:"),
        ("radial-tangential", "omni"),
        ("[8, 6]", "8"),
        ("intrinsics: [458.654,", "intrinsics: ["),
        ("rows: 4", "rows: ["),
    ],
)
def test_a_wrong_sensor_file_of_euroc_is_named(tmp_path: Path, before: str, after: str) -> None:
    root = write_euroc(tmp_path, SENSOR.replace(before, after))
    with pytest.raises(SourceError, match=r"sensor\.yaml(: expected T_BS| is not YAML)"):
        open_source(str(root))


def test_a_frame_beside_a_pose_of_nan_has_none_in_euroc_either(tmp_path: Path) -> None:
    root = write_euroc(tmp_path)
    truth = root / "mav0" / "state_groundtruth_estimate0" / "data.csv"
    lines = truth.read_text().splitlines()
    lines[1] = ",".join([lines[1].split(",")[0], *["nan"] * 7])  # the first, just before the first image
    truth.write_text("\n".join(lines))
    sequence = open_source(str(root))
    stamps_ns = [frame.stamp_ns for frame in sequence.frames()]
    assert [stamp_ns for stamp_ns, _ in sequence.ground_truth()] == stamps_ns[1:2]
    assert sequence.remarks == ("1 of 2 true poses are not finite and ignored",)  # type: ignore[attr-defined]


def test_euroc_without_ground_truth_has_images_alone(tmp_path: Path) -> None:
    root = write_euroc(tmp_path)
    (root / "mav0" / "state_groundtruth_estimate0" / "data.csv").unlink()
    sequence = open_source(str(root))
    assert (red(sequence), sequence.ground_truth()) == ([0, 10, 20], [])


# --- KITTI -------------------------------------------------------------------------------------------


def write_odometry(root: Path, camera: int = 2) -> Path:
    sequence = root / "sequences" / "07"
    for k in range(3):
        write_image(sequence / f"image_{camera}" / f"{k:06d}.png", 10 * k)
    write_text(sequence / "times.txt", "0.000000e+00\n1.037875e-01\n2.074829e-01\n")
    rows = [f"P{k}: 700 0 4 {-35.0 * k} 0 700 3 0 0 0 1 0" for k in range(4)]
    write_text(sequence / "calib.txt", "\n".join([*rows, "Tr: 1 0 0 0 0 1 0 0 0 0 1 0"]))
    lines = [" ".join(f"{value:.12g}" for value in moved(k)[:3].ravel()) for k in range(3)]
    write_text(root / "poses" / "07.txt", "\n".join(lines) + "\n")
    return sequence


@pytest.mark.parametrize(("camera", "offset_m"), [(2, 0.1), (0, 0.0)])
def test_kitti_poses_are_those_of_the_camera_whose_images_are_read(
    tmp_path: Path, camera: int, offset_m: float
) -> None:
    sequence = open_source(str(write_odometry(tmp_path, camera)))
    frames = list(sequence.frames())
    assert [frame.stamp_ns - START_NS for frame in frames] == [0, 103_787_500, 207_482_900]
    offset = np.eye(4)
    offset[0, 3] = offset_m
    np.testing.assert_allclose(poses(sequence), [moved(k) @ offset for k in range(3)], atol=1e-9)
    assert frames[0].intrinsics is not None
    assert (frames[0].intrinsics.fx, frames[0].intrinsics.cx) == (700.0, 4.0)
    assert sequence.name == "07"


def test_kitti_with_too_few_times_is_named(tmp_path: Path) -> None:
    root = write_odometry(tmp_path)
    write_text(root / "times.txt", "0.0\n0.1\n")
    with pytest.raises(SourceError, match=r"000002\.png has no row in times\.txt or in the poses"):
        open_source(str(root))


@pytest.mark.parametrize("calib", ["P0: 1 2 3\n", "P2: 1 2 3\n"])
def test_a_wrong_calibration_of_kitti_is_named(tmp_path: Path, calib: str) -> None:
    root = write_odometry(tmp_path)
    write_text(root / "calib.txt", calib)
    with pytest.raises(SourceError, match=r"calib\.txt(: expected( 'P2: 12 numbers')?| has no row P2)"):
        open_source(str(root))


def test_kitti_depth_selection_pairs_images_with_depths_and_their_own_calibration(
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


def test_kitti_depth_of_one_drive_is_found_in_both_arrangements(tmp_path: Path) -> None:
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


def test_kitti_depth_without_a_single_pair_is_named(tmp_path: Path) -> None:
    write_image(tmp_path / "image" / "a_image_1.png")
    write_depth(tmp_path / "groundtruth_depth" / "b_groundtruth_depth_1.png", 1)
    with pytest.raises(SourceError, match=r"no image in .* has a depth of the same name"):
        open_source(str(tmp_path))


# --- Sintel and Neural RGB-D -------------------------------------------------------------------------


def write_sintel(root: Path) -> Path:
    final = root / "training" / "final" / "alley_2"
    for k in (1, 2):
        name = f"frame_{k:04d}"
        write_image(final / f"{name}.png", 10 * k)
        depth = np.full((HEIGHT, WIDTH), 3.5 * k, "<f4")
        depths, cameras = (root / "training" / part / "alley_2" for part in ("depth", "camdata_left"))
        depths.mkdir(parents=True, exist_ok=True)
        cameras.mkdir(parents=True, exist_ok=True)
        header = struct.pack("<fii", 202021.25, WIDTH, HEIGHT)
        (depths / f"{name}.dpt").write_bytes(header + depth.tobytes())
        K = np.array([[1120.0 + k, 0, 4], [0, 1120, 3], [0, 0, 1]])
        extrinsics = se3_inverse(moved(k))[:3]
        (cameras / f"{name}.cam").write_bytes(
            struct.pack("<f", 202021.25) + K.tobytes() + extrinsics.tobytes()
        )
    return final


def test_sintel_has_poses_depth_and_a_camera_for_each_image(tmp_path: Path) -> None:
    sequence = open_source(str(write_sintel(tmp_path)))
    frames = list(sequence.frames())
    np.testing.assert_allclose(poses(sequence), [moved(1), moved(2)], atol=1e-9)
    assert [frame.intrinsics.fx for frame in frames if frame.intrinsics] == [1121.0, 1122.0]
    depth_m = [sequence.true_depth_m(frame.stamp_ns) for frame in frames]  # type: ignore[attr-defined]
    assert [depth.shape for depth in depth_m] == [(HEIGHT, WIDTH)] * 2
    assert [depth[0, 0] for depth in depth_m] == [3.5, 7.0]
    assert [frame.stamp_ns - START_NS for frame in frames] == [0, 41_666_667]


@pytest.mark.parametrize(("part", "keep"), [("depth", 40), ("depth", 3), ("camdata_left", 100)])
def test_half_a_file_of_sintel_is_named(tmp_path: Path, part: str, keep: int) -> None:
    root = write_sintel(tmp_path)
    file = next((tmp_path / "training" / part / "alley_2").iterdir())
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(SourceError, match=rf"{file} is not a complete (depth|camera) file of Sintel"):
        open_source(str(root)).true_depth_m(START_NS + (41_666_667 if "2." in file.name else 0))  # type: ignore[attr-defined]


def test_poses_of_neural_rgbd_become_optical_and_rows_of_nan_are_none(tmp_path: Path) -> None:
    gl = [moved(k) @ np.diag([1.0, -1.0, -1.0, 1.0]) for k in range(11)]
    gl[1] = np.full((4, 4), np.nan)
    write_text(tmp_path / "poses.txt", "".join(matrix_text(T) for T in gl))
    write_text(tmp_path / "focal.txt", "554.2562584220408\n")
    for k in range(11):
        write_image(tmp_path / "images" / f"img{k}.png", 10 * k)
        write_depth(tmp_path / "depth" / f"depth{k}.png", 100 * (k + 1))
    sequence = open_source(str(tmp_path))
    frames = list(sequence.frames())
    assert red(sequence) == [10 * k for k in range(11)]  # img10 last
    np.testing.assert_allclose(poses(sequence), [moved(k) for k in range(11) if k != 1], atol=1e-9)
    camera = frames[0].intrinsics
    assert camera is not None
    assert (camera.fx, camera.cx, camera.cy) == (554.2562584220408, WIDTH / 2, HEIGHT / 2)
    assert sequence.true_depth_m(frames[10].stamp_ns)[1, 1] == np.float32(1.1)  # type: ignore[attr-defined]


def test_neural_rgbd_with_too_few_poses_is_named(tmp_path: Path) -> None:
    write_text(tmp_path / "poses.txt", matrix_text(np.eye(4)))
    write_text(tmp_path / "focal.txt", "500")
    write_image(tmp_path / "images" / "img1.png")
    with pytest.raises(SourceError, match=r"poses\.txt has 1 poses, but img1\.png has number 1"):
        open_source(str(tmp_path))


# --- all of them -------------------------------------------------------------------------------------

WRITERS = {
    "tum": lambda root: write_tum(root / "desk"),
    "bonn": lambda root: write_tum(root / "rgbd_bonn_crowd"),
    "7scenes": write_7scenes,
    "euroc": write_euroc,
    "kitti": write_odometry,
    "sintel": write_sintel,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_layout_is_found_by_its_files_and_opens_the_same_by_name(tmp_path: Path, name: str) -> None:
    root = WRITERS[name](tmp_path)
    found = detect_format(root)
    assert found is not None
    assert found.name == name
    asked, detected = (open_source(str(root), SourceOptions(format=layout)) for layout in (name, "auto"))
    assert [f.stamp_ns for f in asked.frames()] == [f.stamp_ns for f in detected.frames()]
    assert len(asked) == len(list(asked.frames()))


@pytest.mark.parametrize("layout", DATASET_FORMATS, ids=lambda layout: layout.name)
def test_a_layout_that_is_asked_for_and_is_not_there_is_answered_with_what_was_expected(
    tmp_path: Path, layout: object
) -> None:
    name = layout.name  # type: ignore[attr-defined]
    with pytest.raises(SourceError, match=rf"{tmp_path} is not a {name} sequence"):
        open_source(str(tmp_path), SourceOptions(format=name))


def test_a_stride_and_a_limit_leave_files_unread_and_the_truth_whole(tmp_path: Path) -> None:
    root = write_7scenes(tmp_path / "seq-01")
    for k in range(2, 7):
        write_image(root / f"frame-{k:06d}.color.png", 10 * k)
    (root / "frame-000001.color.png").write_bytes(b"broken, and never looked at")
    sequence = open_source(str(root), SourceOptions(stride=2, max_frames=3))
    assert (red(sequence), len(sequence), sequence.skipped) == ([0, 20, 40], 3, 0)
    assert len(sequence.ground_truth()) == 2


def test_a_pose_file_of_other_numbers_is_named(tmp_path: Path) -> None:
    root = write_7scenes(tmp_path / "seq-01")
    write_text(root / "frame-000001.pose.txt", "1 2 3")
    with pytest.raises(SourceError, match=r"frame-000001\.pose\.txt: expected 4 x 4 numbers"):
        open_source(str(root))


def test_a_data_set_of_nothing_but_broken_images_is_named(tmp_path: Path) -> None:
    root = write_7scenes(tmp_path / "seq-01")
    for file in root.glob("*.color.png"):
        file.write_bytes(b"\x89PNG and nothing more")
    with pytest.raises(SourceError, match=rf"{root}: none of 2 files can be read as an image"):
        list(open_source(str(root)).frames())


@pytest.mark.parametrize(
    ("stamp_ns", "expected"), [(4, None), (5, 0), (14, 0), (16, 1), (25, 1), (26, None)]
)
def test_the_nearest_stamp_counts_only_within_its_tolerance(stamp_ns: int, expected: int | None) -> None:
    assert nearest_index([10, 20], stamp_ns, 5) == expected
    assert nearest_index([], stamp_ns, 5) is None
