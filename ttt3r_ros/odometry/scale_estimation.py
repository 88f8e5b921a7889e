# SPDX-License-Identifier: Apache-2.0
"""Scale estimators: robust averages of measured ratios of true to predicted distances."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.geometry import so3_log
from ttt3r_ros.state_dict import StateReader, pack_optional

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ttt3r_ros.state_dict import StateDict
    from ttt3r_ros.types import Float32Array, Float64Array

PLAUSIBLE_SCALES = (0.01, 100.0)  # meters per unit of the network
_INITIAL_MEASUREMENTS = 5  # their median is the initial scale, so that one outlier has no influence
_MAX_DEVIATIONS = 3.0  # a measurement is clipped at this many typical deviations ...
_CLIP_BOUNDS = (0.05, 0.5)  # ... within these bounds, on a logarithmic scale

_MAX_SPREAD = 4.0 * math.log(PLAUSIBLE_SCALES[1])  # of logarithms that resets have shifted

_MIN_PATH_NETWORK = 0.01  # units of the network; a shorter path may be noise
_MIN_TURN_RADIUS_M = 0.3  # a body that moves on a tighter curve turns in place
_MIN_TURN_RAD = 0.1
_STANDING_FRACTION = 0.02  # of min_translation: odometry that stays within it ...
_STANDING_FRAMES = 5  # ... for so many frames is standing still

_MIN_PIXELS = 20
_MAX_PIXELS = 20_000  # more would only take longer to sort


class ScaleEstimator:
    """Robust average on a logarithmic scale; ``ema_weight`` is the final weight of a new measurement."""

    def __init__(self, ema_weight: float) -> None:
        self.ema_weight = ema_weight
        self.reset()

    def reset(self) -> None:
        """Discard all measurements."""
        self._log_scale = 0.0
        self._initial_log_ratios: list[float] = []
        self.spread = _CLIP_BOUNDS[1]  # typical deviation of a measurement, on a logarithmic scale
        self.measurements = 0
        self.rejected = 0  # measurements and segment scale ratios that were not finite or not plausible

    @property
    def scale(self) -> float:
        """Return meters per unit of the network; 1 before the first measurement."""
        return math.exp(self._log_scale)

    def update(self, ratio: float) -> None:
        """Add one measurement: a true distance over the predicted one."""
        if not _is_plausible(ratio):
            self.rejected += 1
            return
        self.measurements += 1
        if self.measurements <= _INITIAL_MEASUREMENTS:
            self._initialize(math.log(ratio))
        else:
            self._average(math.log(ratio))

    def _initialize(self, log_ratio: float) -> None:
        self._initial_log_ratios.append(log_ratio)
        self._log_scale = float(np.median(self._initial_log_ratios))
        deviations = np.abs(np.array(self._initial_log_ratios) - self._log_scale)
        self.spread = max(_CLIP_BOUNDS[0], float(np.median(deviations)))

    def _average(self, log_ratio: float) -> None:
        deviation = log_ratio - self._log_scale
        weight = max(self.ema_weight, 1.0 / self.measurements)
        limit = min(max(_MAX_DEVIATIONS * self.spread, _CLIP_BOUNDS[0]), _CLIP_BOUNDS[1])
        self._log_scale += weight * min(max(deviation, -limit), limit)
        # Many large deviations are a change and no outliers: the growing spread lets them pass.
        self.spread += weight * (min(abs(deviation), _CLIP_BOUNDS[1]) - self.spread)

    def on_state_reset(self, segment_scale_ratio: float) -> None:
        """Keep scaled distances continuous: the ratio is old over new predicted depths of the same image."""
        if not _is_plausible(segment_scale_ratio):
            self.rejected += 1
            return
        low, high = (math.log(bound) for bound in PLAUSIBLE_SCALES)
        shifted = min(max(self._log_scale + math.log(segment_scale_ratio), low), high)
        self._initial_log_ratios = [
            log_ratio + shifted - self._log_scale for log_ratio in self._initial_log_ratios
        ]
        self._log_scale = shifted

    def state_dict(self) -> StateDict:
        """Return the average and the initial measurements."""
        return {
            "log_scale": self._log_scale,
            "initial_log_ratios": np.array(self._initial_log_ratios, np.float64),
            "spread": self.spread,
            "measurements": self.measurements,
            "rejected": self.rejected,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`.

        Raises:
            SourceError: an entry is invalid; nothing has changed.
        """
        with StateReader(state, "scale estimator") as read:
            log_scale, spread = read.number("log_scale"), read.number_within("spread", 0.0, _MAX_SPREAD)
            initial_log_ratios = read.array("initial_log_ratios", np.float64, (None,)).tolist()
            measurements, rejected = read.integer("measurements"), read.integer("rejected")
            read.require(_is_plausible_log(log_scale), f"log_scale is {log_scale}")
            read.require(
                all(abs(ratio) <= _MAX_SPREAD for ratio in initial_log_ratios),
                f"initial_log_ratios are {initial_log_ratios}",
            )
            expected = min(measurements, _INITIAL_MEASUREMENTS)
            read.require(
                len(initial_log_ratios) == expected,
                f"initial_log_ratios has {len(initial_log_ratios)} values; expected {expected}",
            )
        self._log_scale, self.spread = log_scale, spread
        self._initial_log_ratios = initial_log_ratios
        self.measurements, self.rejected = measurements, rejected


