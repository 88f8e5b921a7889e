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

_MAX_DAMAGED = 100  # consecutive frames; more than that is the end of the file
# Some containers have only a duration, and editors may cut a few frames at the ends.
_COUNT_TOLERANCE = 0.05
_COUNT_SLACK = 2


class Video:
    """A video file; frame k has the stamp k / rate + 1 s.

    Frames that the decoder rejects are skipped if a good one follows. Damage that the decoder conceals is not
    detected, nor the truncation of a file without a duration (MPEG-TS).
    """

    def __init__(self, path: Path, selection: FrameSelection = ALL_FRAMES) -> None:
        if not path.is_file():
            msg = f"{path} is not a file"
            raise SourceError(msg)
        self.name = path.name
        self.skipped = 0
        self._path = path
        self._selection = selection
        capture = self._open()
        self._count = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self._rate_hz = capture.get(cv2.CAP_PROP_FPS) or 30.0
        capture.release()

    def __len__(self) -> int:
        return self._selection.count(self._count)

    def frames(self) -> Iterator[Frame]:
        """Decode the selected frames in order; a damaged one is skipped with a warning.

        Raises:
            SourceError: no frame can be decoded, or, after the last good one, the file is truncated.
        """
        self.skipped = usable = 0
        capture = self._open()
        try:
            for index in self._selection.apply(self._grab(capture)):
                success, bgr = capture.retrieve()
                if success:
                    usable += 1
                    yield Frame(frame_stamp_ns(index, self._rate_hz), CAMERA_FRAME, bgr_to_rgb(bgr))
                else:
                    self._skip(index, 1)
        finally:
            capture.release()
        if not usable:
            msg = f"{self._path}: no frame can be decoded"
            raise SourceError(msg)

    def ground_truth(self) -> list[StampedPose]:
        """Return an empty list: a video has no poses."""
        return []

    def _grab(self, capture: cv2.VideoCapture) -> Iterator[int]:
        """Yield the index of each frame that can be grabbed.

        Raises:
            SourceError: the file is truncated.
        """
        index = 0
        while (damaged := _grab_next(capture)) is not None:
            if damaged:
                self._skip(index, damaged)
            index += damaged
            yield index
            index += 1
        if 0 < index < self._count * (1.0 - _COUNT_TOLERANCE) - _COUNT_SLACK:
            msg = f"{self._path} is truncated after {index} of {self._count} frames"
            raise SourceError(msg)
        if 0 < index < self._count:
            logger.warning("%s has %d frames; its header has %d", self._path, index, self._count)

    def _skip(self, index: int, count: int) -> None:
        self.skipped += count
        logger.warning(
            "%s: frame %d (%.2f s) is damaged and skipped%s",
            self._path,
            index,
            index / self._rate_hz,
            f", with {count - 1} after it" if count > 1 else "",
        )

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self._path))
        if not capture.isOpened():
            msg = f"{self._path} cannot be opened as a video"
            raise SourceError(msg)
        return capture


def _grab_next(capture: cv2.VideoCapture) -> int | None:
    """Grab the next frame; return the number of damaged frames before it, None at the end of the file."""
    return next((damaged for damaged in range(_MAX_DAMAGED) if capture.grab()), None)
