# SPDX-License-Identifier: Apache-2.0
"""Colors of time, segments and depth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.types import BoolArray, Float32Array, Float64Array, UInt8Array

SEGMENT_PALETTE: UInt8Array = np.array(
    [
        (25, 200, 255), (255, 170, 40), (110, 220, 90), (240, 90, 150),
        (160, 120, 255), (240, 225, 70), (60, 220, 190), (255, 110, 80),
    ],
    np.uint8,
)  # fmt: skip
# Turbo without its dark ends: the lowest color is blue, the highest is red.
_TURBO: UInt8Array = np.ascontiguousarray(
    cv2.applyColorMap(np.linspace(26, 230, 256).astype(np.uint8), cv2.COLORMAP_TURBO)[:, 0, ::-1]
)
_INVALID = (24, 24, 26)


def segment_colors(segments: NDArray[np.integer]) -> UInt8Array:
    """Return a color (N, 3) for each segment (N,), repeated after eight."""
    colors: UInt8Array = SEGMENT_PALETTE[np.asarray(segments) % len(SEGMENT_PALETTE)]
    return colors


def tint(rgb: UInt8Array, segments: NDArray[np.integer]) -> UInt8Array:
    """Return colors (N, 3) with the brightness of ``rgb`` and the hue of the segments (N,)."""
    brightness = rgb.astype(np.uint16) @ np.array([77, 150, 29], np.uint16) // 256
    mixed = segment_colors(segments).astype(np.uint16) * (64 + brightness[:, None] * 3 // 4) // 255
    return mixed.astype(np.uint8)


def turbo_colors(fractions: Float64Array) -> UInt8Array:
    """Return colors (N, 3) of fractions (N,) from 0 to 1: blue, green, red."""
    return _TURBO[np.clip(np.rint(fractions * 255.0), 0, 255).astype(np.uint8)]


def depth_colors(depth_m: Float32Array) -> tuple[UInt8Array, tuple[float, float] | None]:
    """Return an image (h, w, 3) of depths (h, w): red is near, blue is far, gray is invalid.

    Also return the depths [m] of the red and the blue end, or None if no depth is valid.
    """
    valid = _valid_mask(depth_m)
    ends = depth_range(depth_m)
    if ends is None:
        return np.full((*depth_m.shape, 3), _INVALID, np.uint8), None
    near, far = ends
    fractions = 1.0 - (np.where(valid, depth_m, near) - near) / max(far - near, 1e-6)
    image = turbo_colors(fractions.ravel().astype(np.float64)).reshape(*depth_m.shape, 3)
    image[~valid] = _INVALID
    return image, ends


def depth_range(depth_m: Float32Array) -> tuple[float, float] | None:
    """Return the depths [m] of the ends of a color scale, without outliers; None if no depth is valid."""
    valid = depth_m[_valid_mask(depth_m)]
    if not valid.size:
        return None
    near, far = np.percentile(valid, [2, 98])
    return float(near), float(far)


def _valid_mask(depth_m: Float32Array) -> BoolArray:
    valid: BoolArray = np.isfinite(depth_m) & (depth_m > 0)
    return valid
