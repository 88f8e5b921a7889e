# SPDX-License-Identifier: Apache-2.0
"""Video files as image sequences, decoded by PyAV (FFmpeg).

OpenCV gives frame numbers and a nominal rate; files with a variable rate, and containers that announce a wrong rate or
count, need the presentation time of each frame. OpenCV also crashes on file names that are not UTF-8.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.sequence import ALL_FRAMES, CAMERA_FRAME, FIRST_STAMP_NS, FrameSelection
from ttt3r_ros.repeated_warnings import RepeatedWarnings
from ttt3r_ros.types import Frame

try:
    import av
    from av.container import InputContainer
except ImportError as error:
    msg = f"videos cannot be read without PyAV ({error}); pip install 'ttt3r_ros[run]'"
    raise SourceError(msg) from error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from ttt3r_ros.io.sequence import StampedPose
    from ttt3r_ros.types import UInt8Array

logger = logging.getLogger(__name__)

_DEFAULT_RATE_HZ = Fraction(30)  # of streams without any time, such as raw H.264
_MAX_RATE_HZ = 1000  # higher ones are the clock of the container and no frame rate
# Not playlists, which may name other files and addresses, nor text, which FFmpeg shows as a terminal does.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,vvc,obu,ivf,mjpeg,mjpeg_2000,"
    "flv,ogg,asf,dv,nut,mxf,gif,apng,rm,h263,yuv4mpegpipe,ism"
)
# Announced durations are rounded, and players cut a few frames off the ends.
_DURATION_TOLERANCE = 0.05
_DURATION_SLACK = 2  # frames


class Video:
    """A video file, decoded from front to back.

    Stamps are presentation times; the first frame has the stamp of one second. Frames that cannot be decoded are
    skipped with a warning. Errors that the decoder conceals are not detected.
    """

    def __init__(self, path: Path, selection: FrameSelection = ALL_FRAMES) -> None:
        if not path.is_file():
            msg = f"{path} is not a file"
            raise SourceError(msg)
        self.name = path.name
        self.skipped = 0
        self._path = path
        self._selection = selection
        self._warnings = RepeatedWarnings(logger.warning)
        with self._open() as container:
            self._count = _estimate_count(container)

    def __len__(self) -> int:
        return self._selection.count(self._count)

    def frames(self) -> Iterator[Frame]:
        """Decode the selected frames in order.

        Raises:
            SourceError: no frame can be decoded, or, after the last good frame, the file ends before its announced
                duration.
        """
        self.skipped = 0
        usable = False
        with self._open() as container:
            clock = _Clock(_rate_hz(container.streams.video[0]))
            for frame in self._selection.apply(self._decode(container, clock)):
                usable = True
                yield Frame(clock.stamp_ns, CAMERA_FRAME, _upright_rgb(frame))
            self._warnings.summarize()
        if not usable:
            msg = f"{self._path} contains no frame that can be decoded"
            raise SourceError(msg)

    def ground_truth(self) -> list[StampedPose]:
        """Return nothing: a video has no poses."""
        return []

    def _decode(self, container: InputContainer, clock: _Clock) -> Iterator[VideoFrame]:
        """Yield all frames that can be decoded; `clock` then has the time of the frame.

        Raises:
            SourceError: the file ends before its announced duration.
        """
        stream = container.streams.video[0]
        end_s, intact = 0.0, True
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:  # the container itself is cut off or damaged
                intact = False
                break
            if packet is None:
                break
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self._skip(packet.pts, stream)
                continue
            for frame in frames:
                if clock.update(frame):
                    self._warnings.warn(
                        f"{self._path}: time goes back at frame {clock.frames}; stamps continue from there"
                    )
                yield frame
            if packet.pts is not None and packet.duration:
                end_s = max(end_s, _seconds(packet.pts + packet.duration, stream))
        self._require_complete(container, clock, end_s, intact=intact)

    def _skip(self, pts: int | None, stream: VideoStream) -> None:
        self.skipped += 1
        at_s = _seconds(pts, stream) - _seconds(stream.start_time, stream)
        at = "" if pts is None else f" at {at_s:.2f} s"
        self._warnings.warn(f"{self._path}: the frame{at} is damaged and skipped", kind="damaged frame")

    def _require_complete(
        self, container: InputContainer, clock: _Clock, end_s: float, *, intact: bool
    ) -> None:
        if not clock.frames:
            return
        stream = container.streams.video[0]
        announced_s = _duration_s(container)
        end_s = max(end_s - _seconds(stream.start_time, stream), clock.elapsed_s)
        least_s = announced_s * (1.0 - _DURATION_TOLERANCE) - float(_DURATION_SLACK / clock.rate_hz)
        if end_s < least_s or not intact:
            of = f" of {announced_s:.2f} s" if announced_s else ""
            msg = f"{self._path} is truncated: it ends after {clock.frames} frames, at {end_s:.2f} s{of}"
            raise SourceError(msg)
        missing = stream.frames - clock.frames - self.skipped
        if missing > 0 and container.format.name == "avi":  # lost without an error of the decoder
            self.skipped += missing
            logger.warning("%s: %d of %d frames are damaged", self._path, missing, stream.frames)

    @contextmanager
    def _open(self) -> Iterator[InputContainer]:
        # As an open file: names need not be UTF-8, and are never taken for addresses.
        with self._open_file() as file, ExitStack() as stack:
            try:
                container = av.open(file, options={"format_whitelist": _CONTAINERS})
            except (av.FFmpegError, OSError) as error:
                reason = getattr(error, "strerror", None) or error
                msg = f"{self._path} cannot be opened as a video ({reason})"
                raise SourceError(msg) from error
            stack.enter_context(container)
            assert isinstance(container, InputContainer)
            if not container.streams.video:
                msg = f"{self._path} contains no video stream"
                raise SourceError(msg)
            yield container

    def _open_file(self) -> BinaryIO:
        try:
            return self._path.open("rb")
        except OSError as error:
            msg = f"{self._path} cannot be read ({error.strerror})"
            raise SourceError(msg) from error


class _Clock:
    """Presentation time of the frames, from the first one; strictly increasing."""

    def __init__(self, rate_hz: Fraction) -> None:
        self.rate_hz = rate_hz
        self.frames = 0
        self._elapsed = Fraction(0)  # [s]
        self._start: Fraction | None = None  # presentation time that corresponds to zero [s]

    @property
    def elapsed_s(self) -> float:
        """Return the time of the latest frame [s]."""
        return float(self._elapsed)

    @property
    def stamp_ns(self) -> int:
        """Return the stamp of the latest frame."""
        return FIRST_STAMP_NS + round(self._elapsed * 10**9)

    def update(self, frame: VideoFrame) -> bool:
        """Proceed to a frame; return whether its time goes back. It then follows one frame interval after the last.

        A frame without time follows after one frame interval, too.
        """
        self.frames += 1
        time = None if frame.pts is None else frame.pts * (frame.time_base or Fraction(1))
        if self.frames == 1:
            self._start = time
            return False
        following = self._elapsed + 1 / self.rate_hz
        if time is None or self._start is None:
            self._elapsed = following
            return False
        goes_back = time - self._start <= self._elapsed
        if goes_back:
            self._start = time - following
        self._elapsed = time - self._start
        return goes_back


def _upright_rgb(frame: VideoFrame) -> UInt8Array:
    """Return the image (H, W, 3), rotated as players show it."""
    rgb = frame.to_ndarray(format="rgb24")
    quarter_turns = round(frame.rotation / 90)  # counterclockwise
    return np.ascontiguousarray(np.rot90(rgb, quarter_turns), np.uint8)


def _seconds(ticks: int | None, stream: VideoStream) -> float:
    return float((ticks or 0) * (stream.time_base or 0))


def _rate_hz(stream: VideoStream) -> Fraction:
    rates_hz = (stream.average_rate, stream.guessed_rate)
    return next((rate for rate in rates_hz if rate and rate <= _MAX_RATE_HZ), _DEFAULT_RATE_HZ)


def _duration_s(container: InputContainer) -> float:
    """Return the announced duration of the video stream [s], 0 if there is none."""
    stream = container.streams.video[0]
    if container.format.name == "avi":  # has no duration but a count at a constant rate
        return float(stream.frames / _rate_hz(stream))
    if stream.duration:
        return _seconds(stream.duration, stream)
    if container.duration and len(container.streams) == 1:  # otherwise it may be that of the sound
        return container.duration / av.time_base
    return 0.0


def _estimate_count(container: InputContainer) -> int:
    """Return the announced number of frames, 0 if unknown; an estimate for files with a variable rate."""
    stream = container.streams.video[0]
    return stream.frames or round(_duration_s(container) * _rate_hz(stream))
