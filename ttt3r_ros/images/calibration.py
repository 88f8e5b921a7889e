# SPDX-License-Identifier: Apache-2.0
"""Calibration of a camera as published with it, and its intrinsics for an image of any size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ttt3r_ros.errors import ConfigError
from ttt3r_ros.types import ImageGeometry, Intrinsics

if TYPE_CHECKING:
    from collections.abc import Iterator

# A projection with values beyond these has no finite or no useful result.
_MIN_FOCAL_PX, _LARGEST = 0.1, 1e6

Pinhole = tuple[float, float, float, float]  # fx, fy, cx, cy


@dataclass(frozen=True)
class Calibration:
    """The raw camera (K, D), the rectified one (P), and the window of the sensor that images show.

    All values are in pixels of the whole sensor, as in sensor_msgs/CameraInfo. A rectified camera has no distortion.
    The fourth column of P (baseline of a stereo pair) and R do not change the intrinsics: by convention of ROS, the
    optical frame of a rectified image is the rectified one.
    """

    raw: Pinhole
    width: int  # 0: that of the image
    height: int
    distortion_model: str = ""
    distortion: tuple[float, ...] = ()
    rectified: Pinhole | None = None  # None: P is not set
    roi: tuple[int, int, int, int] = (
        0,
        0,
        0,
        0,
    )  # x, y, width, height; a side of 0 reaches to the border
    binning: tuple[int, int] = (1, 1)

    def intrinsics(self, width: int, height: int, *, is_rectified: bool) -> Intrinsics:
        """Return the camera of images of a width and height, at the size of its calibration.

        Drivers disagree on whether the fields already contain ROI and binning: the reading that has the size of the
        image counts, in doubt that of sensor_msgs.

        Raises:
            ConfigError: there is no valid calibration of raw or of rectified images.
        """
        full = self._full(width, height, is_rectified=is_rectified)
        if not (self.width and self.height):
            if not (0 < full.cx < width and 0 < full.cy < height):
                msg = (
                    f"the calibration has no image size, and its principal point {full.cx:g}, {full.cy:g} is "
                    f"outside of the image of {width}x{height}"
                )
                raise ConfigError(msg)
            return full
        readings = list(dict.fromkeys(self._readings(full)))
        same = [camera for camera in readings if (camera.width, camera.height) == (width, height)]
        fitting = [camera for camera in readings if fits(camera, width, height)]
        return (same or fitting or readings)[0]

    def remark(self, *, is_rectified: bool) -> str:
        """Return the assumption about a calibration without P; empty if there is none."""
        if is_rectified and self.rectified is None and any(self.distortion):
            return "the images are rectified, but P of camera_info is 0: K is used without distortion"
        return ""

    def _full(self, width: int, height: int, *, is_rectified: bool) -> Intrinsics:
        is_projection = is_rectified and self.rectified is not None
        name, pinhole = ("P", self.rectified) if is_projection else ("K", self.raw)
        assert pinhole is not None
        lens = ("", ()) if is_rectified else (self.distortion_model, self.distortion)
        fx, fy, cx, cy = pinhole
        # Comparisons with NaN are false.
        if not all(_MIN_FOCAL_PX <= focal <= _LARGEST for focal in (fx, fy)) or not all(
            abs(value) <= _LARGEST for value in (cx, cy)
        ):
            msg = (
                f"{name} has fx = {fx:g}, fy = {fy:g}, cx = {cx:g}, cy = {cy:g}; expected fx and fy from"
                f" {_MIN_FOCAL_PX} to {_LARGEST:g} and a principal point up to {_LARGEST:g}"
            )
            raise ConfigError(msg)
        if not all(abs(value) <= _LARGEST for value in lens[1]):
            msg = f"D is {list(lens[1])}; expected finite numbers up to {_LARGEST:g}"
            raise ConfigError(msg)
        if self.width and self.height:
            width, height = self.width, self.height
        return Intrinsics(*pinhole, width, height, *lens)

    def _readings(self, full: Intrinsics) -> Iterator[Intrinsics]:
        window = self._crop(full)
        yield _bin(window, *self.binning)
        yield _bin(full, *self.binning)
        yield window
        yield full

    def _crop(self, full: Intrinsics) -> Intrinsics:
        x, y, width, height = self.roi
        width, height = width or full.width - x, height or full.height - y
        if width <= 0 or height <= 0 or x + width > full.width or y + height > full.height:
            return full  # no window of this sensor
        return replace(full, cx=full.cx - x, cy=full.cy - y, width=width, height=height)


def calibration_of(camera: Intrinsics) -> Calibration:
    """Return the calibration of a raw camera."""
    raw = (camera.fx, camera.fy, camera.cx, camera.cy)
    return Calibration(raw, camera.width, camera.height, camera.distortion_model, camera.distortion)


def fits(camera: Intrinsics, width: int, height: int) -> bool:
    """Return whether an image is a scaled one of a camera: one factor for both sides, each rounded to a pixel."""
    sides = ((camera.width, width), (camera.height, height))
    return _have_one_factor(sides) or _have_one_factor(tuple((b, a) for a, b in sides))


def at_size(camera: Intrinsics, width: int, height: int) -> Intrinsics:
    """Return a camera scaled to an image.

    Raises:
        ConfigError: the image has another aspect ratio.
    """
    if (camera.width, camera.height) == (width, height):
        return camera
    if not fits(camera, width, height):
        msg = (
            f"camera_info is for {camera.width}x{camera.height}, the image is {width}x{height}: "
            "another aspect ratio"
        )
        raise ConfigError(msg)
    return ImageGeometry(width, height, width, height, 0, 0, width, height).to_network(camera)


def _have_one_factor(sides: tuple[tuple[int, int], ...]) -> bool:
    """Return whether one factor maps each first length to less than a pixel from the second."""
    return max((b - 1) / a for a, b in sides) < min((b + 1) / a for a, b in sides)


def _bin(camera: Intrinsics, x: int, y: int) -> Intrinsics:
    return replace(
        camera,
        fx=camera.fx / x,
        fy=camera.fy / y,
        cx=(camera.cx + 0.5) / x - 0.5,
        cy=(camera.cy + 0.5) / y - 0.5,
        width=max(camera.width // x, 1),
        height=max(camera.height // y, 1),
    )
