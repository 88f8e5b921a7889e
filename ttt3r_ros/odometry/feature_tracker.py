# SPDX-License-Identifier: Apache-2.0
"""Feature tracker: corners by Shi and Tomasi, tracked by the pyramidal Lucas-Kanade method of OpenCV."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.types import BoolArray, Float32Array, UInt8Array

WINDOW_PX = (11, 11)
LEVELS = 3  # of the pyramid; sufficient for motions up to about 50 px
# Iterations per level, or the step [px] below which a level ends.
TERM_CRITERIA = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03)
MAX_RETURN_ERROR_PX = 0.5  # largest distance between a corner and its position after tracking back
QUALITY = 0.005  # of the weakest corner, as a fraction of the strongest one
GAIN_WINDOW_PX = (31, 31)  # around a track, for the comparison of gray levels
GAIN_TOLERANCE = 0.02  # smaller changes of the gain are not compensated
GRID = (6, 8)  # rows and columns of cells
MAX_CELL_FILL = 1.2  # most corners of a cell, over an equal share
MIN_DISTANCE_DIVISOR = 40  # the distance of corners is at least the width of the image over this


def to_gray(rgb: UInt8Array) -> UInt8Array:
    """Return the gray levels (h, w) of an image (h, w, 3)."""
    gray: UInt8Array = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)  # type: ignore[assignment]
    return gray


def track(
    previous: UInt8Array, image: UInt8Array, pixels: Float32Array
) -> tuple[Float32Array, BoolArray]:
    """Track points (N, 2) of the previous image (h, w); return their pixels and which were found (N,).

    If exposure or lighting has changed, the points are tracked again with equal gain: the method assumes constant
    brightness.
    """
    tracked, found = _track_both_ways(previous, image, pixels)
    gain = _estimate_gain(previous, image, pixels[found], tracked[found])
    if abs(gain - 1.0) <= GAIN_TOLERANCE:
        return tracked, found
    return _track_both_ways(cv2.convertScaleAbs(previous, alpha=gain), image, pixels)  # type: ignore[arg-type]


def _track_both_ways(
    previous: UInt8Array, image: UInt8Array, pixels: Float32Array
) -> tuple[Float32Array, BoolArray]:
    """Track forward and back; points that do not return to their pixels are not found."""
    if not len(pixels):
        return pixels, np.zeros(0, bool)
    forward, is_tracked, _ = _compute_flow(previous, image, pixels[:, None])
    back, is_returned, _ = _compute_flow(image, previous, forward)
    forward, back = forward[:, 0], back[:, 0]
    height, width = image.shape
    is_inside = ((forward >= 0) & (forward <= (width - 1, height - 1))).all(axis=1)
    is_consistent = np.linalg.norm(back - pixels, axis=1) < MAX_RETURN_ERROR_PX
    found = is_inside & is_consistent & (is_tracked[:, 0] == 1) & (is_returned[:, 0] == 1)
    return forward, found


def _estimate_gain(
    previous: UInt8Array, image: UInt8Array, pixels: Float32Array, tracked: Float32Array
) -> float:
    """Return the median ratio of the gray levels around the tracks; 1 without tracks."""
    if not len(pixels):
        return 1.0
    before = _sample(cv2.blur(previous, GAIN_WINDOW_PX), pixels)
    after = _sample(cv2.blur(image, GAIN_WINDOW_PX), tracked)
    return float(np.median((after + 1.0) / (before + 1.0)))


def _sample(image: Any, pixels: Float32Array) -> Any:
    columns, rows = np.rint(pixels).astype(int).T
    return image[rows, columns].astype(float)


def _compute_flow(
    previous: UInt8Array, image: UInt8Array, pixels: Float32Array
) -> tuple[Float32Array, ...]:
    return cv2.calcOpticalFlowPyrLK(  # type: ignore[call-overload, no-any-return]
        previous, image, pixels, None, winSize=WINDOW_PX, maxLevel=LEVELS, criteria=TERM_CRITERIA
    )


def detect_corners(image: UInt8Array, known: Float32Array, count: int) -> Float32Array:
    """Return up to ``count`` new corners (M, 2) of an image (h, w) at a distance from the known ones (N, 2).

    Each cell of a grid has a bounded number of corners, so that a single textured object does not dominate the pose.
    """
    min_distance = max(3, image.shape[1] // MIN_DISTANCE_DIVISOR)
    mask = np.full(image.shape, 255, np.uint8)
    for u, v in np.rint(known).astype(int).tolist():
        cv2.circle(mask, (u, v), min_distance, 0, -1)
    detected: Any = cv2.goodFeaturesToTrack(image, 0, QUALITY, min_distance, mask=mask)
    if detected is None:
        return np.empty((0, 2), np.float32)
    best_first = detected[:, 0].astype(np.float32)
    max_per_cell = MAX_CELL_FILL * (len(known) + count) / (GRID[0] * GRID[1])
    cells = _find_cells(np.concatenate((known, best_first)), image.shape)
    allowed = _rank_in_cell(cells)[len(known) :] < max(1, round(max_per_cell))
    corners: Float32Array = best_first[allowed][:count]
    return corners


def _find_cells(pixels: Float32Array, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the index of the grid cell (N,) of each pixel (N, 2) of an image."""
    rows, columns = (pixels[:, ::-1] / shape[:2] * GRID).astype(np.int64).T
    cells: NDArray[np.int64] = rows.clip(0, GRID[0] - 1) * GRID[1] + columns.clip(0, GRID[1] - 1)
    return cells


def _rank_in_cell(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each entry (N,) the number of earlier entries of the same cell."""
    order = np.argsort(cells, kind="stable")
    ordered = cells[order]
    ranks = np.empty(len(cells), np.int64)
    ranks[order] = np.arange(len(cells)) - np.searchsorted(ordered, ordered)
    return ranks
