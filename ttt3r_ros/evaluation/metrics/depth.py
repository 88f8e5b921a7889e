# SPDX-License-Identifier: Apache-2.0
"""Errors of predicted depth against measured depth, pooled over the pixels of a sequence."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ttt3r_ros.images.depth_resampling import interpolate_at_source

if TYPE_CHECKING:
    from ttt3r_ros.types import Float32Array, Float64Array, Prediction

DELTA = 1.25
_PIXEL_STEP = 4  # errors of neighbors are correlated; a sixteenth of the pixels suffices
_ITERATIONS = 10
_MOST_FITTED = 200_000  # pixels that scale and shift are fitted to
_STEPS, _RATE = 1000, 1e-4
_NEAREST_M = 1e-3  # a scale and a shift may put a prediction behind the camera; ratios need it before


@dataclass(frozen=True)
class DepthFigures:
    """Errors of depth over pixels."""

    abs_rel: float
    sq_rel: float
    rmse: float
    log_rmse: float
    delta1: float  # fraction of pixels within a factor of 1.25
    delta2: float  # 1.25 squared
    delta3: float


@dataclass(frozen=True)
class DepthError:
    """Mean relative error and fraction of pixels within a factor of 1.25.

    ``metric`` takes the depth as it is, ``scaled`` after one common scale for the whole sequence.
    """

    abs_rel_metric: float
    delta_metric: float
    abs_rel_scaled: float
    delta_scaled: float
    scale: float  # truth = scale * prediction
    pixels: int


@dataclass(frozen=True)
class AlignedDepths:
    """Figures by alignment (metric, scale, shift), and what the alignments were."""

    figures: dict[str, DepthFigures]
    scale: float  # truth = scale * prediction
    scale_and_shift: tuple[float, float]  # truth = first * prediction + second [m]
    pixels: int


@dataclass
class DepthComparison:
    """Collects pairs of true and predicted depth [m] under the rules of a protocol."""

    pixel_step: int = _PIXEL_STEP
    max_depth_m: float = math.inf  # truth from here on does not count
    clip_m: float = math.inf  # aligned predictions are cut to this depth
    interpolation: int = cv2.INTER_LINEAR
    _frames: list[int] = field(default_factory=list)
    _true: list[Float32Array] = field(default_factory=list)
    _predicted: list[Float32Array] = field(default_factory=list)

    def add(self, prediction: Prediction, true_m: Float32Array, frame: int = 0) -> None:
        """Compare one frame with the depth (h, w) of its camera, of any size; 0 and NaN are no depth."""
        depth_m = prediction.points_camera[..., 2]
        predicted = interpolate_at_source(depth_m, prediction.geometry, true_m.shape, self.interpolation)
        rows = slice(self.pixel_step // 2, None, self.pixel_step)
        true_few, predicted_few = true_m[rows, rows], predicted[rows, rows]
        valid = (true_few > 0) & (true_few < self.max_depth_m) & np.isfinite(predicted_few)
        self._frames.append(frame)
        self._true.append(true_few[valid])
        self._predicted.append(predicted_few[valid])

    def error(self) -> DepthError | None:
        """Return the metric and the scaled figures, or nothing where there was no true depth."""
        pooled = self._pool(0)
        if pooled is None:
            return None
        true, predicted = pooled
        scale = common_scale(true, predicted)
        metric, scaled = (self._figures(true, predicted, one) for one in (1.0, scale))
        return DepthError(
            metric.abs_rel, metric.delta1, scaled.abs_rel, scaled.delta1, scale=scale, pixels=true.size
        )

    def align(self, length: int = 0) -> AlignedDepths | None:
        """Return the figures of the first frames (0: all) after every alignment; nothing without true depth."""
        pooled = self._pool(length)
        if pooled is None:
            return None
        true, predicted = pooled
        scale = common_scale(true, predicted)
        factor, shift_m = scale_and_shift(true, predicted)
        figures = {
            "metric": self._figures(true, predicted, 1.0),
            "scale": self._figures(true, predicted, scale),
            "shift": self._figures(true, predicted, factor, shift_m),
        }
        return AlignedDepths(figures, scale, (factor, shift_m), true.size)

    def scale(self) -> float:
        """Return the one scale of all frames, 1 without true depth."""
        pooled = self._pool(0)
        return 1.0 if pooled is None else common_scale(*pooled)

    def abs_rel_of_frames(self, scale: float, length: int = 0) -> list[tuple[int, float]]:
        """Return the mean relative error of each of the first frames (0: all) that has true depth."""
        return [
            (frame, float((np.abs(scale * predicted - true) / true).mean()))
            for frame, true, predicted in zip(self._frames, self._true, self._predicted, strict=True)
            if true.size and (not length or frame < length)
        ]

    def _pool(self, length: int) -> tuple[Float64Array, Float64Array] | None:
        chosen = [k for k, frame in enumerate(self._frames) if not length or frame < length]
        if not sum(self._true[k].size for k in chosen):
            return None
        true, predicted = (
            np.concatenate([parts[k] for k in chosen]).astype(np.float64)
            for parts in (self._true, self._predicted)
        )
        return true, predicted

    def _figures(
        self, true: Float64Array, predicted: Float64Array, scale: float, shift_m: float = 0.0
    ) -> DepthFigures:
        return compute_figures(true, np.minimum(scale * predicted + shift_m, self.clip_m))


def common_scale(true: Float64Array, predicted: Float64Array) -> float:
    """Return the factor that brings predictions nearest to the truth in the mean absolute error.

    Ten rounds of reweighted least squares from the ratio of the means, as in published depth evaluations.
    """
    scale = true.mean() / max(float(predicted.mean()), 1e-9)
    for _ in range(_ITERATIONS):
        weight = 1.0 / (np.abs(scale * predicted - true) + 1e-8)
        size = (weight * predicted * predicted).sum()
        if not size > 0:  # predictions of zero: no scale is better than another
            return 1.0
        scale = (weight * predicted * true).sum() / size
    return max(float(scale), 1e-3)


def scale_and_shift(true: Float64Array, predicted: Float64Array) -> tuple[float, float]:
    """Return factor and shift [m] that bring predictions near to the truth in the mean absolute error.

    A thousand steps of Adam at a rate of 1e-4 from the ratio of the medians, as in published depth evaluations.
    They do not go far from there, so this is not the best fit but the one that papers report.
    """
    thinning = -(-true.size // _MOST_FITTED)
    true, predicted = true[::thinning], predicted[::thinning]
    fit = np.array([np.median(true) / max(float(np.median(predicted)), 1e-9), 0.0])
    first, second = np.zeros(2), np.zeros(2)
    for step in range(1, _STEPS + 1):
        sign = np.sign(fit[0] * predicted + fit[1] - true)
        gradient = np.array([(sign * predicted).mean(), sign.mean()])
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        fit -= _RATE * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return float(fit[0]), float(fit[1])


def compute_figures(true: Float64Array, predicted: Float64Array) -> DepthFigures:
    """Return the errors of predicted depths (N,) [m]."""
    difference = predicted - true
    before = np.maximum(predicted, _NEAREST_M)
    ratio = np.maximum(true / before, before / true)
    return DepthFigures(
        abs_rel=float((np.abs(difference) / true).mean()),
        sq_rel=float((difference**2 / true).mean()),
        rmse=float(np.sqrt((difference**2).mean())),
        log_rmse=float(np.sqrt((np.log(before / true) ** 2).mean())),
        delta1=float((ratio < DELTA).mean()),
        delta2=float((ratio < DELTA**2).mean()),
        delta3=float((ratio < DELTA**3).mean()),
    )
