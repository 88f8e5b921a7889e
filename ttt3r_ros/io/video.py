# SPDX-License-Identifier: Apache-2.0
"""Video files as image sequences."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import cv2

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.image_files import bgr_to_rgb
from ttt3r_ros.io.sequence import ALL_FRAMES, CAMERA_FRAME, FrameSelection, frame_stamp_ns
from ttt3r_ros.types import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ttt3r_ros.io.sequence import StampedPose

logger = logging.getLogger(__name__)

_ATTEMPTS = 100  # damaged frames in a row; the end of a file looks like an endless row of them
# Some containers tell a duration only, and players may cut a few frames off the ends.
_COUNT_TOLERANCE = 0.05
_COUNT_SLACK = 2


class Video:
    """A video file, decoded from front to back; frame k has the stamp k / rate, one second later.

    Frames that the decoder refuses are left out, if a good one follows. Damage that it conceals (a smeared picture) it
    does not report. A file that does not say how long it is (MPEG-TS) may be cut off without showing it.
    """

    def __init__(self, path: Path, selection: FrameSelection = ALL_FRAMES) -> None:
        if not path.is_file():
            msg = f"{path} is not a file"
            raise SourceError(msg)
        self.name = path.name
        self.skipped = 0
        self._path = path
        self._selection = selection
        capture = self._opened()
        self._count = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self._rate_hz = capture.get(cv2.CAP_PROP_FPS) or 30.0
        capture.release()

    def __len__(self) -> int:
        return self._selection.count(self._count)

    def frames(self) -> Iterator[Frame]:
        """Decode the chosen frames in order; a damaged one is left out with a warning that names it.

        Raises:
            SourceError: none can be decoded, or, after the last good one, the file ends before its time.
        """
        self.skipped = usable = 0
        capture = self._opened()
        try:
            for index in self._selection.apply(self._grabbed(capture)):
                taken, picture = capture.retrieve()
                if taken:
                    usable += 1
                    yield Frame(frame_stamp_ns(index, self._rate_hz), CAMERA_FRAME, bgr_to_rgb(picture))
                else:
                    self._leave_out(index, 1)
        finally:
            capture.release()
        if not usable:
            msg = f"{self._path} holds no frame that can be decoded"
            raise SourceError(msg)

    def ground_truth(self) -> list[StampedPose]:
        """Return nothing: a video has no poses."""
        return []

    def _grabbed(self, capture: cv2.VideoCapture) -> Iterator[int]:
        """Step from frame to frame and yield the number of each that can be decoded.

        Raises:
            SourceError: the file ends before its time.
        """
        at = 0
        while (damaged := _failures(capture)) is not None:
            if damaged:
                self._leave_out(at, damaged)
            at += damaged
            yield at
            at += 1
        if 0 < at < self._count * (1.0 - _COUNT_TOLERANCE) - _COUNT_SLACK:
            msg = f"{self._path} breaks off after {at} of {self._count} frames"
            raise SourceError(msg)
        if 0 < at < self._count:
            logger.warning("%s ends after %d of the %d frames it announces", self._path, at, self._count)

    def _leave_out(self, index: int, count: int) -> None:
        self.skipped += count
        logger.warning(
            "%s: frame %d (%.2f s) is damaged and left out%s",
            self._path,
            index,
            index / self._rate_hz,
            f", and {count - 1} after it" if count > 1 else "",
        )

    def _opened(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self._path))
        if not capture.isOpened():
            msg = f"{self._path} cannot be opened as a video"
            raise SourceError(msg)
        return capture


def _failures(capture: cv2.VideoCapture) -> int | None:
    """Go to the next frame; return how many damaged ones were passed, nothing at the end of the file."""
    return next((failed for failed in range(_ATTEMPTS) if capture.grab()), None)
