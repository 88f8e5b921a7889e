# SPDX-License-Identifier: Apache-2.0
"""From decoded images to frames in the right order, rectified: the same for the node and for recordings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ttt3r_ros.errors import ConfigError
from ttt3r_ros.images.rectification import Rectifier
from ttt3r_ros.images.stamp_filter import StampFilter
from ttt3r_ros.types import Frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from ttt3r_ros.types import Intrinsics, UInt8Array


class ImagePreprocessor:
    """Takes the images of one camera; what is odd about them it says once, by ``complain``."""

    def __init__(self, *, rectify: bool, complain: Callable[[str], None]) -> None:
        self.order = StampFilter()
        self.complaints: set[str] = set()
        self._rectify = rectify
        self._complain = complain
        self._intrinsics: Intrinsics | None = None
        self._rectifier: Rectifier | None = None
        self._size: tuple[int, int] | None = None

    def accept(self, stamp_ns: int) -> bool:
        """Take the next stamp; return whether time has gone back, so that everything begins anew.

        Raises:
            ImageError: the stamp does not follow the last one.
        """
        return self.order.accept(stamp_ns)

    def calibrate(self, intrinsics: Intrinsics | None) -> None:
        """Take the camera as calibrated for the images from now on, at any size of the image; None: not known."""
        if intrinsics == self._intrinsics:
            return
        self._intrinsics, self._rectifier = intrinsics, None
        if intrinsics is None or not self._rectify:
            return
        try:
            self._rectifier = Rectifier(intrinsics)
        except ConfigError as error:
            self.complain_once(f"images are used as they come: {error}")

    def frame(self, stamp_ns: int, camera_frame: str, rgb: UInt8Array) -> Frame:
        """Return the frame of an image (H, W, 3), as a pinhole camera sees it if the calibration allows."""
        self._note_size(rgb)
        intrinsics = self._usable_intrinsics(rgb)
        if intrinsics is not None and self._rectifier is not None:
            rgb, intrinsics = self._rectifier.rectify(rgb)
        return Frame(stamp_ns, camera_frame, rgb, intrinsics)

    def complain_once(self, text: str) -> None:
        """Say something, unless it was said before."""
        if text not in self.complaints:
            self.complaints.add(text)
            self._complain(text)

    def _note_size(self, rgb: UInt8Array) -> None:
        size = (rgb.shape[1], rgb.shape[0])
        if self._size is not None and size != self._size:
            self.complain_once(
                f"images changed from {self._size[0]}x{self._size[1]} to {size[0]}x{size[1]}; mapping goes on"
            )
        self._size = size

    def _usable_intrinsics(self, rgb: UInt8Array) -> Intrinsics | None:
        intrinsics = self._intrinsics
        height, width = rgb.shape[:2]
        if intrinsics is None or intrinsics.width * height == intrinsics.height * width:
            return intrinsics
        self.complain_once(
            f"camera_info is for {intrinsics.width}x{intrinsics.height}, the image is {width}x{height}: "
            "another aspect ratio; the focal length is estimated"
        )
        return None
