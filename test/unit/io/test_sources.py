# SPDX-License-Identifier: Apache-2.0
"""Detection and selection of sources."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from recordings import image_folder
from small_video import pixels, write_video

from ttt3r_ros.errors import ConfigError, SourceError
from ttt3r_ros.io.image_folder import ImageFolder
from ttt3r_ros.io.sequence import FrameSelection
from ttt3r_ros.io.sources import FORMAT_NAMES, SourceOptions, open_source
from ttt3r_ros.io.video import Video

if TYPE_CHECKING:
    from pathlib import Path

    from ttt3r_ros.io.sequence import ImageSequence


def write_images(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for k, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), np.full((24, 32, 3), (30, 200, 10 * k), np.uint8))
    return folder


def red_values(sequence: ImageSequence) -> list[int]:
    return [int(frame.rgb[0, 0, 0]) for frame in sequence.frames()]


def test_a_folder_of_images_is_detected(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "walk", ["img10.png", "img9.png", "img11.png"])
    for layout in ("auto", "folder"):
        sequence = open_source(str(folder), SourceOptions(format=layout))
        assert isinstance(sequence, ImageFolder)
        assert (sequence.name, len(sequence), red_values(sequence)) == ("walk", 3, [10, 0, 20])


def test_a_folder_with_images_in_rgb_is_detected(tmp_path: Path) -> None:
    write_images(tmp_path / "rgb", ["0.png"])
    assert isinstance(open_source(str(tmp_path)), ImageFolder)


def test_the_error_of_an_empty_folder_lists_the_expected_files(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(str(tmp_path))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path} is empty: ")
    assert "\n" not in message
    for expected in (
        "rgb.txt",
        "mav0",
        "frame-*.color.png",
        "image_2",
        "focal.txt",
        "rgb/",
        *FORMAT_NAMES[1:10],
    ):
        assert expected in message


def test_the_error_of_another_folder_lists_its_content_and_the_sequences_inside(
    tmp_path: Path,
) -> None:
    (tmp_path / "notes.txt").write_text("not an image")
    write_images(tmp_path / "walk_1", ["0.png"])
    write_images(tmp_path / "seq-02", ["frame-000000.color.png"])
    with pytest.raises(
        SourceError, match=r"has notes\.txt, seq-02, walk_1: .*inside it: seq-02, walk_1"
    ):
        open_source(str(tmp_path))


def test_a_missing_source_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"absent does not exist \(expected a bag, video, "):
        open_source(str(tmp_path / "absent"))


def test_a_single_image_is_an_error(tmp_path: Path) -> None:
    write_images(tmp_path, ["0.png"])
    with pytest.raises(SourceError, match=r"0\.png is one image; expected a folder of images"):
        open_source(str(tmp_path / "0.png"))


def test_other_files_are_opened_as_videos(tmp_path: Path) -> None:
    assert isinstance(open_source(str(write_video(tmp_path / "walk.avi"))), Video)
    (tmp_path / "notes.txt").write_text("not a video")
    with pytest.raises(SourceError, match=r"notes\.txt cannot be opened as a video"):
        open_source(str(tmp_path / "notes.txt"))


def test_an_unknown_format_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="'vhs'"):
        open_source(str(tmp_path), SourceOptions(format="vhs"))


def test_a_topic_without_a_bag_is_an_error(tmp_path: Path) -> None:
    write_images(tmp_path, ["0.png"])
    with pytest.raises(SourceError, match="is not a bag and has no topic /cam/image"):
        open_source(str(tmp_path), SourceOptions(topic="/cam/image"))


def test_the_error_without_rosbags_has_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("ttt3r_ros.io.bags.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rosbags.rosbag1", None)
    (tmp_path / "walk.mcap").write_bytes(b"")
    with pytest.raises(SourceError, match=r"without rosbags .*pip install 'ttt3r_ros\[run\]'"):
        open_source(str(tmp_path / "walk.mcap"))


def test_stamps_of_a_folder_have_the_given_rate(tmp_path):
    source = image_folder(tmp_path / "room", truth=False)
    stamps_ns = [frame.stamp_ns for frame in open_source(str(source), SourceOptions(fps=25.0)).frames()]
    np.testing.assert_array_equal(np.diff(stamps_ns), 40_000_000)


def test_a_selection_has_stride_and_limit() -> None:
    expected = {
        (1, 0): [0, 1, 2, 3, 4, 5, 6], (3, 0): [0, 3, 6], (2, 2): [0, 2], (4, 5): [0, 4], (1, 1): [0],
    }  # fmt: skip
    selections = {key: FrameSelection(*key) for key in expected}
    assert {key: list(selection.apply(range(7))) for key, selection in selections.items()} == expected
    for key, selection in selections.items():
        assert (selection.count(7), selection.count(0)) == (len(expected[key]), 0), key


def test_a_selection_consumes_no_further_items() -> None:
    items = iter(range(100))
    assert list(FrameSelection(3, 4).apply(items)) == [0, 3, 6, 9]
    assert next(items) == 10


def test_invalid_selections_are_errors(tmp_path: Path) -> None:
    for stride, limit in ((0, 0), (-1, 0), (1, -1)):
        with pytest.raises(ConfigError, match=f"{stride}.*{limit}"):
            open_source(str(tmp_path), SourceOptions(stride=stride, max_frames=limit))


def test_folder_and_video_yield_only_selected_frames(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "walk", [f"{k}.png" for k in range(8)])
    (folder / "1.png").write_bytes(b"damaged")
    chosen = open_source(str(folder), SourceOptions(stride=3, max_frames=2))
    assert (red_values(chosen), len(chosen), chosen.skipped) == ([0, 30], 2, 0)
    assert [f.stamp_ns for f in chosen.frames()] == [10**9, 10**9 + 300_000_000]
    film = open_source(str(write_video(tmp_path / "walk.avi")), SourceOptions(stride=5))
    frames = list(film.frames())
    assert len(film) == len(frames) == 3
    assert [f.stamp_ns for f in frames] == [10**9 + k * 40_000_000 for k in (0, 5, 10)]
    for frame, k in zip(frames, (0, 5, 10), strict=True):
        assert np.abs(frame.rgb.astype(int) - pixels(k)[..., ::-1]).mean() < 25
