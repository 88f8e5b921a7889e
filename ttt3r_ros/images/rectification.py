# SPDX-License-Identifier: Apache-2.0
"""Rectification of images to a pinhole camera, the only camera model of the network."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ttt3r_ros.images.calibration import at_size
from ttt3r_ros.images.lens_models import EQUIDISTANT, with_ros_lens
from ttt3r_ros.types import Intrinsics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.types import Float32Array, Float64Array, UInt8Array

# Focal length over the long side (118 degrees); a wider pinhole image is mostly stretched.
_MIN_FOCAL_RATIO = 0.3
_START_FOCAL_RATIO = 4.0  # times the source's focal length: start of the search for the widest view
_SEARCH_STEP = 0.99  # ratio of one focal length of the search to the one before
_BORDER_POINTS = 33  # per side


class Rectifier:
    """Rectifies the images of one camera, of any size; keeps the lookup tables of the last size."""

    def __init__(self, source: Intrinsics) -> None:
        """Set the calibrated camera.

        Raises:
            ConfigError: the distortion model or the number of its coefficients is not supported.
        """
        self._source = with_ros_lens(source)
        self._is_distorted = _is_distorted(self._source)
        self._size = (0, 0)

    def rectify(self, rgb: UInt8Array) -> tuple[UInt8Array, Intrinsics]:
        """Return the image (H, W, 3) of a pinhole camera, and that camera, at the size of the given image.

        The pinhole camera has square pixels and the principal point (W div 2, H div 2), as the network assumes. Its
        view is as wide as possible without a pixel from outside the source. Without distortion, image and camera are
        returned unchanged.
        """
        height, width = rgb.shape[:2]
        if not self._is_distorted:
            return rgb, at_size(self._source, width, height)
        if self._size != (width, height):
            self._prepare(width, height)
        rectified = cv2.remap(rgb, *self._tables, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(rectified, dtype=np.uint8), self._pinhole

    def _prepare(self, width: int, height: int) -> None:
        source = at_size(self._source, width, height)
        self._pinhole = widest_pinhole(source)
        self._tables = _tables(source, self._pinhole, cv2.CV_16SC2)  # fixed point, 1/32 pixel
        self._size = width, height


def rectify_depth(depth_m: Float32Array, source: Intrinsics, pinhole: Intrinsics) -> Float32Array:
    """Return depth (h, w) [m] of a distorted camera in the pinhole camera of `Rectifier.rectify`.

    Depth may have another size than the image if it has the same view. Nearest neighbor, as a mean across an edge
    lies on neither surface; 0 outside the source's view.
    """
    height, width = depth_m.shape
    x, y = _depth_tables(at_size(with_ros_lens(source), width, height), at_size(pinhole, width, height))
    return np.asarray(
        cv2.remap(depth_m, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT), np.float32
    )


@lru_cache(maxsize=1)
def _depth_tables(source: Intrinsics, pinhole: Intrinsics) -> tuple[NDArray[Any], NDArray[Any]]:
    # With fixed-point tables, INTER_NEAREST truncates: half a pixel off.
    return _tables(source, pinhole, cv2.CV_32FC1)


def _tables(source: Intrinsics, pinhole: Intrinsics, kind: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the position of each pixel of the pinhole camera in the source's image."""
    lens: Any = cv2.fisheye if source.distortion_model == EQUIDISTANT else cv2
    x, y = lens.initUndistortRectifyMap(
        source.matrix(),
        np.array(source.distortion),
        np.eye(3),
        pinhole.matrix(),
        (pinhole.width, pinhole.height),
        kind,
    )
    return x, y


def widest_pinhole(source: Intrinsics) -> Intrinsics:
    """Return the pinhole camera of the source's size with the widest view inside the source's image.

    The focal length decreases step by step until the view leaves the source's image, or until the distortion
    polynomial is no longer monotonic, which happens outside the calibrated view.
    """
    width, height = source.width, source.height
    border = _border(width, height)
    min_focal = _MIN_FOCAL_RATIO * max(width, height)
    focal = max(_START_FOCAL_RATIO * max(source.fx, source.fy), min_focal)
    pixels = project_distorted(border / focal, source)
    while focal * _SEARCH_STEP >= min_focal:
        wider = project_distorted(border / (focal * _SEARCH_STEP), source)
        if not (_is_inside_image(wider, source) and _is_farther_out(wider, pixels, source)):
            break
        focal, pixels = focal * _SEARCH_STEP, wider
    return Intrinsics(focal, focal, float(width // 2), float(height // 2), width, height)


def project_distorted(rays: Float64Array, source: Intrinsics) -> Float64Array:
    """Return the pixels (n, 2) in a distorted camera of the directions (x, y, 1), given as (n, 2)."""
    K, coefficients, zero = source.matrix(), np.array(source.distortion), np.zeros(3)
    if source.distortion_model == EQUIDISTANT:
        pixels = cv2.fisheye.distortPoints(rays[:, None], K, coefficients)
    else:
        directions = np.concatenate((rays, np.ones((len(rays), 1))), axis=1)
        pixels = cv2.projectPoints(directions, zero, zero, K, coefficients)[0]
    return np.asarray(pixels, dtype=np.float64).reshape(-1, 2)


def _is_distorted(source: Intrinsics) -> bool:
    # An equidistant lens is not a pinhole camera even if all coefficients are 0.
    return any(source.distortion) or source.distortion_model == EQUIDISTANT


def _border(width: int, height: int) -> Float64Array:
    """Return points (n, 2) [px] on the image's border, relative to its middle pixel."""
    along = np.linspace(0.0, 1.0, _BORDER_POINTS)
    start, end = np.zeros(_BORDER_POINTS), np.ones(_BORDER_POINTS)
    sides = [(along, start), (along, end), (start, along), (end, along)]
    points = np.concatenate([np.stack(side, axis=-1) for side in sides])
    return points * (width - 1, height - 1) - (width // 2, height // 2)


def _is_inside_image(pixels: Float64Array, source: Intrinsics) -> bool:
    return bool(((pixels >= 0) & (pixels <= (source.width - 1, source.height - 1))).all())


def _is_farther_out(wider: Float64Array, pixels: Float64Array, source: Intrinsics) -> bool:
    radii = (np.linalg.norm(points - (source.cx, source.cy), axis=-1) for points in (wider, pixels))
    return bool(np.greater(*radii).all())
