# SPDX-License-Identifier: Apache-2.0
"""Edge-preserving smoothing: the guided filter (He, Sun and Tang, 2010) with box filters of OpenCV."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from ttt3r_ros.types import BoolArray, Float32Array, UInt8Array

MAX_GRAY = 255.0
_MIN_KNOWN_FRACTION = 1e-3  # of a window; smaller values are rounding errors of a running sum


def guided_filter(values: Float32Array, image: UInt8Array, radius: int, contrast: float) -> Float32Array:
    """Return smoothed values (h, w): in each window of 2 * radius + 1 pixels a linear function of the gray level.

    Gray levels of ``image`` (h, w) with a standard deviation below ``contrast`` (black is 0, white 1) are no edge.
    """
    guide = image.astype(np.float32) / np.float32(MAX_GRAY)
    guide_mean, mean = _box_filter(guide, radius), _box_filter(values, radius)
    covariance = _box_filter(guide * values, radius) - guide_mean * mean
    variance = _box_filter(guide * guide, radius) - guide_mean * guide_mean
    slope = (covariance / (variance + contrast**2)).astype(np.float32)
    return _box_filter(slope, radius) * guide + _box_filter(mean - slope * guide_mean, radius)


def fill_unknown(values: Float32Array, known: BoolArray, radius: int) -> Float32Array:
    """Return values (h, w); unknown ones are the mean of the known ones within a radius, or of all of them."""
    if known.all():
        return values
    fraction = _box_filter(known.astype(np.float32), radius)
    sums = _box_filter(np.where(known, values, np.float32(0.0)), radius)
    local_mean = sums / np.maximum(fraction, np.float32(1e-6))
    mean = values[known].mean() if known.any() else np.float32(0.0)
    return np.where(known, values, np.where(fraction > _MIN_KNOWN_FRACTION, local_mean, mean))


def _box_filter(values: Float32Array, radius: int) -> Float32Array:
    size = 2 * radius + 1
    mean: Float32Array = cv2.blur(values, (size, size), borderType=cv2.BORDER_REFLECT)  # type: ignore[assignment]
    return mean
