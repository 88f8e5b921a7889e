# SPDX-License-Identifier: Apache-2.0
"""One slowly changing factor from the network's lengths to meters, from whatever can measure it (`scale.source`).

It acts on what comes: steps and points after a correction. What lies in the map and in odom stays where it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.odometry.scale_estimation import OdometryScale, ScaleEstimator, depth_ratio, height_ratio

if TYPE_CHECKING:
    from ttt3r_ros.config import ScaleConfig
    from ttt3r_ros.odometry.ground_plane import Floor
    from ttt3r_ros.odometry.sensor_context import Surroundings
    from ttt3r_ros.odometry.session import Sighting
    from ttt3r_ros.types import Float32Array, Float64Array, ImageGeometry


class Ms:
    """Measures the factor before a frame is placed (depth, height) or after (odometry)."""

    def __init__(self, config: ScaleConfig, *, by_baseline: bool = False) -> None:
        # What is measured never changes while a session runs; the numbers that guide it may.
        self._source = "baseline" if by_baseline and config.source == "none" else config.source
        self._config = config
        self._estimator = ScaleEstimator(config.smoothing)
        self._odometry = OdometryScale(config.min_motion)

    def configure(self, config: ScaleConfig) -> None:
        """Follow a live change of settings."""
        self._config = config
        self._estimator.smoothing = config.smoothing
        self._odometry.min_motion = config.min_motion

    def restart(self) -> None:
        """Forget what was measured."""
        self._estimator.restart()
        self._odometry.restart()

    @property
    def factor(self) -> float:
        """Return meters per unit of the network."""
        if self._source == "fixed":
            return self._config.fixed
        return self._estimator.value if self._measuring else 1.0

    @property
    def source(self) -> str:
        """Return where the factor comes from, in a word for people."""
        unmeasured = self._measuring and not self._estimator.measurements
        return f"{self._source}, not measured yet" if unmeasured else self._source

    @property
    def needs_floor(self) -> bool:
        """Tell whether every frame's floor is of use."""
        return self._source == "camera_height"

    @property
    def _measuring(self) -> bool:
        return self._source not in ("none", "fixed")

    def restore(self, factor: float) -> None:
        """Go on from a saved factor."""
        self.restart()
        self._estimator.measure(factor)

    def look(self, sighting: Sighting, surroundings: Surroundings, floor: Floor | None) -> None:
        """Measure by depth or by the height over the floor, in the network's units before the factor."""
        prediction = sighting.prediction
        if self._source == "depth" and surroundings.measured_depth is not None:
            self._measure(
                depth_ratio(
                    _resampled(surroundings.measured_depth, prediction.geometry),
                    prediction.points_camera[..., 2],
                    prediction.confidence,
                )
            )
        if self._source == "camera_height" and floor is not None:
            self._measure(height_ratio(self._camera_height(surroundings), floor.height))

    def move(self, T_theirs_base: Float64Array | None, T_ours_base: Float64Array, segment: int) -> None:
        """Measure by odometry: the body in their frame and in ours, (4, 4) each."""
        if self._source == "odometry" and T_theirs_base is not None:
            ratio = self._odometry.observe(T_theirs_base, T_ours_base, segment)
            self._measure(None if ratio is None else ratio * self.factor)

    def see_baseline(self, ratio: float) -> None:
        """Measure by a known distance between two cameras of a rig, over the network's."""
        if self._source == "baseline":
            self._measure(ratio)

    def cross_seam(self, ratio: float | None) -> None:
        """Keep lengths continuous where the network's own scale jumps at a state reset."""
        if ratio is not None and self._measuring:
            self._estimator.at_reset(ratio)

    def _measure(self, ratio: float | None) -> None:
        if ratio is not None:
            self._estimator.measure(ratio)

    def _camera_height(self, surroundings: Surroundings) -> float:
        if self._config.camera_height or surroundings.T_base_camera is None:
            return self._config.camera_height
        return float(surroundings.T_base_camera[2, 3])


def _resampled(depth: Float32Array, geometry: ImageGeometry) -> Float32Array:
    """Return the nearest values of a depth image (H, W), seen as the source image, on the network's grid."""
    rows = (np.arange(geometry.height) + geometry.top + 0.5) / geometry.resized_height * depth.shape[0]
    columns = (np.arange(geometry.width) + geometry.left + 0.5) / geometry.resized_width * depth.shape[1]
    resampled: Float32Array = depth[rows.astype(int)[:, None], columns.astype(int)]
    return resampled
