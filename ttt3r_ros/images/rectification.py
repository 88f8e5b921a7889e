# SPDX-License-Identifier: Apache-2.0
"""Takes the distortion out of images, for a network that knows pinhole cameras alone."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ttt3r_ros.errors import ConfigError
from ttt3r_ros.types import ImageGeometry, Intrinsics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.types import Float32Array, Float64Array, UInt8Array

COEFFICIENT_COUNTS = {"plumb_bob": 5, "rational_polynomial": 8, "equidistant": 4}
_WIDEST = 0.3  # focal length over the long side, 118 degrees: farther out a pinhole image is all stretch
_NARROWEST = 4.0  # times the source's focal length, where the search for the widest view begins
_STEP = 0.99  # from one focal length of the search to the next
_BORDER_POINTS = 33  # per side


class Rectifier:
    """Rectifies the images of one camera, whatever their size; the tables are kept until the size changes."""

    def __init__(self, source: Intrinsics) -> None:
        """Take the camera as calibrated.

        Raises:
            ConfigError: its distortion is of another model, or the model has another number of coefficients.
        """
        self._source = source
        self._is_distorted = _is_distorted(source)
        self._size = (0, 0)

    def rectify(self, rgb: UInt8Array) -> tuple[UInt8Array, Intrinsics]:
        """Return the image (H, W, 3) as a pinhole camera sees it, and that camera, at the image's size.

        Its pixels are square and its principal point is (W div 2, H div 2), as the network assumes; it sees as much
        as it can without a pixel from outside the source. Without distortion both are the source's own.
        """
        height, width = rgb.shape[:2]
        if not self._is_distorted:
            return rgb, _at_size(self._source, width, height)
        if self._size != (width, height):
            self._prepare(width, height)
        rectified = cv2.remap(rgb, *self._tables, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(rectified, dtype=np.uint8), self._pinhole

    def _prepare(self, width: int, height: int) -> None:
        source = _at_size(self._source, width, height)
        self._pinhole = widest_pinhole(source)
        self._tables = _tables(source, self._pinhole, cv2.CV_16SC2)  # fixed point, 1/32 pixel
        self._size = width, height


def rectify_depth(depth_m: Float32Array, source: Intrinsics, pinhole: Intrinsics) -> Float32Array:
    """Return depth (h, w) [m] of a distorted camera as the pinhole camera that its image was rectified to sees it.

    Depth may have another size than the image, as long as it covers the same view. It is that of the nearest pixel,
    since a mean across an edge lies on neither side; 0 where the source does not look.
    """
    height, width = depth_m.shape
    x, y = _depth_tables(_at_size(source, width, height), _at_size(pinhole, width, height))
    return np.asarray(
        cv2.remap(depth_m, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT), np.float32
    )


@lru_cache(maxsize=1)
def _depth_tables(source: Intrinsics, pinhole: Intrinsics) -> tuple[NDArray[Any], NDArray[Any]]:
    # Of fixed-point tables the nearest neighbor would take the whole part: half a pixel off.
    return _tables(source, pinhole, cv2.CV_32FC1)


def _tables(source: Intrinsics, pinhole: Intrinsics, kind: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return where each pixel of the pinhole camera lies in the source's image."""
    lens: Any = cv2.fisheye if source.distortion_model == "equidistant" else cv2
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
    """Return the pinhole camera of the source's size, square pixels and center that sees most, and only what it saw.

    Views are widened step by step until one leaves the source's image or the distortion folds back on itself, which
    polynomials do not far outside the calibrated view.
    """
    width, height = source.width, source.height
    border = _border(width, height)
    widest = _WIDEST * max(width, height)
    focal = max(_NARROWEST * max(source.fx, source.fy), widest)
    pixels = project_distorted(border / focal, source)
    while focal * _STEP >= widest:
        wider = project_distorted(border / (focal * _STEP), source)
        if not (_is_seen(wider, source) and _lies_outside(wider, pixels, source)):
            break
        focal, pixels = focal * _STEP, wider
    return Intrinsics(focal, focal, float(width // 2), float(height // 2), width, height)


def project_distorted(rays: Float64Array, source: Intrinsics) -> Float64Array:
    """Return the pixels (n, 2) of a distorted camera that see the directions (x, y, 1), given as (n, 2)."""
    K, coefficients, none = source.matrix(), np.array(source.distortion), np.zeros(3)
    if source.distortion_model == "equidistant":
        pixels = cv2.fisheye.distortPoints(rays[:, None], K, coefficients)
    else:
        directions = np.concatenate((rays, np.ones((len(rays), 1))), axis=1)
        pixels = cv2.projectPoints(directions, none, none, K, coefficients)[0]
    return np.asarray(pixels, dtype=np.float64).reshape(-1, 2)


def _is_distorted(source: Intrinsics) -> bool:
    model, coefficients = source.distortion_model, source.distortion
    # An equidistant lens without coefficients is still no pinhole.
    if not model or not (any(coefficients) or (model == "equidistant" and coefficients)):
        return False
    supported = ", ".join(f"{name} ({count})" for name, count in COEFFICIENT_COUNTS.items())
    if model not in COEFFICIENT_COUNTS:
        msg = f"distortion model '{model}' is unknown; supported are {supported}"
        raise ConfigError(msg)
    if len(coefficients) != COEFFICIENT_COUNTS[model] or not all(map(math.isfinite, coefficients)):
        msg = (
            f"distortion model '{model}' has coefficients {list(coefficients)}, "
            f"expected {COEFFICIENT_COUNTS[model]} finite ones; supported are {supported}"
        )
        raise ConfigError(msg)
    return True


def _at_size(source: Intrinsics, width: int, height: int) -> Intrinsics:
    if (source.width, source.height) == (width, height):
        return source
    return ImageGeometry(width, height, width, height, 0, 0, width, height).to_network(source)


def _border(width: int, height: int) -> Float64Array:
    """Return points (n, 2) [px] all around the image's border, relative to its middle pixel."""
    along = np.linspace(0.0, 1.0, _BORDER_POINTS)
    start, end = np.zeros(_BORDER_POINTS), np.ones(_BORDER_POINTS)
    shares = [(along, start), (along, end), (start, along), (end, along)]
    points = np.concatenate([np.stack(side, axis=-1) for side in shares])
    return points * (width - 1, height - 1) - (width // 2, height // 2)


def _is_seen(pixels: Float64Array, source: Intrinsics) -> bool:
    return bool(((pixels >= 0) & (pixels <= (source.width - 1, source.height - 1))).all())


def _lies_outside(wider: Float64Array, pixels: Float64Array, source: Intrinsics) -> bool:
    radii = (np.linalg.norm(at - (source.cx, source.cy), axis=-1) for at in (wider, pixels))
    return bool(np.greater(*radii).all())
