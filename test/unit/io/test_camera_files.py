# SPDX-License-Identifier: Apache-2.0
"""Calibration files."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from recordings import image_folder, video

from ttt3r_ros.cli.main import main
from ttt3r_ros.errors import SourceError
from ttt3r_ros.images.lens_models import with_ros_lens
from ttt3r_ros.io.camera_files import read_camera_file
from ttt3r_ros.io.frame_records import read_frames
from ttt3r_ros.io.sources import SourceOptions, open_source
from ttt3r_ros.types import Intrinsics

YAML = """image_width: 160
image_height: 120
camera_name: camera
camera_matrix: {rows: 3, cols: 3, data: [140.0, 0.0, 80.5, 0.0, 141.0, 60.5, 0.0, 0.0, 1.0]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.2, 0.05, 0.001, 0.0, 0.0]}
"""
JSON = {"fx": 140.0, "fy": 141.0, "cx": 80.5, "cy": 60.5, "width": 160, "height": 120}


@pytest.fixture
def calibration(tmp_path):
    path = tmp_path / "camera.yaml"
    path.write_text(YAML)
    return path


def raw_camera(path):
    return read_camera_file(path).intrinsics(160, 120, is_rectified=False)


def test_yaml_of_ros_and_json_are_read(calibration, tmp_path):
    lens = ("plumb_bob", (-0.2, 0.05, 0.001, 0.0, 0.0))
    assert raw_camera(calibration) == Intrinsics(140.0, 141.0, 80.5, 60.5, 160, 120, *lens)
    (tmp_path / "camera.json").write_text(json.dumps(JSON))
    assert raw_camera(tmp_path / "camera.json") == Intrinsics(140.0, 141.0, 80.5, 60.5, 160, 120)


def test_invalid_calibration_files_are_errors(tmp_path):
    path = tmp_path / "camera.yaml"
    invalid = {
        "": "NoneType",
        "a: [1, 2": "not YAML",
        YAML.replace("141.0", "wide"): "'wide'",
        YAML.replace("image_width", "w"): "'image_width'",
    }
    for text, problem in invalid.items():
        path.write_text(text)
        with pytest.raises(SourceError, match=rf"{path}.*{problem}"):
            read_camera_file(path)
    for name in ("absent.json", "absent.yaml"):
        with pytest.raises(SourceError, match=rf"{name}.*No such file"):
            read_camera_file(tmp_path / name)


def test_the_directive_of_opencv_is_accepted(calibration):
    calibration.write_text(f"%YAML:1.0\n{YAML}")
    assert raw_camera(calibration).fx == 140.0


KALIBR = """cam0:
  cam_overlaps: [1]
  camera_model: pinhole
  distortion_coeffs: [-0.28, 0.07, 0.0002, 0.00002]
  distortion_model: radtan
  intrinsics: [140.0, 141.0, 80.5, 60.5]
  resolution: [160, 120]
  rostopic: /left/image_raw
cam1:
  camera_model: pinhole
  distortion_coeffs: [-0.01, 0.04, -0.03, 0.005]
  distortion_model: equidistant
  intrinsics: [90.0, 91.0, 80.5, 60.5]
  resolution: [160, 120]
  rostopic: /right/image_raw
"""
EUROC = """%YAML:1.0
sensor_type: camera
T_BS:
  cols: 4
  rows: 4
  data: [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]
