# SPDX-License-Identifier: Apache-2.0
"""Colors of times, segments and depths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.types import Float32Array, Float64Array, UInt8Array

SEGMENTS: UInt8Array = np.array(
    [
        (25, 200, 255), (255, 170, 40), (110, 220, 90), (240, 90, 150),
        (160, 120, 255), (240, 225, 70), (60, 220, 190), (255, 110, 80),
    ],
    np.uint8,
)  # fmt: skip
# Without its ends, which are nearly black: what is called blue is blue, and what is called red is red.
_TURBO: UInt8Array = np.ascontiguousarray(
    cv2.applyColorMap(np.linspace(26, 230, 256).astype(np.uint8), cv2.COLORMAP_TURBO)[:, 0, ::-1]
)
_UNKNOWN = (24, 24, 26)


def of_segments(segments: NDArray[np.integer]) -> UInt8Array:
    """Return a color (N, 3) for each segment (N,); after eight they come again."""
    colors: UInt8Array = SEGMENTS[np.asarray(segments) % len(SEGMENTS)]
    return colors


def tinted(rgb: UInt8Array, segments: NDArray[np.integer]) -> UInt8Array:
    """Return colors (N, 3) that keep their brightness and take the hue of their segments (N,)."""
    brightness = rgb.astype(np.uint16) @ np.array([77, 150, 29], np.uint16) // 256
    mixed = of_segments(segments).astype(np.uint16) * (64 + brightness[:, None] * 3 // 4) // 255
    return mixed.astype(np.uint8)


def of_shares(shares: Float64Array) -> UInt8Array:
    """Return a color (N, 3) for each share (N,) of the whole: from blue over green to red."""
    return _TURBO[np.clip(np.rint(shares * 255.0), 0, 255).astype(np.uint8)]


def of_depth(depth_m: Float32Array) -> tuple[UInt8Array, tuple[float, float] | None]:
    """Return a picture (h, w, 3) of depths (h, w): red near, blue far, gray where there is none.

    And the depths [m] from which on it is quite red or blue; None if there are no depths.
    """
    known = np.isfinite(depth_m) & (depth_m > 0)
    if not known.any():
        return np.full((*depth_m.shape, 3), _UNKNOWN, np.uint8), None
    near, far = (float(depth) for depth in np.percentile(depth_m[known], [2, 98]))
    shares = 1.0 - (np.where(known, depth_m, near) - near) / max(far - near, 1e-6)
    picture = of_shares(shares.ravel().astype(np.float64)).reshape(*depth_m.shape, 3)
    picture[~known] = _UNKNOWN
    return picture, (near, far)
