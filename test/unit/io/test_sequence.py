# SPDX-License-Identifier: Apache-2.0
"""Folders and videos as image sequences."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.image_folder import ImageFolder
from ttt3r_ros.io.trajectory_files import read_tum
from ttt3r_ros.io.video import Video
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


def test_a_folder_may_be_read_twice(tmp_path: Path) -> None:
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
def test_a_pose_that_is_not_finite_is_no_truth_and_its_image_keeps_its_stamp(
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


@pytest.mark.parametrize("rows", [1, 3])
def test_ground_truth_must_have_a_row_for_each_image(tmp_path: Path, rows: int) -> None:
    write_images(tmp_path / "rgb", 2)
    (tmp_path / "groundtruth.txt").write_text("\n".join(truth_row(k) for k in range(rows)))
    with pytest.raises(SourceError, match=rf"{tmp_path}: 2 images, but {rows} rows in groundtruth\.txt"):
        ImageFolder(tmp_path)


def test_a_broken_image_is_left_out_by_name_and_the_others_keep_their_stamps(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_images(tmp_path, 3)
    whole = [frame.stamp_ns for frame in ImageFolder(tmp_path).frames()]
    (tmp_path / "001.png").write_bytes(b"\x89PNG and nothing more")
    assert [frame.stamp_ns for frame in ImageFolder(tmp_path).frames()] == [whole[0], whole[2]]
    assert f"{tmp_path / '001.png'} cannot be read as an image" in caplog.text


def test_a_folder_of_nothing_but_broken_images_is_named(tmp_path: Path) -> None:
    (tmp_path / "000.png").write_bytes(b"\x89PNG and nothing more")
    with pytest.raises(SourceError, match=rf"{tmp_path}: none of 1 files can be read as an image"):
        list(ImageFolder(tmp_path).frames())


def test_a_folder_without_images_says_what_counts_as_one(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not an image")
    with pytest.raises(SourceError, match=rf"{tmp_path} has no images \(\.jpg, \.jpeg, \.png"):
        ImageFolder(tmp_path)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="absent is not a folder of images"):
        ImageFolder(tmp_path / "absent")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{", "JSONDecodeError"),
        ("[1, 2]", "TypeError"),
        (json.dumps({**CAMERA, "fx": "wide"}), "could not convert"),
        (json.dumps({key: value for key, value in CAMERA.items() if key != "cy"}), "KeyError.*cy"),
        (
            json.dumps({key: value for key, value in CAMERA.items() if key != "height"}),
            "KeyError.*height",
        ),
        (json.dumps({**CAMERA, "width": None}), "TypeError"),
        ("\ud800", "Error"),
    ],
)
def test_a_wrong_camera_file_is_named_with_what_was_expected(
    tmp_path: Path, text: str, found: str
) -> None:
    write_images(tmp_path, 1)
    (tmp_path / "camera.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(SourceError, match=rf"camera\.json: expected a JSON object with fx, .*{found}"):
        ImageFolder(tmp_path)


@pytest.mark.parametrize(
    "line",
    ["1.0 2 3", "1.0 0 0 0 0 0 0", "now 0 0 0 0 0 0 1", "1.0 0 0 zero 0 0 0 1", "1.0 0 0 0 0 0 0 0"],
)
def test_a_wrong_line_of_a_trajectory_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "groundtruth.txt"
    path.write_text(f"# header\n{truth_row(0)}\n{line}\n")
    with pytest.raises(SourceError, match=rf"{path}:3: expected 't x y z qx qy qz qw', found '{line}'"):
        read_tum(path)


@pytest.mark.parametrize(
    ("text", "stamp_ns"),
    [
        ("12", 12 * 10**9),
        ("12.5", 12_500_000_000),
        ("1785000000.1234567891", 1785000000123456789),
        ("1.2e1", 12 * 10**9),
    ],
)
def test_stamps_in_seconds_are_read_to_the_nanosecond(tmp_path: Path, text: str, stamp_ns: int) -> None:
    (tmp_path / "poses.txt").write_text(f"{text} 0 0 0 0 0 0 1\n")
    assert read_tum(tmp_path / "poses.txt")[0][0] == stamp_ns


def test_no_trajectory_file_means_no_poses(tmp_path: Path) -> None:
    assert read_tum(tmp_path / "absent.txt") == []


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (64, 48))
    assert writer.isOpened()
    for k in range(5):
        writer.write(np.full((48, 64, 3), (30, 100, 40 * k), np.uint8))
    writer.release()
    return path


def test_a_video_yields_every_frame_in_color_with_the_stamps_of_its_rate(video: Path) -> None:
    sequence = Video(video)
    frames = list(sequence.frames())
    assert len(sequence) == len(frames) == 5
    assert [frame.stamp_ns for frame in frames] == [10**9 + k * 40_000_000 for k in range(5)]
    for k, frame in enumerate(frames):
        assert frame.rgb.shape == (48, 64, 3)
        np.testing.assert_allclose(frame.rgb.mean(axis=(0, 1)), [40 * k, 100, 30], atol=6)
    assert sequence.ground_truth() == []


def test_a_video_may_be_read_twice_and_left_in_the_middle(video: Path) -> None:
    sequence = Video(video)
    first = sequence.frames()
    next(first)
    first.close()  # type: ignore[attr-defined]
    assert len(list(sequence.frames())) == 5


def test_a_file_that_is_no_video_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.avi"
    path.write_text("not a video")
    with pytest.raises(SourceError, match=rf"{path} cannot be opened as a video"):
        Video(path)


def test_a_video_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"absent\.mp4 is not a file"):
        Video(tmp_path / "absent.mp4")


def test_a_video_whose_frames_cannot_be_decoded_is_named(video: Path) -> None:
    content = bytearray(video.read_bytes())
    content[content.index(b"movi") + 4 :] = b""
    video.write_bytes(content)
    with pytest.raises(SourceError, match=rf"{video}(: no frame can| cannot be opened)"):
        list(Video(video).frames())
