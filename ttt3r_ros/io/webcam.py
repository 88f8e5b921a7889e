# SPDX-License-Identifier: Apache-2.0
"""A camera of this computer as an image sequence."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.image_files import bgr_to_rgb
from ttt3r_ros.io.sequence import ALL_FRAMES, CAMERA_FRAME, FrameSelection
from ttt3r_ros.types import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ttt3r_ros.io.sequence import StampedPose

_NUMBERED = re.compile(r"webcam(?::(\d+))?")
_DEVICE = re.compile(r"/dev/video\d+")


def parse_device(text: str) -> int | str | None:
    """Return the number or path of the camera that a source names, None if it does not name a camera."""
    if match := _NUMBERED.fullmatch(text):
        return int(match[1] or 0)
    return text if _DEVICE.fullmatch(text) else None


class Webcam:
    """Images of a camera, stamped on arrival, until ``max_frames`` or an interrupt.

    The driver buffers one image, so that the next one is recent after a slow frame.
    """

    live = True  # frames cannot be read again

    def __init__(self, device: int | str, selection: FrameSelection = ALL_FRAMES) -> None:
        """Set the device: number, path, or address of a stream that OpenCV opens."""
        self.name = f"webcam {device}" if isinstance(device, int) else Path(device).name
        self.skipped = 0
        self._device = device
        self._selection = selection

    def __len__(self) -> int:
        return self._selection.max_frames

    def frames(self) -> Iterator[Frame]:
        """Read images as they arrive.

        Raises:
            SourceError: the camera cannot be opened, or stops sending.
        """
        _require_utf8(self._device)
        capture = cv2.VideoCapture(self._device, cv2.CAP_ANY)
        try:
            if not capture.isOpened():
                msg = (
                    f"camera {self._device} cannot be opened: it does not exist, is in use, or this user has no "
                    "permission"
                )
                raise SourceError(msg)
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            for stamp_ns in self._selection.apply(self._grab(capture)):
                success, bgr = capture.retrieve()
                if not success:
                    self.skipped += 1
                    continue
                yield Frame(stamp_ns, CAMERA_FRAME, bgr_to_rgb(bgr))
        finally:
            capture.release()

    def ground_truth(self) -> list[StampedPose]:
        """Return an empty list: a camera has no poses."""
        return []

    def _grab(self, capture: cv2.VideoCapture) -> Iterator[int]:
        """Yield the arrival time of each image [ns since 1970]."""
        count = 0
        while capture.grab():
            count += 1
            yield time.time_ns()
        msg = f"camera {self._device} sends no more images (after {count})"
        raise SourceError(msg)


def _require_utf8(device: int | str) -> None:
    """Raise `SourceError` for names that OpenCV crashes on."""
    try:
        str(device).encode()
    except UnicodeEncodeError as error:
        msg = f"camera {str(device)!a} cannot be opened: its name is not UTF-8"
        raise SourceError(msg) from error
