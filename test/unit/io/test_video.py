# SPDX-License-Identifier: Apache-2.0
"""Video files, complete and damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from small_video import COUNT, write_video

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.sources import SourceOptions, open_source
from ttt3r_ros.io.video import Video

if TYPE_CHECKING:
    from pathlib import Path


def damage(path: Path, number: int) -> None:
    """Overwrite the data of one frame, as OpenCV hands it out undecoded."""
    capture = cv2.VideoCapture(str(path))
    capture.set(cv2.CAP_PROP_FORMAT, -1)
    packets = [capture.read()[1].tobytes() for _ in range(number + 1)]
    capture.release()
    content = path.read_bytes()
    assert content.count(packets[number]) == 1
    path.write_bytes(content.replace(packets[number], b"\xff" * len(packets[number])))


def test_a_video_has_all_frames_in_color_with_stamps_of_its_rate(video: Path) -> None:
    sequence = Video(video)
    frames = list(sequence.frames())
    assert len(sequence) == len(frames) == 5
    assert [frame.stamp_ns for frame in frames] == [10**9 + k * 40_000_000 for k in range(5)]
    for k, frame in enumerate(frames):
        assert frame.rgb.shape == (48, 64, 3)
        np.testing.assert_allclose(frame.rgb.mean(axis=(0, 1)), [40 * k, 100, 30], atol=6)
    assert sequence.ground_truth() == []


def test_a_video_can_be_read_again_after_a_partial_read(video: Path) -> None:
    sequence = Video(video)
    first = sequence.frames()
    next(first)
    first.close()  # type: ignore[attr-defined]
    assert len(list(sequence.frames())) == 5


def test_another_file_is_not_a_video(tmp_path: Path) -> None:
    path = tmp_path / "notes.avi"
    path.write_text("not a video")
    with pytest.raises(SourceError, match=rf"{path} cannot be opened as a video"):
        Video(path)


def test_a_missing_video_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"absent\.mp4 is not a file"):
        Video(tmp_path / "absent.mp4")


def test_a_video_without_frames_is_an_error(video: Path) -> None:
    content = bytearray(video.read_bytes())
    content[content.index(b"movi") + 4 :] = b""
    video.write_bytes(content)
    with pytest.raises(SourceError, match=str(video)):
        list(Video(video).frames())


@pytest.mark.parametrize(("suffix", "codec"), [("avi", "MJPG"), ("mp4", "mp4v")])
def test_a_damaged_frame_is_skipped_and_the_others_keep_their_stamps(
    tmp_path: Path, suffix: str, codec: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_video(tmp_path / f"walk.{suffix}", codec)
    damage(path, 5)
    film = open_source(str(path))
    stamps_ns = [frame.stamp_ns for frame in film.frames()]
    assert stamps_ns == [10**9 + k * 40_000_000 for k in range(COUNT) if k != 5]
    assert film.skipped == 1
    assert f"{path}: the frame at 0.20 s is damaged" in caplog.text
    assert len(caplog.records) == 1
    assert (
        len(list(open_source(str(path), SourceOptions(max_frames=4)).frames())) == 4
    )  # never gets there


def test_damaged_frames_at_the_end_are_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_video(tmp_path / "walk.avi")
    damage(path, COUNT - 1)
    assert len(list(open_source(str(path)).frames())) == COUNT - 1
    assert f"{path}: the frame at 0.44 s is damaged" in caplog.text


def test_a_video_of_damaged_frames_is_an_error(tmp_path: Path) -> None:
    path = write_video(tmp_path / "walk.avi")
    for number in range(COUNT):
        damage(path, number)
    with pytest.raises(SourceError, match=str(path)):
        list(open_source(str(path)).frames())


def test_a_damaged_and_truncated_video_is_an_error_at_its_end(tmp_path: Path) -> None:
    path = write_video(tmp_path / "walk.avi")
    damage(path, 2)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    film = open_source(str(path))
    received = []
    with pytest.raises(SourceError, match=rf"{path} is truncated: .* \d frames, .* of 0\.48 s"):
        received.extend(film.frames())
    assert 2 <= len(received) <= 7
    assert film.skipped == 1


def test_a_truncated_video_is_an_error_at_its_end(tmp_path: Path) -> None:
    path = write_video(tmp_path / "walk.avi")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    film = open_source(str(path))
    received = []
    with pytest.raises(SourceError, match=rf"{path} is truncated: .* \d frames, .* of 0\.48 s"):
        received.extend(film.frames())
    assert 3 <= len(received) <= 8


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (64, 48))
    assert writer.isOpened()
    for k in range(5):
        writer.write(np.full((48, 64, 3), (30, 100, 40 * k), np.uint8))
    writer.release()
    return path
