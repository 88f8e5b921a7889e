# SPDX-License-Identifier: Apache-2.0
"""Folders of images."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.image_folder import ImageFolder
from ttt3r_ros.types import Intrinsics

if TYPE_CHECKING:
    from pathlib import Path


CAMERA = {"fx": 30.0, "fy": 31, "cx": 15.5, "cy": 11.5, "width": 32, "height": 24}


def write_images(folder: Path, count: int, suffix: str = ".png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        rgb = np.full((24, 32, 3), (10 * k, 200, 30), np.uint8)
        assert cv2.imwrite(str(folder / f"{k:03d}{suffix}"), rgb[..., ::-1])


def truth_row(k: int) -> str:
    return f"{1785000000 + k}.123456789 {k} 0 1.5 0 0 0 1"


def test_a_plain_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    write_images(tmp_path, 3)
    (tmp_path / "notes.txt").write_text("not an image")
    folder = ImageFolder(tmp_path, rate_hz=20.0)
    frames = list(folder.frames())
    assert len(folder) == len(frames) == 3
    assert [tuple(frame.rgb[0, 0]) for frame in frames] == [(0, 200, 30), (10, 200, 30), (20, 200, 30)]
    assert [frame.stamp_ns for frame in frames] == [10**9, 10**9 + 50_000_000, 10**9 + 100_000_000]
    assert frames[0].rgb.shape == (24, 32, 3)
    assert frames[0].intrinsics is None
    assert folder.ground_truth() == []


def test_a_folder_can_be_read_twice(tmp_path: Path) -> None:
    write_images(tmp_path, 2)
    folder = ImageFolder(tmp_path)
    assert len(list(folder.frames())) == len(list(folder.frames())) == 2


def test_a_folder_with_rgb_has_calibration_poses_and_their_stamps(tmp_path: Path) -> None:
    write_images(tmp_path / "rgb", 2, ".JPG")
    (tmp_path / "camera.json").write_text(json.dumps(CAMERA))
    (tmp_path / "groundtruth.txt").write_text(
        "\n".join(["# t x y z qx qy qz qw", truth_row(0), "", truth_row(1)])
    )
    folder = ImageFolder(tmp_path)
    frames = list(folder.frames())
    stamps_ns = [1785000000123456789, 1785000001123456789]
    assert [frame.stamp_ns for frame in frames] == stamps_ns
    assert [stamp_ns for stamp_ns, _ in folder.ground_truth()] == stamps_ns
    np.testing.assert_array_equal(
        folder.ground_truth()[1][1][:3], [[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 1.5]]
    )
    assert frames[0].intrinsics == Intrinsics(30.0, 31.0, 15.5, 11.5, 32, 24)


@pytest.mark.parametrize("value", ["nan", "-inf"])
def test_a_pose_that_is_not_finite_is_ignored_and_its_image_keeps_its_stamp(
    tmp_path: Path, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_images(tmp_path / "rgb", 3)
    lost = " ".join([truth_row(1).split()[0], *[value] * 7])
    (tmp_path / "groundtruth.txt").write_text("\n".join([truth_row(0), lost, truth_row(2)]))
    folder = ImageFolder(tmp_path)
    stamps_ns = [1785000000123456789 + k * 10**9 for k in range(3)]
    assert [frame.stamp_ns for frame in folder.frames()] == stamps_ns
    assert [stamp_ns for stamp_ns, _ in folder.ground_truth()] == [stamps_ns[0], stamps_ns[2]]
    assert folder.remarks == ("1 of 3 true poses are not finite and ignored",)
    assert f"{tmp_path}: {folder.remarks[0]}" in caplog.text


def test_ground_truth_must_have_a_row_for_each_image(tmp_path: Path) -> None:
    write_images(tmp_path / "rgb", 2)
    for rows in (1, 3):
        (tmp_path / "groundtruth.txt").write_text("\n".join(truth_row(k) for k in range(rows)))
        with pytest.raises(SourceError, match=rf"{tmp_path}: 2 images, but {rows} rows"):
            ImageFolder(tmp_path)


def test_a_damaged_image_is_skipped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_images(tmp_path, 3)
    whole = [frame.stamp_ns for frame in ImageFolder(tmp_path).frames()]
    (tmp_path / "001.png").write_bytes(b"\x89PNG")
    assert [frame.stamp_ns for frame in ImageFolder(tmp_path).frames()] == [whole[0], whole[2]]
    assert f"{tmp_path / '001.png'} cannot be read as an image" in caplog.text


def test_a_folder_of_damaged_images_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "000.png").write_bytes(b"\x89PNG")
    with pytest.raises(SourceError, match=rf"{tmp_path}: none of 1 files can be read as an image"):
        list(ImageFolder(tmp_path).frames())


def test_the_error_of_a_folder_without_images_lists_the_suffixes(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not an image")
    with pytest.raises(SourceError, match=rf"{tmp_path} has no images \(\.jpg, \.jpeg, \.png"):
        ImageFolder(tmp_path)


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="absent is not a folder of images"):
        ImageFolder(tmp_path / "absent")


def test_invalid_camera_files_are_errors(tmp_path: Path) -> None:
    write_images(tmp_path, 1)
    invalid = {
        "{": "not JSON",
        "[1, 2]": r"\[1, 2\]",
        json.dumps({**CAMERA, "fx": "wide"}): "'wide'",
        json.dumps({key: value for key, value in CAMERA.items() if key != "cy"}): "cy",
        json.dumps({key: value for key, value in CAMERA.items() if key != "height"}): "height",
        json.dumps({**CAMERA, "width": None}): "NoneType",
        json.dumps({**CAMERA, "depth_scale": 0}): "depth_scale is 0",
        "\ud800": "not UTF-8",
    }
    for text, problem in invalid.items():
        (tmp_path / "camera.json").write_bytes(text.encode("utf-8", "surrogatepass"))
        with pytest.raises(SourceError, match=rf"camera\.json.*{problem}"):
            ImageFolder(tmp_path)


def test_many_files_that_are_no_images_are_two_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_images(tmp_path, 1)
    for k in range(1500):
        (tmp_path / f"b{k}.png").write_bytes(b"no image")
    folder = ImageFolder(tmp_path)
    assert (len(list(folder.frames())), folder.skipped) == (1, 1500)
    assert f"{tmp_path}/b0.png cannot be read" in caplog.text
    assert "1499 more warnings like this" in caplog.text
    assert len(caplog.records) == 2
