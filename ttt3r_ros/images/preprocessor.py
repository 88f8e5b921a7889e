# SPDX-License-Identifier: Apache-2.0
"""Preprocessing of decoded images, shared by node and recordings: check of stamps, calibration, rectification."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ttt3r_ros.errors import ConfigError
from ttt3r_ros.images.rectification import Rectifier
from ttt3r_ros.images.stamp_filter import StampFilter
from ttt3r_ros.repeated_warnings import kind_of
from ttt3r_ros.types import Frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from ttt3r_ros.types import Intrinsics, UInt8Array


class ImagePreprocessor:
    """Makes frames of the images of one camera; calls ``warn`` once for each problem."""

    def __init__(self, *, rectify: bool, warn: Callable[[str], None]) -> None:
        self.stamp_filter = StampFilter()
        self.warnings: set[str] = set()
        self._rectify = rectify
        self._warn = warn
        self._intrinsics: Intrinsics | None = None
        self._rectifier: Rectifier | None = None
        self._size: tuple[int, int] | None = None

    def accept(self, stamp_ns: int) -> bool:
        """Validate the next stamp; return whether time jumped back, which starts a new map.

        Raises:
            ImageError: the stamp does not follow the last one.
        """
        return self.stamp_filter.accept(stamp_ns)

    def calibrate(self, intrinsics: Intrinsics | None) -> None:
        """Set the calibration of the next images, at any size of the same aspect ratio; None: unknown."""
        if intrinsics == self._intrinsics:
            return
        self._intrinsics, self._rectifier = intrinsics, None
        if intrinsics is None or not self._rectify:
            return
        try:
            self._rectifier = Rectifier(intrinsics)
        except ConfigError as error:
            self.warn_once(f"images are not rectified: {error}")

    def frame(self, stamp_ns: int, camera_frame: str, rgb: UInt8Array) -> Frame:
        """Return the frame of an image (H, W, 3), rectified if its calibration is known and supported."""
        self._check_size(rgb)
        intrinsics = self._usable_intrinsics(rgb)
        if intrinsics is not None and self._rectifier is not None:
            rgb, intrinsics = self._rectifier.rectify(rgb)
        return Frame(stamp_ns, camera_frame, rgb, intrinsics)

    def warn_once(self, text: str) -> None:
        """Warn of a problem, only the first time; texts that differ in their numbers are of one problem."""
        kind = kind_of(text)
        if kind not in self.warnings:
            self.warnings.add(kind)
            self._warn(text)

    def _check_size(self, rgb: UInt8Array) -> None:
        size = (rgb.shape[1], rgb.shape[0])
        if self._size is not None and size != self._size:
            self.warn_once(
                f"images changed from {self._size[0]}x{self._size[1]} to {size[0]}x{size[1]}; mapping continues"
            )
        self._size = size

    def _usable_intrinsics(self, rgb: UInt8Array) -> Intrinsics | None:
        intrinsics = self._intrinsics
        height, width = rgb.shape[:2]
        if intrinsics is None or intrinsics.width * height == intrinsics.height * width:
            return intrinsics
        self.warn_once(
            f"camera_info is for {intrinsics.width}x{intrinsics.height}, the image is {width}x{height}: "
            "another aspect ratio; the focal length is estimated"
        )
        return None
