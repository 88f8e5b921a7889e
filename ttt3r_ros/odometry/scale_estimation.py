# SPDX-License-Identifier: Apache-2.0
"""The metric scale: a factor on the network's lengths, averaged from measured ratios."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import so3_log

if TYPE_CHECKING:
    from ttt3r_ros.types import Float32Array, Float64Array

PLAUSIBLE = (0.01, 100.0)  # meters per unit of the network
_FIRST = 5  # measurements whose median is the start, so that a bad one among them does no harm
_CLIP_SPREADS = 3.0  # a measurement counts as this many times the usual deviation at most ...
_CLIP = (0.05, 0.5)  # ... within these bounds, on a logarithmic scale

_NOISE_FLOOR = 0.01  # units of the network; a shorter way may be its noise alone
_TURN_RADIUS_M = 0.3  # a body that moves on a tighter curve than this turns rather than moves
_LEAST_TURN = 0.1  # rad; less is no turn
_STILL_SHARE = 0.02  # of min_translation: odometry that stays within it ...
_STILL_FRAMES = 5  # ... for so many frames stands still

_LEAST_PIXELS = 20
_ENOUGH_PIXELS = 20_000  # more would only take longer to sort


class ScaleEstimator:
    """A robust average on a logarithmic scale: ``ema_weight`` is the weight of a new measurement in the long run."""

    def __init__(self, ema_weight: float) -> None:
        self.ema_weight = ema_weight
        self.reset()

    def reset(self) -> None:
        """Forget what was measured."""
        self._log_scale = 0.0
        self._first: list[float] = []
        self.spread = _CLIP[1]  # usual deviation of a measurement, on a logarithmic scale
        self.measurements = 0
        self.rejected = 0  # measurements and jumps that were not finite or not plausible

    @property
    def scale(self) -> float:
        """Return meters per unit of the network; 1 before the first measurement."""
        return math.exp(self._log_scale)

    def update(self, ratio: float) -> None:
        """Take one measurement into account: a true length over the network's."""
        if not _is_plausible(ratio):
            self.rejected += 1
            return
        self.measurements += 1
        if self.measurements <= _FIRST:
            self._first.append(math.log(ratio))
            self._log_scale = float(np.median(self._first))
            self.spread = max(
                _CLIP[0], float(np.median(np.abs(np.array(self._first) - self._log_scale)))
            )
            return
        deviation = math.log(ratio) - self._log_scale
        weight = max(self.ema_weight, 1.0 / self.measurements)
        limit = min(max(_CLIP_SPREADS * self.spread, _CLIP[0]), _CLIP[1])
        self._log_scale += weight * min(max(deviation, -limit), limit)
        # Many large deviations are no outliers but a change: then they count for more.
        self.spread += weight * (min(abs(deviation), _CLIP[1]) - self.spread)

    def on_state_reset(self, jump: float) -> None:
        """Keep scaled lengths continuous where the network's own change: old ones over new ones of the same thing."""
        if not _is_plausible(jump):
            self.rejected += 1
            return
        low, high = (math.log(bound) for bound in PLAUSIBLE)
        shifted = min(max(self._log_scale + math.log(jump), low), high)
        self._first = [log_ratio + shifted - self._log_scale for log_ratio in self._first]
        self._log_scale = shifted


class OdometryScaleEstimator:
    """Compares how far the body moved in odometry [m] and in the network's units, from an anchor on.

    The anchor follows a body that stands still or only turns, so that the network's drift meanwhile does not count.
    """

    def __init__(self, min_translation: float) -> None:
        self.min_translation = min_translation
        self.reset()

    def reset(self) -> None:
        """Forget the anchor."""
        self._anchor: tuple[Float64Array, Float64Array] | None = None  # T_odom_base, T_net_base
        self._segment = 0
        self._stood_at: Float64Array = np.zeros(3)
        self._still_frames = 0

    def update(self, T_odom_base: Float64Array, T_net_base: Float64Array, segment: int) -> float | None:
        """Return meters per unit, once per ``min_translation`` [m]; None while that is not known.

        Both poses (4, 4) are of the same point of the body; a camera beside it moves otherwise when the body turns.
        """
        if not (np.isfinite(T_odom_base).all() and np.isfinite(T_net_base).all()):
            return None
        poses = T_odom_base.copy(), T_net_base.copy()
        if self._anchor is None or segment != self._segment or self._stands(T_odom_base):
            self._anchor, self._segment = poses, segment
            return None
        T_odom_anchor, T_net_anchor = self._anchor
        moved = _distance(T_odom_anchor, T_odom_base)
        turned = float(np.linalg.norm(so3_log(T_odom_anchor[:3, :3].T @ T_odom_base[:3, :3])))
        if turned > _LEAST_TURN and turned * _TURN_RADIUS_M > moved:
            self._anchor = poses
            return None
        moved_net = _distance(T_net_anchor, T_net_base)
        if moved < self.min_translation or moved_net < _NOISE_FLOOR:
            return None
        self._anchor = poses
        return moved / moved_net

    def _stands(self, T_odom_base: Float64Array) -> bool:
        self._still_frames += 1
        if np.linalg.norm(T_odom_base[:3, 3] - self._stood_at) > _STILL_SHARE * self.min_translation:
            self._stood_at, self._still_frames = T_odom_base[:3, 3].copy(), 0
        return self._still_frames >= _STILL_FRAMES


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
    if chosen.size < _LEAST_PIXELS:
        return None
    chosen = chosen[:: -(-chosen.size // _ENOUGH_PIXELS)]
    ratios = reference.flat[chosen].astype(np.float64) / predicted.flat[chosen]
    order = np.argsort(ratios)
    weights = np.cumsum(confidence.flat[chosen][order], dtype=np.float64)
    return float(ratios[order[np.searchsorted(weights, 0.5 * weights[-1])]])


def height_ratio(height_m: float, fitted_height: float | None) -> float | None:
    """Return the camera's known height over the floor [m] over the fitted one; None where either is unknown."""
    if fitted_height is None or not (math.isfinite(height_m) and math.isfinite(fitted_height)):
        return None
    return height_m / fitted_height if height_m > 0.0 and fitted_height > 0.0 else None


def _distance(T_a: Float64Array, T_b: Float64Array) -> float:
    return float(np.linalg.norm(T_b[:3, 3] - T_a[:3, 3]))


def _is_plausible(ratio: float) -> bool:
    return PLAUSIBLE[0] <= ratio <= PLAUSIBLE[1]  # False for NaN
