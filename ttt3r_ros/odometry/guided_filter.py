# SPDX-License-Identifier: Apache-2.0
"""Smoothing that stops where an image has edges: the guided filter (He, Sun and Tang, 2010), by OpenCV's means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from ttt3r_ros.types import BoolArray, Float32Array, UInt8Array

BRIGHTEST = 255.0
_SOME = 1e-3  # share of a window; less is the rounding of a running sum


def guided_filter(values: Float32Array, image: UInt8Array, radius: int, contrast: float) -> Float32Array:
    """Return values (h, w) smoothed over windows of 2 * radius + 1 pixels, within each a line over the brightness.

    Brightness of ``image`` (h, w) that varies by less than ``contrast`` (its standard deviation, 1 from black to
    white) is no edge.
    """
    guide = image.astype(np.float32) / np.float32(BRIGHTEST)
    guide_mean, mean = _mean(guide, radius), _mean(values, radius)
    covariance = _mean(guide * values, radius) - guide_mean * mean
    variance = _mean(guide * guide, radius) - guide_mean * guide_mean
    slope = (covariance / (variance + contrast**2)).astype(np.float32)
    return _mean(slope, radius) * guide + _mean(mean - slope * guide_mean, radius)


def fill_unknown(values: Float32Array, known: BoolArray, radius: int) -> Float32Array:
    """Return values (h, w) that are known (h, w), elsewhere the mean of what is known within a radius, or at all."""
    if known.all():
        return values
    share = _mean(known.astype(np.float32), radius)
    there = _mean(np.where(known, values, np.float32(0.0)), radius) / np.maximum(share, np.float32(1e-6))
    overall = values[known].mean() if known.any() else np.float32(0.0)
    return np.where(known, values, np.where(share > _SOME, there, overall))


def _mean(values: Float32Array, radius: int) -> Float32Array:
    size = 2 * radius + 1
    mean: Float32Array = cv2.blur(values, (size, size), borderType=cv2.BORDER_REFLECT)  # type: ignore[assignment]
    return mean
