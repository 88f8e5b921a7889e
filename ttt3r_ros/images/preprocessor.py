# SPDX-License-Identifier: Apache-2.0
"""Preprocessing of decoded images, shared by node and recordings: check of stamps, calibration, rectification."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ttt3r_ros.errors import ConfigError
from ttt3r_ros.images.calibration import Calibration, at_size
from ttt3r_ros.images.lens_models import find_lens, with_ros_lens
from ttt3r_ros.images.rectification import Rectifier
from ttt3r_ros.images.stamp_filter import StampFilter
from ttt3r_ros.repeated_warnings import kind_of
from ttt3r_ros.types import Frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from ttt3r_ros.types import Intrinsics, UInt8Array


class ImagePreprocessor:
    """Makes frames of the images of one camera; calls ``warn`` once for each problem."""

    def __init__(
        self, *, rectify: bool, warn: Callable[[str], None], is_rectified: bool = False
    ) -> None:
        """Set whether distorted images are rectified, and whether the images of a `Calibration` already are."""
        self.stamp_filter = StampFilter()
        self.warnings: set[str] = set()
        self._rectify = rectify
        self._warn = warn
        self._is_rectified = is_rectified
        self._source: Calibration | Intrinsics | None = None
        self._calibrated_size: tuple[int, int] | None = None
        self._intrinsics: Intrinsics | None = None
        self._rectifier: Rectifier | None = None
        self._size: tuple[int, int] | None = None

    def accept(self, stamp_ns: int) -> bool:
        """Validate the next stamp; return whether time jumped back, which starts a new map.

        Raises:
            ImageError: the stamp does not follow the last one.
        """
        return self.stamp_filter.accept(stamp_ns)

    def calibrate(self, source: Calibration | Intrinsics | None) -> None:
        """Set the calibration of the next images, at any size of the same aspect ratio; None: unknown."""
        if source != self._source:
            self._source, self._calibrated_size = source, None

    @property
    def has_calibration(self) -> bool:
        """Return whether a calibration is set, valid or not."""
        return self._source is not None

    def frame(self, stamp_ns: int, camera_frame: str, rgb: UInt8Array) -> Frame:
        """Return the frame of an image (H, W, 3), rectified if its calibration is known and supported."""
        self._check_size(rgb)
        size = (rgb.shape[1], rgb.shape[0])
        if size != self._calibrated_size:
            self._calibrated_size = size
            self._intrinsics, self._rectifier = self._camera(*size)
        intrinsics = self._intrinsics
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

    def _camera(self, width: int, height: int) -> tuple[Intrinsics | None, Rectifier | None]:
        """Return camera and rectifier of images of a size; None without a usable calibration."""
        source = self._source
        if source is None:
            return None, None
        try:
            if isinstance(source, Calibration):
                camera = source.intrinsics(width, height, is_rectified=self._is_rectified)
                remarks = [source.remark(is_rectified=self._is_rectified)]
            else:
                camera, remarks = source, []
            lens = find_lens(camera.distortion_model, camera.distortion)
            camera = at_size(with_ros_lens(camera), width, height)
        except ConfigError as error:
            self.warn_once(f"no calibration, the focal length is estimated: {error}")
            return None, None
        for remark in filter(None, (*remarks, lens.remark)):
            self.warn_once(remark)
        return camera, Rectifier(camera) if self._rectify else None