rate_hz: 20
resolution: [160, 120]
camera_model: pinhole
intrinsics: [140.0, 141.0, 80.5, 60.5] #fu, fv, cu, cv
distortion_model: radial-tangential
distortion_coefficients: [-0.28, 0.07, 0.0002, 0.00002]
"""
LEFT = Intrinsics(140.0, 141.0, 80.5, 60.5, 160, 120, "plumb_bob", (-0.28, 0.07, 0.0002, 0.00002, 0.0))


def camera_of(path, text, topic=""):
    path.write_text(text)
    return with_ros_lens(read_camera_file(path, topic).intrinsics(160, 120, is_rectified=False))


def test_files_of_kalibr_are_read(tmp_path, caplog):
    path = tmp_path / "camchain.yaml"
    assert camera_of(path, KALIBR[: KALIBR.index("cam1")]) == LEFT
    assert not caplog.records
    assert camera_of(path, KALIBR) == LEFT
    assert "cam0, cam1" in caplog.records[-1].getMessage()
    right = camera_of(path, KALIBR, "/right/image_raw")
    assert (right.fx, right.distortion_model, right.distortion[0]) == (90.0, "equidistant", -0.01)
    assert len(caplog.records) == 1


def test_files_of_euroc_are_read(tmp_path):
    assert camera_of(tmp_path / "sensor.yaml", EUROC) == LEFT


def write_with_opencv(path, fisheye=False, **names):
    file = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    file.write("calibration_time", "Tue Dec  1 03:13:42 2026")
    if names.get("width"):
        file.write(names["width"], 160)
        file.write(names["height"], 120)
    if fisheye:
        file.write("fisheye_model", 1)
    file.write(names["K"], np.array([[140.0, 0.0, 80.5], [0.0, 141.0, 60.5], [0.0, 0.0, 1.0]]))
    file.write(names["D"], np.array([[-0.28, 0.07, 0.0002, 0.00002]]).T)
    file.release()
    return path.read_text()


@pytest.mark.parametrize(
    "names",
    [
        {"K": "camera_matrix", "D": "distortion_coefficients", "width": "image_width", "height": "image_height"},
        {"K": "Camera_Matrix", "D": "Distortion_Coefficients", "width": "image_Width", "height": "image_Height"},
        {"K": "cameraMatrix", "D": "distCoeffs"},
        {"K": "M1", "D": "D1"},
    ],
)  # fmt: skip
def test_files_of_opencv_are_read(tmp_path, names):
    text = write_with_opencv(tmp_path / "opencv.yml", **names)
    assert "%YAML" in text
    assert "!!opencv-matrix" in text
    assert camera_of(tmp_path / "camera.yaml", text) == LEFT
    text = write_with_opencv(tmp_path / "opencv.yml", fisheye=True, **names)
    assert camera_of(tmp_path / "camera.yaml", text).distortion_model == "equidistant"


def test_synonyms_and_projections_of_ros_files_are_read(tmp_path):
    P = "projection_matrix: {rows: 3, cols: 4, data: [120, 0, 79, 0, 0, 121, 58, 0, 0, 0, 1, 0]}\n"
    path = tmp_path / "camera.yaml"
    assert (
        camera_of(path, YAML.replace("plumb_bob", "Brown-Conrady") + P).distortion_model == "plumb_bob"
    )
    rectified = read_camera_file(path).intrinsics(160, 120, is_rectified=True)
    assert rectified == Intrinsics(120.0, 121.0, 79.0, 58.0, 160, 120)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (KALIBR.replace("camera_model: pinhole", "camera_model: omni"), "omni"),
        (KALIBR.replace("camera_model: pinhole", "camera_model: ds"), "ds"),
        (KALIBR.replace("radtan", "fov"), "fov"),
        (EUROC.replace("radial-tangential", "homemade"), "homemade"),
        (EUROC.replace("[160, 120]", "[160]"), "1"),
        (YAML.replace("140.0, 0.0", "0.0, 0.0"), "fx = 0"),
        (YAML.replace("140.0, 0.0", "1e400, 0.0"), "1e400"),
        (YAML.replace("-0.2, 0.05", ".nan, 0.05"), "nan"),
        (YAML.replace("plumb_bob", "mei"), "mei"),
        (YAML.replace("0.05, 0.001, 0.0, 0.0", "0.05"), "2 coefficients"),
        ("camera: {a: 1}\n", "camera_matrix"),
        ("[1, 2, 3]\n", "list"),
    ],
)
def test_the_error_of_an_unusable_calibration_names_file_and_problem(tmp_path, text, problem):
    path = tmp_path / "camera.yaml"
    path.write_text(text)
    with pytest.raises(SourceError) as caught:
        read_camera_file(path)
    assert str(path) in str(caught.value)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_video_is_rectified_by_a_calibration_file(calibration, tmp_path):
    options = SourceOptions(calibration=calibration)
    for frame in open_source(str(video(tmp_path / "room.avi", 2)), options).frames():
        assert frame.intrinsics == raw_camera(calibration)
    words = [
        "run",
        tmp_path / "room.avi",
        "--calibration",
        calibration,
        "--output",
        tmp_path / "out",
        "--outputs",
        "frames",
    ]
    assert main([str(word) for word in words]) == 0
    for record in read_frames(tmp_path / "out" / "frames.csv"):
        assert record.distortion == "", "the images were rectified"
        assert record.width / record.fx == pytest.approx(160 / 140.0, rel=0.2)


def test_a_calibrated_sequence_keeps_depth_and_poses(calibration, tmp_path):
    source = image_folder(tmp_path / "room")
    sequence = open_source(str(source), SourceOptions(calibration=calibration))
    assert len(sequence) == len(sequence.ground_truth()) == 12
    assert sequence.true_depth_m(next(sequence.frames()).stamp_ns) is None
    with pytest.raises(AttributeError):
        _ = sequence.transforms
