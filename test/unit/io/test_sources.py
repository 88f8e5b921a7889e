# SPDX-License-Identifier: Apache-2.0
"""Whatever somebody names as a source is told by its files, opened, and answered in one line where it cannot be."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from ttt3r_ros.errors import ConfigError, SourceError
from ttt3r_ros.io.image_folder import ImageFolder
from ttt3r_ros.io.sequence import FrameSelection, ImageSequence
from ttt3r_ros.io.sources import FORMAT_NAMES, SourceOptions, open_source
from ttt3r_ros.io.video import Video
from ttt3r_ros.io.webcam import Webcam, parse_device

COUNT, RATE_HZ = 12, 25.0


def write_images(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for k, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), np.full((24, 32, 3), (30, 200, 10 * k), np.uint8))
    return folder


def red(sequence: ImageSequence) -> list[int]:
    return [int(frame.rgb[0, 0, 0]) for frame in sequence.frames()]


def picture(k: int) -> np.ndarray:
    """A pattern that differs from frame to frame and is not small when compressed."""
    coarse = np.random.default_rng(k).integers(0, 256, (12, 16, 3), np.uint8)
    return cv2.resize(coarse, (64, 48), interpolation=cv2.INTER_NEAREST)


def write_video(path: Path, codec: str = "MJPG") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), RATE_HZ, (64, 48))
    assert writer.isOpened()
    for k in range(COUNT):
        writer.write(picture(k))
    writer.release()
    return path


# --- what is what ------------------------------------------------------------------------------------


def test_a_folder_of_images_is_opened_by_itself_and_by_name(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "walk", ["img10.png", "img9.png", "img11.png"])
    for layout in ("auto", "folder"):
        sequence = open_source(str(folder), SourceOptions(format=layout))
        assert isinstance(sequence, ImageFolder)
        assert (sequence.name, len(sequence), red(sequence)) == ("walk", 3, [10, 0, 20])


def test_images_under_rgb_are_a_folder_too(tmp_path: Path) -> None:
    write_images(tmp_path / "rgb", ["0.png"])
    assert isinstance(open_source(str(tmp_path)), ImageFolder)


def test_an_empty_folder_is_answered_with_everything_that_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(str(tmp_path))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path} is empty: not a sequence of images; expected metadata.yaml, ")
    assert "\n" not in message
    for looked_for in (
        "rgb.txt",
        "mav0",
        "frame-*.color.png",
        "image_2",
        "focal.txt",
        "rgb/",
        *FORMAT_NAMES[1:10],
    ):
        assert looked_for in message


def test_a_folder_of_something_else_is_answered_with_what_is_there_and_with_the_sequences_inside(
    tmp_path: Path,
) -> None:
    (tmp_path / "notes.txt").write_text("not an image")
    write_images(tmp_path / "walk_1", ["0.png"])
    write_images(tmp_path / "seq-02", ["frame-000000.color.png"])
    with pytest.raises(
        SourceError, match=r"has notes\.txt, seq-02, walk_1: .*inside it: seq-02, walk_1"
    ):
        open_source(str(tmp_path))


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"absent does not exist \(expected a bag, video, "):
        open_source(str(tmp_path / "absent"))


def test_one_image_is_answered_with_a_hint_at_its_folder(tmp_path: Path) -> None:
    write_images(tmp_path, ["0.png"])
    with pytest.raises(SourceError, match=r"0\.png is one image; expected a folder of images"):
        open_source(str(tmp_path / "0.png"))


def test_a_file_of_anything_is_tried_as_a_video(tmp_path: Path) -> None:
    assert isinstance(open_source(str(write_video(tmp_path / "walk.avi"))), Video)
    (tmp_path / "notes.txt").write_text("not a video")
    with pytest.raises(SourceError, match=r"notes\.txt cannot be opened as a video"):
        open_source(str(tmp_path / "notes.txt"))


def test_an_unknown_layout_is_answered_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="'vhs'"):
        open_source(str(tmp_path), SourceOptions(format="vhs"))


def test_a_topic_of_what_is_no_bag_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path, ["0.png"])
    with pytest.raises(SourceError, match="is not a bag and has no topic /cam/image"):
        open_source(str(tmp_path), SourceOptions(topic="/cam/image"))


def test_a_bag_without_rosbags_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ttt3r_ros.io.bags.reader", "ttt3r_ros.io.bags.storage"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "rosbags.highlevel", None)
    (tmp_path / "walk.mcap").write_bytes(b"")
    with pytest.raises(SourceError, match=r"without rosbags .*pip install 'ttt3r_ros\[run\]'"):
        open_source(str(tmp_path / "walk.mcap"))


# --- stride and limit --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stride", "limit", "expected"),
    [(1, 0, [0, 1, 2, 3, 4, 5, 6]), (3, 0, [0, 3, 6]), (2, 2, [0, 2]), (4, 5, [0, 4]), (1, 1, [0])],
)
def test_a_selection_takes_every_nth_and_so_many(stride: int, limit: int, expected: list[int]) -> None:
    selection = FrameSelection(stride, limit)
    assert list(selection.apply(range(7))) == expected
    assert selection.count(7) == len(expected)
    assert selection.count(0) == 0


def test_a_selection_takes_nothing_more_than_it_needs() -> None:
    items = iter(range(100))
    assert list(FrameSelection(3, 4).apply(items)) == [0, 3, 6, 9]
    assert next(items) == 10


@pytest.mark.parametrize(("stride", "limit"), [(0, 0), (-1, 0), (1, -1)])
def test_a_selection_of_nonsense_is_refused(tmp_path: Path, stride: int, limit: int) -> None:
    with pytest.raises(ConfigError, match=f"{stride}.*{limit}"):
        open_source(str(tmp_path), SourceOptions(stride=stride, max_frames=limit))


def test_folder_and_video_leave_out_what_is_not_chosen(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "walk", [f"{k}.png" for k in range(8)])
    (folder / "1.png").write_bytes(b"broken, and never looked at")
    chosen = open_source(str(folder), SourceOptions(stride=3, max_frames=2))
    assert (red(chosen), len(chosen), chosen.skipped) == ([0, 30], 2, 0)
    assert [f.stamp_ns for f in chosen.frames()] == [10**9, 10**9 + 300_000_000]
    film = open_source(str(write_video(tmp_path / "walk.avi")), SourceOptions(stride=5))
    frames = list(film.frames())
    assert len(film) == len(frames) == 3
    assert [f.stamp_ns for f in frames] == [10**9 + k * 40_000_000 for k in (0, 5, 10)]
    for frame, k in zip(frames, (0, 5, 10), strict=True):
        assert np.abs(frame.rgb.astype(int) - picture(k)[..., ::-1]).mean() < 25


# --- camera ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("webcam", 0), ("webcam:0", 0), ("webcam:12", 12), ("/dev/video3", "/dev/video3"),
        ("webcam:", None), ("webcams", None), ("webcam.mp4", None), ("/dev/video", None),
    ],
)  # fmt: skip
def test_a_camera_is_named_by_number_or_device(text: str, device: int | str | None) -> None:
    assert parse_device(text) == device
    if device is not None:
        assert isinstance(open_source(text), Webcam)


@pytest.mark.skipif(Path("/dev/video63").exists(), reason="this machine has 64 cameras")
@pytest.mark.parametrize("text", ["webcam:63", "/dev/video63"])
def test_a_camera_that_is_not_there_is_named(text: str) -> None:
    with pytest.raises(SourceError, match=r"camera \S*63 cannot be opened: it does not exist, "):
        next(iter(open_source(text).frames()))


def test_a_cameras_images_have_the_time_of_their_arrival_and_end_with_the_limit(tmp_path: Path) -> None:
    """A video stands in for the device: OpenCV reads both the same way."""
    before_ns = time.time_ns()
    camera = open_source(
        str(write_video(tmp_path / "live.avi")), SourceOptions(format="webcam", max_frames=4)
    )
    frames = list(camera.frames())
    assert len(camera) == len(frames) == 4
    stamps_ns = [frame.stamp_ns for frame in frames]
    assert before_ns < stamps_ns[0]
    assert stamps_ns == sorted(set(stamps_ns))
    assert np.abs(frames[1].rgb.astype(int) - picture(1)[..., ::-1]).mean() < 25
    assert camera.ground_truth() == []


def test_a_camera_that_stops_sending_is_named_after_what_it_sent(tmp_path: Path) -> None:
    received = []
    camera = Webcam(str(write_video(tmp_path / "live.avi")))
    with pytest.raises(SourceError, match=rf"live\.avi sends no more images \(after {COUNT}\)"):
        received.extend(camera.frames())
    assert len(camera) == 0  # nobody knows beforehand


# --- videos with broken frames -----------------------------------------------------------------------


def damage(path: Path, number: int) -> None:
    """Overwrite the data of one frame, as OpenCV hands it out undecoded."""
    capture = cv2.VideoCapture(str(path))
    capture.set(cv2.CAP_PROP_FORMAT, -1)
    packets = [capture.read()[1].tobytes() for _ in range(number + 1)]
    capture.release()
    content = path.read_bytes()
    assert content.count(packets[number]) == 1
    path.write_bytes(content.replace(packets[number], b"\xff" * len(packets[number])))


@pytest.mark.parametrize(("suffix", "codec"), [("avi", "MJPG"), ("mp4", "mp4v")])
def test_a_damaged_frame_is_left_out_by_name_and_the_others_keep_their_stamps(
    tmp_path: Path, suffix: str, codec: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_video(tmp_path / f"walk.{suffix}", codec)
    damage(path, 5)
    film = open_source(str(path))
    stamps_ns = [frame.stamp_ns for frame in film.frames()]
    assert stamps_ns == [10**9 + k * 40_000_000 for k in range(COUNT) if k != 5]
    assert film.skipped == 1
    assert f"{path}: frame 5 (0.20 s) is damaged and skipped" in caplog.text
    assert len(caplog.records) == 1
    assert (
        len(list(open_source(str(path), SourceOptions(max_frames=4)).frames())) == 4
    )  # never gets there


def test_damaged_frames_at_the_very_end_look_like_an_early_end_and_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_video(tmp_path / "walk.avi")
    damage(path, COUNT - 1)
    assert len(list(open_source(str(path)).frames())) == COUNT - 1
    assert f"{path} has {COUNT - 1} frames; its header has {COUNT}" in caplog.text


def test_a_video_of_nothing_but_damaged_frames_is_named(tmp_path: Path) -> None:
    path = write_video(tmp_path / "walk.avi")
    for number in range(COUNT):
        damage(path, number)
    with pytest.raises(SourceError, match=rf"{path}: no frame can be decoded"):
        list(open_source(str(path)).frames())


def test_what_is_damaged_and_cut_off_too_is_named_for_the_end(tmp_path: Path) -> None:
    path = write_video(tmp_path / "walk.avi")
    damage(path, 2)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    film = open_source(str(path))
    received = []
    with pytest.raises(SourceError, match=rf"{path} breaks off after \d of {COUNT} frames"):
        received.extend(film.frames())
    assert 2 <= len(received) <= 7
    assert film.skipped == 1


def test_half_a_video_is_read_as_far_as_it_goes_and_named(tmp_path: Path) -> None:
    path = write_video(tmp_path / "walk.avi")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    film = open_source(str(path))
    received = []
    with pytest.raises(SourceError, match=rf"{path} breaks off after \d of {COUNT} frames"):
        received.extend(film.frames())
    assert 3 <= len(received) <= 8
