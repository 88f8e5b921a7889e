# SPDX-License-Identifier: Apache-2.0
"""A camera at this machine as an image sequence."""

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

_NAMED = re.compile(r"webcam(?::(\d+))?")
_DEVICE = re.compile(r"/dev/video\d+")


def device_of(text: str) -> int | str | None:
    """Return the device that a source's text means, nothing if it means no camera."""
    if match := _NAMED.fullmatch(text):
        return int(match[1] or 0)
    return text if _DEVICE.fullmatch(text) else None


class Webcam:
    """The images of a camera from now on, until somebody stops it or so many are taken.

    Each is stamped when it arrives. While one is being worked on, the driver keeps at most one more, so that the next
    is not an old one.
    """

    live = True  # what it has shown does not come again

    def __init__(self, device: int | str, selection: FrameSelection = ALL_FRAMES) -> None:
        """Name a device by its number or its path (or the address of a stream that OpenCV opens)."""
        self.name = f"webcam {device}" if isinstance(device, int) else Path(device).name
        self.skipped = 0
        self._device = device
        self._selection = selection

    def __len__(self) -> int:
        return self._selection.max_frames

    def frames(self) -> Iterator[Frame]:
        """Take images as they come.

        Raises:
            SourceError: there is no such camera, or it stops sending.
        """
        capture = cv2.VideoCapture(self._device, cv2.CAP_ANY)
        try:
            if not capture.isOpened():
                msg = f"camera {self._device} cannot be opened: is it there, free, and may this user read it?"
                raise SourceError(msg)
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            for stamp_ns in self._selection.apply(self._arrivals(capture)):
                taken, picture = capture.retrieve()
                if not taken:
                    self.skipped += 1
                    continue
                yield Frame(stamp_ns, CAMERA_FRAME, bgr_to_rgb(picture))
        finally:
            capture.release()

    def ground_truth(self) -> list[StampedPose]:
        """Return nothing: a camera has no poses."""
        return []

    def _arrivals(self, capture: cv2.VideoCapture) -> Iterator[int]:
        """Yield the time of each image [ns since 1970] when it is there."""
        count = 0
        while capture.grab():
            count += 1
            yield time.time_ns()
        msg = f"camera {self._device} sends no more images (after {count})"
        raise SourceError(msg)