class OdometryScaleEstimator:
    """Compares the path of the body in external odometry [m] with the integrated one, from an anchor on.

    The anchor follows a body that stands still or turns in place, so that the network's drift in the meantime does
    not count.
    """

    def __init__(self, min_translation: float) -> None:
        self.min_translation = min_translation
        self.reset()

    def reset(self) -> None:
        """Discard the anchor."""
        self._anchor: tuple[Float64Array, Float64Array] | None = None  # T_ext_odom_base, T_odom_base
        self._segment = 0
        self._standing_position: Float64Array = np.zeros(3)
        self._standing_frames = 0

    def update(
        self, T_ext_odom_base: Float64Array, T_odom_base: Float64Array, segment: int
    ) -> float | None:
        """Return the ratio of both path lengths, once per ``min_translation`` [m]; else None.

        Both poses (4, 4) are of the same point of the body: a camera beside it moves differently in a turn.
        """
        if not (np.isfinite(T_ext_odom_base).all() and np.isfinite(T_odom_base).all()):
            return None
        poses = T_ext_odom_base.copy(), T_odom_base.copy()
        if self._anchor is None or segment != self._segment or self._is_standing(T_ext_odom_base):
            self._anchor, self._segment = poses, segment
            return None
        T_ext_odom_anchor, T_odom_anchor = self._anchor
        moved = _distance(T_ext_odom_anchor, T_ext_odom_base)
        turned = _angle(T_ext_odom_anchor, T_ext_odom_base)
        if turned > _MIN_TURN_RAD and turned * _MIN_TURN_RADIUS_M > moved:
            self._anchor = poses
            return None
        moved_network = _distance(T_odom_anchor, T_odom_base)
        if moved < self.min_translation or moved_network < _MIN_PATH_NETWORK:
            return None
        self._anchor = poses
        return moved / moved_network

    def _is_standing(self, T_ext_odom_base: Float64Array) -> bool:
        self._standing_frames += 1
        position = T_ext_odom_base[:3, 3]
        if (
            np.linalg.norm(position - self._standing_position)
            > _STANDING_FRACTION * self.min_translation
        ):
            self._standing_position, self._standing_frames = position.copy(), 0
        return self._standing_frames >= _STANDING_FRAMES

    def state_dict(self) -> StateDict:
        """Return the anchor."""
        return {
            "anchor": pack_optional(self._anchor, np.float64, (2, 4, 4)),
            "segment": self._segment,
            "standing_position": self._standing_position.copy(),
            "standing_frames": self._standing_frames,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`.

        Raises:
            SourceError: an entry is invalid; nothing has changed.
        """
        with StateReader(state, "odometry scale estimator") as read:
            anchor = read.optional("anchor", np.float64, (2, 4, 4))
            if anchor is not None:
                read.validate_poses("anchor", anchor)
            segment, standing_frames = read.integer("segment"), read.integer("standing_frames")
            standing_position = read.array("standing_position", np.float64, (3,), maximum=1e10)
        self._anchor = None if anchor is None else (anchor[0], anchor[1])
        self._segment, self._standing_frames = segment, standing_frames
        self._standing_position = standing_position


def depth_ratio(
    reference: Float32Array, predicted: Float32Array, confidence: Float32Array
) -> float | None:
    """Return the median of reference over predicted depth (h, w), weighted by confidence (h, w).

    Depths that are not finite and positive are left out; None where fewer than 20 pixels remain.
    """
    with np.errstate(invalid="ignore"):  # comparisons with NaN
        valid = (reference > 0) & (predicted > 0) & (confidence > 0)
    valid &= np.isfinite(reference) & np.isfinite(predicted) & np.isfinite(confidence)
    chosen = np.flatnonzero(valid)
    if chosen.size < _MIN_PIXELS:
        return None
    chosen = chosen[:: -(-chosen.size // _MAX_PIXELS)]
    ratios = reference.flat[chosen].astype(np.float64) / predicted.flat[chosen]
    order = np.argsort(ratios)
    weights = np.cumsum(confidence.flat[chosen][order], dtype=np.float64)
    return float(ratios[order[np.searchsorted(weights, 0.5 * weights[-1])]])


def height_ratio(height_m: float, fitted_height: float | None) -> float | None:
    """Return the camera's known height over the floor [m] over the fitted one; None if either is unknown."""
    if fitted_height is None or not (math.isfinite(height_m) and math.isfinite(fitted_height)):
        return None
    return height_m / fitted_height if height_m > 0.0 and fitted_height > 0.0 else None


def _distance(T_a: Float64Array, T_b: Float64Array) -> float:
    return float(np.linalg.norm(T_b[:3, 3] - T_a[:3, 3]))


def _angle(T_a: Float64Array, T_b: Float64Array) -> float:
    return float(np.linalg.norm(so3_log(T_a[:3, :3].T @ T_b[:3, :3])))


def _is_plausible(ratio: float) -> bool:
    return PLAUSIBLE_SCALES[0] <= ratio <= PLAUSIBLE_SCALES[1]  # False for NaN


def _is_plausible_log(log_scale: float) -> bool:
    return abs(log_scale) <= math.log(PLAUSIBLE_SCALES[1]) + 1e-9
