# SPDX-License-Identifier: Apache-2.0
"""Scale correction: meters per unit of the network, estimated from the sensor that `scale.source` names.

The scale applies to later steps and points. It does not move existing points of the map and poses in odom.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ttt3r_ros.images.depth_resampling import sample_at_network
from ttt3r_ros.odometry.scale_estimation import (
    OdometryScaleEstimator,
    ScaleEstimator,
    depth_ratio,
    height_ratio,
)
from ttt3r_ros.state_dict import StateReader, load_all

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ttt3r_ros.config import ScaleConfig
    from ttt3r_ros.odometry.ground_plane import Floor
    from ttt3r_ros.odometry.sensor_context import SensorContext
    from ttt3r_ros.state_dict import StateDict
    from ttt3r_ros.types import Float64Array, Prediction


class ScaleCorrection:
    """Updates the scale before a frame is placed (depth, camera height) or after it (odometry, baseline)."""

    def __init__(self, config: ScaleConfig, *, by_baseline: bool = False) -> None:
        # The source never changes while a session runs; the parameters of the estimators may.
        self._source = "baseline" if by_baseline and config.source == "network" else config.source
        self._config = config
        self._estimator = ScaleEstimator(config.ema_weight)
        self._odometry = OdometryScaleEstimator(config.min_translation)

    def configure(self, config: ScaleConfig) -> None:
        """Apply changed settings."""
        self._config = config
        self._estimator.ema_weight = config.ema_weight
        self._odometry.min_translation = config.min_translation

    def reset(self) -> None:
        """Discard all measurements."""
        self._estimator.reset()
        self._odometry.reset()

    @property
    def scale(self) -> float:
        """Return meters per unit of the network."""
        if self._source == "fixed":
            return self._config.fixed
        return self._estimator.scale if self._is_measured else 1.0

    @property
    def source(self) -> str:
        """Return the source of the scale as text for diagnostics."""
        unmeasured = self._is_measured and not self._estimator.measurements
        return f"{self._source}, not measured yet" if unmeasured else self._source

    @property
    def needs_floor(self) -> bool:
        """Return whether the floor has to be fitted in every frame."""
        return self._source == "camera_height"

    @property
    def _is_measured(self) -> bool:
        return self._source not in ("network", "fixed")

    def update_from_depth(self, prediction: Prediction, context: SensorContext) -> None:
        """Compare the measured depth with the predicted one, which is still in the network's unit."""
        if self._source == "depth" and context.measured_depth is not None:
            self._update(
                depth_ratio(
                    sample_at_network(context.measured_depth, prediction.geometry),
                    prediction.points_camera[..., 2],
                    prediction.confidence,
                )
            )

    def update_from_camera_height(self, floor: Floor | None, context: SensorContext) -> None:
        """Compare the camera's height over the floor with the fitted one, which is in the network's unit."""
        if self._source == "camera_height" and floor is not None:
            self._update(height_ratio(self._camera_height(context), floor.height))

    def update_from_odometry(
        self, T_ext_odom_base: Float64Array | None, T_odom_base: Float64Array, segment: int
    ) -> None:
        """Compare the path of the body in external odometry with the integrated one; poses are (4, 4)."""
        if self._source == "odometry" and T_ext_odom_base is not None:
            ratio = self._odometry.update(T_ext_odom_base, T_odom_base, segment)
            self._update(None if ratio is None else ratio * self.scale)

    def update_from_baseline(self, ratio: float) -> None:
        """Take the ratio of the known distance between two cameras of a rig to the predicted one."""
        if self._source == "baseline":
            self._update(ratio)

    def on_state_reset(self, segment_scale_ratio: float | None) -> None:
        """Keep distances in meters continuous where a state reset changes the network's unit."""
        if segment_scale_ratio is not None and self._is_measured:
            self._estimator.on_state_reset(segment_scale_ratio)

    def continue_from(self, scale: float) -> None:
        """Continue with the scale of another session as the only measurement."""
        self.reset()
        self._estimator.update(scale)

    def state_dict(self) -> StateDict:
        """Return the scale and a copy of the measurements."""
        return {
            "scale": float(self.scale),  # only for `continue_map`
            "estimator": self._estimator.state_dict(),
            "odometry": self._odometry.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`.

        Raises:
            SourceError: an entry is invalid; nothing has changed.
        """
        read_scale(state)
        load_all(
            {"estimator": self._estimator, "odometry": self._odometry},
            {name: group for name, group in state.items() if name != "scale"},
        )

    def _update(self, ratio: float | None) -> None:
        if ratio is not None:
            self._estimator.update(ratio)

    def _camera_height(self, context: SensorContext) -> float:
        if self._config.camera_height or context.T_base_camera is None:
            return self._config.camera_height
        return float(context.T_base_camera[2, 3])


def read_scale(state: Mapping[str, Any]) -> float:
    """Return the scale [m per unit] of a `ScaleCorrection.state_dict`; raise `SourceError` if it is not positive."""
    read = StateReader(state, "scale_correction")
    scale = read.number("scale")
    read.require(scale > 0.0, f"scale is {scale}; expected a positive number")
    return scale
