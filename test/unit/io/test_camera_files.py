# SPDX-License-Identifier: Apache-2.0
"""Calibration files."""

from __future__ import annotations

import json

import pytest
from recordings import image_folder, video

from ttt3r_ros.cli.main import main
from ttt3r_ros.errors import SourceError
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


def test_yaml_of_ros_and_json_are_read(calibration, tmp_path):
    lens = ("plumb_bob", (-0.2, 0.05, 0.001, 0.0, 0.0))
    assert read_camera_file(calibration) == Intrinsics(140.0, 141.0, 80.5, 60.5, 160, 120, *lens)
    (tmp_path / "camera.json").write_text(json.dumps(JSON))
    assert read_camera_file(tmp_path / "camera.json") == Intrinsics(140.0, 141.0, 80.5, 60.5, 160, 120)


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
    assert read_camera_file(calibration).fx == 140.0


def test_a_video_is_rectified_by_a_calibration_file(calibration, tmp_path):
    options = SourceOptions(calibration=calibration)
    for frame in open_source(str(video(tmp_path / "room.avi", 2)), options).frames():
        assert frame.intrinsics == read_camera_file(calibration)
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
