# SPDX-License-Identifier: Apache-2.0
"""Depth at the resolution of the source image, depth in millimeters, and depth as other nodes send it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ttt3r_ros.errors import ImageError
from ttt3r_ros.images.encodings import PixelFormat, RawImage, unpack_samples, validate_data

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.config import DepthConfig
    from ttt3r_ros.types import (
        BoolArray,
        Float32Array,
        Float64Array,
        ImageGeometry,
        Intrinsics,
        Update,
    )

_ONE_SURFACE = 1.1  # ratio between the farthest and the nearest of four neighbors
_MOST_MM = 65535
_LAYOUTS = {
    "32FC1": PixelFormat(1, 32, None),  # meters
    "16UC1": PixelFormat(1, 16, None),  # millimeters
    "mono16": PixelFormat(1, 16, None),
}


def masked_depth(update: Update, min_confidence: float) -> Float32Array:
    """Return depth along the optical axis [m] (h, w); NaN where unsure or behind the camera (REP-117)."""
    prediction = update.prediction
    depth = np.ascontiguousarray(prediction.points_camera[..., 2])
    sure = (prediction.confidence >= min_confidence) & (depth > 0)
    if sure.all():
        return depth
    marked: Float32Array = np.full(depth.shape, np.nan, dtype=np.float32)
    # NumPy's masked copies branch at every pixel: ten times slower on a speckled mask.
    cv2.copyTo(depth, sure.view(np.uint8), marked)
    return marked


def encode_depth(depth: Float32Array, geometry: ImageGeometry, config: DepthConfig) -> NDArray[Any]:
    """Return `masked_depth` at either resolution, float32 in meters or uint16 in millimeters (REP-118)."""
    if config.resolution == "input":
        depth = resize_to_source(depth, geometry)
    return depth_to_mm(depth) if config.encoding == "16UC1" else depth


def depth_intrinsics(update: Update, config: DepthConfig) -> Intrinsics:
    """Return the camera of that depth image."""
    if config.resolution == "network":
        return update.intrinsics
    return update.prediction.geometry.to_source(update.intrinsics)


def resize_to_source(depth: Float32Array, geometry: ImageGeometry) -> Float32Array:
    """Return depth (h, w) [m], NaN invalid, at the size (H, W) of the source image; NaN outside the network's crop.

    It is interpolated on surfaces and the nearest one's at their edges, where a mean would lie on neither side.
    """
    depth = np.asarray(depth, dtype=np.float32)
    sx, sy = geometry.scale
    x = (np.arange(geometry.source_width, dtype=np.float64) + 0.5) * sx - 0.5 - geometry.left
    y = (np.arange(geometry.source_height, dtype=np.float64) + 0.5) * sy - 0.5 - geometry.top
    columns, rows = _inside(x, geometry.width), _inside(y, geometry.height)
    resized: Float32Array = np.full(
        (geometry.source_height, geometry.source_width), np.nan, dtype=np.float32
    )
    resized[rows, columns] = _sampled(depth, x[columns], y[rows])
    return resized


def decode_depth(raw: RawImage) -> Float32Array:
    """Return depth (H, W) [m], NaN unknown, of a 32FC1 image in meters or a 16UC1 image in millimeters.

    Raises:
        ImageError: it is another encoding, or its data do not fit its size.
    """
    layout = _LAYOUTS.get(raw.encoding)
    if layout is None:
        msg = f"encoding '{raw.encoding}' of a depth image; expected 32FC1 or 16UC1"
        raise ImageError(msg)
    validate_data(raw, layout)
    samples = unpack_samples(raw, layout)[..., 0]
    if layout.bits == 32:
        return samples.copy()
    meters: Float32Array = samples.astype(np.float32) * np.float32(1e-3)
    return np.where(samples == 0, np.float32(np.nan), meters)


def depth_to_mm(depth: Float32Array) -> NDArray[np.uint16]:
    """Return depth (h, w) [m] in whole millimeters; 0 where it is invalid or beyond 65.535 m."""
    millimeters = np.rint(depth * np.float32(1000.0))
    with np.errstate(invalid="ignore"):  # comparisons with NaN
        valid = (millimeters > 0) & (millimeters <= _MOST_MM)
    return np.where(valid, millimeters, np.float32(0.0)).astype(np.uint16)


def _inside(positions: Float64Array, size: int) -> slice:
    begin, end = np.searchsorted(positions, (-0.5, size - 0.5))
    return slice(int(begin), int(end))


def _sampled(depth: Float32Array, x: Float64Array, y: Float64Array) -> Float32Array:
    """Return depth (h, w) at columns x (W,) and rows y (H,)."""
    height, width = depth.shape
    left, right, fx = _neighbors(x, width)
    above, below, fy = _neighbors(y, height)
    with np.errstate(invalid="ignore"):  # infinities among the invalid
        blended = np.take(depth, left, axis=1)
        blended += fx * (np.take(depth, right, axis=1) - blended)
        sampled = np.take(blended, above, axis=0)
        step = np.take(blended[np.minimum(np.arange(height) + 1, height - 1)] - blended, above, axis=0)
        step *= fy[:, None]
        sampled += step
    nearest = np.take(depth, np.where(fx < 0.5, left, right), axis=1)
    edges = np.take(~_is_one_surface(depth), left, axis=1)
    np.copyto(
        sampled,
        np.take(nearest, np.where(fy < 0.5, above, below), axis=0),
        where=np.take(edges, above, axis=0),
    )
    return sampled


def _neighbors(
    positions: Float64Array, size: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], Float32Array]:
    """Return the indices before and after each position, and how far it is on the way between them [0, 1]."""
    positions = np.clip(positions, 0.0, size - 1.0)
    before = np.minimum(positions.astype(np.intp), max(size - 2, 0))
    after = np.minimum(before + 1, size - 1)
    return before, after, (positions - before).astype(np.float32)


def _is_one_surface(depth: Float32Array) -> BoolArray:
    """Tell (h, w) whether a pixel and those right of it, below and between are valid and of similar depth."""
    padded = np.pad(depth, ((0, 1), (0, 1)), mode="edge")
    nearest, farthest = _of_four(np.minimum, padded), _of_four(np.maximum, padded)  # NaN if one is
    with np.errstate(invalid="ignore"):
        similar: BoolArray = (nearest > 0) & (farthest < _ONE_SURFACE * nearest) & np.isfinite(farthest)
    return similar


def _of_four(extreme: np.ufunc, padded: Float32Array) -> Float32Array:
    """Return the extreme (h, w) of each pixel and those right of it, below and between; padded (h + 1, w + 1)."""
    of_two: Float32Array = extreme(padded[:, :-1], padded[:, 1:])
    of_four: Float32Array = extreme(of_two[:-1], of_two[1:])
    return of_four
