# SPDX-License-Identifier: Apache-2.0
"""The focal length of an uncalibrated camera, from the network's point maps."""

from __future__ import annotations

import numpy as np

from ttt3r_ros.geometry import focal_median
from ttt3r_ros.types import Intrinsics, Prediction

PLAUSIBLE = (0.25, 10.0)  # focal length over the long side: fields of view from 127 down to 6 degrees
UNKNOWN = 0.866  # 60 degrees across the long side, until the first plausible estimate
FORGETTING = 0.05  # weight of a new frame in the long run; earlier ones average evenly


class FocalEstimator:
    """Averages per-frame estimates on a logarithmic scale; one camera, one focal length for both axes."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the camera."""
        self._log_ratio = float(np.log(UNKNOWN))
        self._estimates = 0

    def update(self, prediction: Prediction) -> Intrinsics:
        """Take one frame into account; return the intrinsics of the network's image."""
        height, width = prediction.confidence.shape
        ratio = self._frame_ratio(prediction)
        if PLAUSIBLE[0] <= ratio <= PLAUSIBLE[1]:  # False for NaN
            self._estimates += 1
            weight = max(1.0 / self._estimates, FORGETTING)
            self._log_ratio += weight * (float(np.log(ratio)) - self._log_ratio)
        focal = float(np.exp(self._log_ratio)) * max(height, width)
        return Intrinsics(focal, focal, float(width // 2), float(height // 2), width, height)

    @staticmethod
    def _frame_ratio(prediction: Prediction) -> float:
        points, confidence = prediction.points_camera, prediction.confidence
        trusted = (points[..., 2] > 1e-6) & (confidence >= np.median(confidence))
        return focal_median(points, trusted) / float(max(confidence.shape))
