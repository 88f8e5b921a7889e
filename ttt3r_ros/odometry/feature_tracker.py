# SPDX-License-Identifier: Apache-2.0
"""Corners found and followed from image to image by OpenCV: Shi and Tomasi, pyramids of Lucas and Kanade."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.types import BoolArray, Float32Array, UInt8Array

WINDOW_PX = (11, 11)
LEVELS = 3  # of the pyramid: motions up to some 50 px
TERM_CRITERIA = (
    cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS,
    10,
    0.03,
)  # steps a level, or px of one
MAX_RETURN_ERROR_PX = 0.5  # a track followed there and back must come back as near as this
QUALITY = 0.005  # of the weakest corner, as a share of the best
GAIN_WINDOW_PX = (31, 31)  # surroundings of a track whose brightness is compared
GAIN_TOLERANCE = 0.02  # a change of brightness by less is none
GRID = (6, 8)  # rows and columns of cells
MAX_CELL_FILL = 1.2  # times an even share of the corners that a cell may have
MIN_DISTANCE_DIVISOR = 40  # corners keep the image's width over this apart


def to_gray(rgb: UInt8Array) -> UInt8Array:
    """Return the brightness (h, w) of an image (h, w, 3)."""
    brightness: UInt8Array = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)  # type: ignore[assignment]
    return brightness


def track(before: UInt8Array, now: UInt8Array, pixels: Float32Array) -> tuple[Float32Array, BoolArray]:
    """Return where points (N, 2) of one image (h, w) are in the next, and which of them were found there (N,).

    Where the tracks say that the exposure or a lamp has changed, they are followed again in images as bright as
    each other: else brightness would pass for motion.
    """
    there, found = _there_and_back(before, now, pixels)
    gain = _gain(before, now, pixels[found], there[found])
    if abs(gain - 1.0) <= GAIN_TOLERANCE:
        return there, found
    return _there_and_back(cv2.convertScaleAbs(before, alpha=gain), now, pixels)  # type: ignore[arg-type]


def _there_and_back(
    before: UInt8Array, now: UInt8Array, pixels: Float32Array
) -> tuple[Float32Array, BoolArray]:
    if not len(pixels):
        return pixels, np.zeros(0, bool)
    there, found, _ = _flow(before, now, pixels[:, None])
    back, returned, _ = _flow(now, before, there)
    there, back = there[:, 0], back[:, 0]
    height, width = now.shape
    inside = ((there >= 0) & (there <= (width - 1, height - 1))).all(axis=1)
    faithful = np.linalg.norm(back - pixels, axis=1) < MAX_RETURN_ERROR_PX
    return there, inside & faithful & (found[:, 0] == 1) & (returned[:, 0] == 1)


def _gain(before: UInt8Array, now: UInt8Array, pixels: Float32Array, there: Float32Array) -> float:
    """Return how many times brighter the median track has become; 1 without tracks."""
    if not len(pixels):
        return 1.0
    levels = [
        _sampled(cv2.blur(image, GAIN_WINDOW_PX), at) for image, at in ((before, pixels), (now, there))
    ]
    return float(np.median((levels[1] + 1.0) / (levels[0] + 1.0)))


def _sampled(image: Any, pixels: Float32Array) -> Any:
    columns, rows = np.rint(pixels).astype(int).T
    return image[rows, columns].astype(float)


def _flow(before: UInt8Array, now: UInt8Array, pixels: Float32Array) -> tuple[Float32Array, ...]:
    return cv2.calcOpticalFlowPyrLK(  # type: ignore[call-overload, no-any-return]
        before, now, pixels, None, winSize=WINDOW_PX, maxLevel=LEVELS, criteria=TERM_CRITERIA
    )


def detect_corners(image: UInt8Array, known: Float32Array, count: int) -> Float32Array:
    """Return up to ``count`` new corners (M, 2) of an image (h, w), none of them beside those that are known (N, 2).

    No cell of a grid gets much more than its share: a thing with many corners must not speak for the whole view.
    """
    apart = max(3, image.shape[1] // MIN_DISTANCE_DIVISOR)
    free = np.full(image.shape, 255, np.uint8)
    for u, v in np.rint(known).astype(int).tolist():
        cv2.circle(free, (u, v), apart, 0, -1)
    found: Any = cv2.goodFeaturesToTrack(image, 0, QUALITY, apart, mask=free)
    if found is None:
        return np.empty((0, 2), np.float32)
    best_first = found[:, 0].astype(np.float32)
    share = MAX_CELL_FILL * (len(known) + count) / (GRID[0] * GRID[1])
    cells = _cells(np.concatenate((known, best_first)), image.shape)
    allowed = _rank_in_cell(cells)[len(known) :] < max(1, round(share))
    chosen: Float32Array = best_first[allowed][:count]
    return chosen


def _cells(pixels: Float32Array, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the number of the cell of a grid (N,) that each pixel (N, 2) of an image lies in."""
    rows, columns = (pixels[:, ::-1] / shape[:2] * GRID).astype(np.int64).T
    cells: NDArray[np.int64] = rows.clip(0, GRID[0] - 1) * GRID[1] + columns.clip(0, GRID[1] - 1)
    return cells


def _rank_in_cell(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many of the same cell come before each (N,)."""
    order = np.argsort(cells, kind="stable")
    ordered = cells[order]
    ranks = np.empty(len(cells), np.int64)
    ranks[order] = np.arange(len(cells)) - np.searchsorted(ordered, ordered)
    return ranks
