# SPDX-License-Identifier: Apache-2.0
"""Presentation times of video frames, for any rate and count that the container announces."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.sequence import FrameSelection

av = pytest.importorskip("av")

from ttt3r_ros.io.video import Video  # noqa: E402 - needs PyAV

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COUNT = 30
CONTAINERS = {"mp4": "libx264", "mkv": "libx264", "webm": "libvpx", "ts": "libx264", "mov": "mjpeg"}


def picture(k: int) -> np.ndarray:
    """A pattern that differs from frame to frame."""
    coarse = np.random.default_rng(k).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(coarse, (64, 48), interpolation=cv2.INTER_NEAREST)


def irregular_times_s() -> list[float]:
    """Times of a variable frame rate, between 2 and 50 Hz."""
    intervals_s = np.random.default_rng(0).uniform(0.02, 0.5, COUNT - 1)
    return [0.0, *np.cumsum(intervals_s).tolist()]


def write(path: Path, times_s: Sequence[float], codec: str = "libx264", **options: str) -> Path:
    """Write a video whose header announces 30 Hz, with other times."""
    clock = Fraction(1, 1000 if codec == "mjpeg" else 90000)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=30)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = clock
        for k, time_s in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(picture(k), format="rgb24")
            frame.pts, frame.time_base = round(time_s / clock), clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def stamps_s(video: Video) -> np.ndarray:
    return np.array([frame.stamp_ns for frame in video.frames()]) * 1e-9


def test_frames_of_every_container_have_their_presentation_times(tmp_path: Path) -> None:
    times_s = irregular_times_s()
    for suffix, codec in CONTAINERS.items():
        video = Video(write(tmp_path / f"walk.{suffix}", times_s, codec))
        np.testing.assert_allclose(stamps_s(video), np.add(times_s, 1.0), atol=1e-3, err_msg=suffix)
        assert video.skipped == 0


def test_a_first_frame_later_than_zero_still_has_the_stamp_of_one_second(tmp_path: Path) -> None:
    video = Video(write(tmp_path / "walk.mkv", [5.0, 5.5, 7.0]))
    np.testing.assert_allclose(stamps_s(video), [1.0, 1.5, 3.0], atol=1e-3)


def test_a_selection_keeps_the_times_of_its_frames(tmp_path: Path) -> None:
    times_s = irregular_times_s()
    video = Video(write(tmp_path / "walk.mp4", times_s), FrameSelection(stride=4, max_frames=5))
    frames = list(video.frames())
    np.testing.assert_allclose(stamps_s(video), np.add(times_s[0:20:4], 1.0), atol=1e-4)
    for frame, k in zip(frames, range(0, 20, 4), strict=True):
        assert np.abs(frame.rgb.astype(int) - picture(k)).mean() < 15


def test_a_name_that_is_not_utf8_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "walk.mp4", [0.0, 0.1, 0.2])
    path = path.rename(tmp_path / os.fsdecode(b"w\xe4lk \xff.mp4"))
    assert len(list(Video(path).frames())) == 3


def test_a_truncated_file_yields_its_frames_and_then_an_error(tmp_path: Path) -> None:
    for suffix, options in (("mp4", {"movflags": "faststart"}), ("mkv", {}), ("webm", {})):
        path = write(tmp_path / f"walk.{suffix}", irregular_times_s(), CONTAINERS[suffix], **options)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
        frames = []
        with pytest.raises(SourceError, match=f"{path} is truncated"):
            frames.extend(Video(path).frames())
        assert 10 <= len(frames) <= 20, suffix


def test_streams_that_announce_nothing_are_read_to_their_end(tmp_path: Path) -> None:
    """MPEG-TS has no count; raw H.264 has no times either, so its frames follow the nominal rate."""
    path = write(tmp_path / "walk.ts", [k / 30 for k in range(COUNT)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 5 <= len(list(Video(path).frames())) < COUNT
    raw = Video(write(tmp_path / "walk.h264", irregular_times_s()))
    intervals_s = np.diff(stamps_s(raw))
    assert len(intervals_s) == COUNT - 1
    np.testing.assert_allclose(intervals_s, intervals_s[0], rtol=1e-6)


def test_time_that_goes_back_continues_after_the_last_frame(tmp_path: Path) -> None:
    """Two recordings of a camera, one after the other in one transport stream."""
    first, second = (write(tmp_path / f"{n}.ts", [k / 10 for k in range(10)]) for n in range(2))
    path = tmp_path / "both.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    times_s = stamps_s(Video(path))
    assert len(times_s) == 20
    assert (np.diff(times_s) > 0.0).all()
    np.testing.assert_allclose(np.diff(times_s)[[*range(9), *range(10, 19)]], 0.1, atol=1e-4)


def test_files_that_are_no_video_are_refused_by_name(tmp_path: Path) -> None:
    secret = tmp_path / "secret.ts"
    write(secret, [0.0, 0.1])
    for name, content in {
        "notes.txt": b"x" * 5000,
        "list.m3u8": b"#EXTM3U\n#EXTINF:1,\n" + bytes(secret) + b"\n",
        "list.txt": b"ffconcat version 1.0\nfile '" + bytes(secret) + b"'\n",
        "empty.mp4": b"",
    }.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(SourceError, match=str(path)):
            Video(path)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        for k in range(3):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.sample_rate, frame.pts = 8000, 1024 * k
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(SourceError, match="no video stream"):
        Video(path)
