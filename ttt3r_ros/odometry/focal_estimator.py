# SPDX-License-Identifier: Apache-2.0
"""Focal lengths of uncalibrated cameras, estimated from the point maps of the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.geometry import focal_median
from ttt3r_ros.state_dict import StateReader
from ttt3r_ros.types import Intrinsics, Prediction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ttt3r_ros.state_dict import StateDict

# Focal length over the long side of the image; fields of view from 127 to 6 degrees.
PLAUSIBLE_RATIOS = (0.25, 10.0)
INITIAL_RATIO = 0.866  # 60 degrees across the long side, until the first plausible estimate
EMA_WEIGHT = 0.05  # final weight of a new frame; the first frames have equal weights


class FocalEstimator:
    """Averages per-frame estimates of one camera on a logarithmic scale; both axes have the same focal length."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Discard all estimates."""
        self._log_ratio = float(np.log(INITIAL_RATIO))
        self._estimates = 0

    def update(self, prediction: Prediction) -> Intrinsics:
        """Add one frame; return the intrinsics of the network's image."""
        height, width = prediction.confidence.shape
        ratio = _focal_ratio(prediction)
        if PLAUSIBLE_RATIOS[0] <= ratio <= PLAUSIBLE_RATIOS[1]:  # False for NaN
            self._estimates += 1
            weight = max(1.0 / self._estimates, EMA_WEIGHT)
            self._log_ratio += weight * (float(np.log(ratio)) - self._log_ratio)
        focal = float(np.exp(self._log_ratio)) * max(height, width)
        return Intrinsics(focal, focal, float(width // 2), float(height // 2), width, height)

    def state_dict(self) -> StateDict:
        """Return the average and the number of estimates in it."""
        return {"log_ratio": self._log_ratio, "estimates": self._estimates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`.

        Raises:
            SourceError: an entry is invalid; nothing has changed.
        """
        with StateReader(state, "focal estimator") as read:
            log_ratio, estimates = read.number("log_ratio"), read.integer("estimates")
            low, high = np.log(PLAUSIBLE_RATIOS)
            read.require(low - 1e-9 <= log_ratio <= high + 1e-9, f"log_ratio is {log_ratio}")
        self._log_ratio, self._estimates = log_ratio, estimates


class FocalEstimators:
    """One `FocalEstimator` for each camera frame."""

    def __init__(self) -> None:
        self._estimators: dict[str, FocalEstimator] = {}

    def reset(self) -> None:
        """Discard all cameras."""
        self._estimators.clear()

    def update(self, camera_frame: str, prediction: Prediction) -> Intrinsics:
        """Add one frame of a camera; return the intrinsics of the network's image."""
        return self._estimators.setdefault(camera_frame, FocalEstimator()).update(prediction)

    def state_dict(self) -> StateDict:
        """Return the camera frames and the states of their estimators."""
        return {
            "camera_frames": np.array(list(self._estimators), np.str_),
            **{str(k): focal.state_dict() for k, focal in enumerate(self._estimators.values())},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`.

        Raises:
            SourceError: an entry is invalid; nothing has changed.
        """
        estimators = {}
        with StateReader(state, "focal estimators") as read:
            camera_frames = read.texts("camera_frames")
            read.require(len(set(camera_frames)) == len(camera_frames), "camera_frames are not distinct")
            for k, camera_frame in enumerate(camera_frames):
                estimators[camera_frame] = FocalEstimator()
                estimators[camera_frame].load_state_dict(read.group(str(k)))
        self._estimators = estimators


def _focal_ratio(prediction: Prediction) -> float:
    """Return the focal length over the long side of the image; NaN if no point is usable."""
    points, confidence = prediction.points_camera, prediction.confidence
    usable = (points[..., 2] > 1e-6) & (confidence >= np.median(confidence))
    return focal_median(points, usable) / float(max(confidence.shape))
