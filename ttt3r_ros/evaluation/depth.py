# SPDX-License-Identifier: Apache-2.0
"""How far predicted depth is from measured depth, pooled over the pixels of a sequence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from ttt3r_ros.types import Float32Array, Float64Array, ImageGeometry, Prediction

DELTA = 1.25
_PIXEL_STEP = 4  # neighbours err alike; a sixteenth of the pixels tells the same
_ITERATIONS = 10


@dataclass(frozen=True)
class DepthError:
    """Mean relative error and share of pixels within a factor of 1.25.

    ``metric`` takes the depth as it is, ``scaled`` after one common scale for the whole sequence.
    """

    abs_rel_metric: float
    delta_metric: float
    abs_rel_scaled: float
    delta_scaled: float
    scale: float  # truth = scale * prediction
    pixels: int


@dataclass
class DepthComparison:
    """Collects pairs of true and predicted depth [m]."""

    _true: list[Float32Array] = field(default_factory=list)
    _predicted: list[Float32Array] = field(default_factory=list)

    def add(self, prediction: Prediction, true_m: Float32Array) -> None:
        """Compare one frame with the depth (h, w) of its camera, of any size; 0 and NaN are no depth."""
        predicted = depth_at(prediction.points_camera[..., 2], prediction.geometry, true_m.shape)
        rows = slice(_PIXEL_STEP // 2, None, _PIXEL_STEP)
        true_few, predicted_few = true_m[rows, rows], predicted[rows, rows]
        valid = (true_few > 0) & np.isfinite(true_few) & np.isfinite(predicted_few)
        self._true.append(true_few[valid])
        self._predicted.append(predicted_few[valid])

    def error(self) -> DepthError | None:
        """Return the figures, or nothing where there was no true depth."""
        if not sum(part.size for part in self._true):
            return None
        true, predicted = (
            np.concatenate(parts).astype(np.float64) for parts in (self._true, self._predicted)
        )
        scale = common_scale(true, predicted)
        return DepthError(
            *_figures(true, predicted), *_figures(true, scale * predicted), scale=scale, pixels=true.size
        )


def depth_at(depth_m: Float32Array, geometry: ImageGeometry, shape: tuple[int, ...]) -> Float32Array:
    """Return the network's depth (h, w) at the pixels of a source image of another size, NaN outside its crop."""
    height, width = shape
    x = _network_coordinate(width, geometry.resized_width, geometry.left)
    y = _network_coordinate(height, geometry.resized_height, geometry.top)
    grid_x, grid_y = np.meshgrid(x, y)
    inside = (grid_x >= -0.5) & (grid_x <= geometry.width - 0.5)
    inside &= (grid_y >= -0.5) & (grid_y <= geometry.height - 0.5)
    sampled = cv2.remap(depth_m, grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.where(inside, sampled, np.float32(np.nan)).astype(np.float32)


def _network_coordinate(count: int, resized: int, crop: int) -> Float32Array:
    return ((np.arange(count) + 0.5) * (resized / count) - 0.5 - crop).astype(np.float32)


def common_scale(true: Float64Array, predicted: Float64Array) -> float:
    """Return the factor that brings predictions nearest to the truth in the mean absolute error.

    Ten rounds of reweighted least squares from the ratio of the means, as the field's depth protocol has it.
    """
    scale = true.mean() / max(float(predicted.mean()), 1e-9)
    for _ in range(_ITERATIONS):
        weight = 1.0 / (np.abs(scale * predicted - true) + 1e-8)
        scale = (weight * predicted * true).sum() / (weight * predicted * predicted).sum()
    return max(float(scale), 1e-3)


def _figures(true: Float64Array, predicted: Float64Array) -> tuple[float, float]:
    ratio = np.maximum(true / np.maximum(predicted, 1e-9), predicted / true)
    return float((np.abs(predicted - true) / true).mean()), float((ratio < DELTA).mean())
