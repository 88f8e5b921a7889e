# SPDX-License-Identifier: Apache-2.0
"""Corners found and followed from image to image by OpenCV: Shi and Tomasi, pyramids of Lucas and Kanade."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from ttt3r_ros.types import BoolArray, Float32Array, UInt8Array

WINDOW_PX = (11, 11)
LEVELS = 3  # of the pyramid: motions up to some 50 px
ENOUGH = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03)  # steps a level, or px of one
RETURN_PX = 0.5  # a track followed there and back must come back as near as this
QUALITY = 0.005  # of the weakest corner, as a share of the best
APART = 40  # corners keep the image's width over this apart


def grey(rgb: UInt8Array) -> UInt8Array:
    """Return the brightness (h, w) of an image (h, w, 3)."""
    brightness: UInt8Array = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)  # type: ignore[assignment]
    return brightness


def followed(
    before: UInt8Array, now: UInt8Array, pixels: Float32Array
) -> tuple[Float32Array, BoolArray]:
    """Return where points (N, 2) of one image (h, w) are in the next, and which of them were found there (N,)."""
    if not len(pixels):
        return pixels, np.zeros(0, bool)
    there, found, _ = _flow(before, now, pixels[:, None])
    back, returned, _ = _flow(now, before, there)
    there, back = there[:, 0], back[:, 0]
    height, width = now.shape
    inside = ((there >= 0) & (there <= (width - 1, height - 1))).all(axis=1)
    faithful = np.linalg.norm(back - pixels, axis=1) < RETURN_PX
    return there, inside & faithful & (found[:, 0] == 1) & (returned[:, 0] == 1)


def _flow(before: UInt8Array, now: UInt8Array, pixels: Float32Array) -> tuple[Float32Array, ...]:
    return cv2.calcOpticalFlowPyrLK(  # type: ignore[call-overload, no-any-return]
        before, now, pixels, None, winSize=WINDOW_PX, maxLevel=LEVELS, criteria=ENOUGH
    )


def corners(image: UInt8Array, known: Float32Array, count: int) -> Float32Array:
    """Return up to ``count`` new corners (M, 2) of an image (h, w), none of them beside those that are known (N, 2)."""
    apart = max(3, image.shape[1] // APART)
    free = np.full(image.shape, 255, np.uint8)
    for u, v in np.rint(known).astype(int).tolist():
        cv2.circle(free, (u, v), apart, 0, -1)
    found = cv2.goodFeaturesToTrack(image, count, QUALITY, apart, mask=free)
    return np.empty((0, 2), np.float32) if found is None else found[:, 0].astype(np.float32)
