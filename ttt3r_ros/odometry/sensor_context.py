# SPDX-License-Identifier: Apache-2.0
"""Sensor data at the stamp of an image: mount, external odometry, up direction and measured depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ttt3r_ros.types import Float32Array, Float64Array


@dataclass(frozen=True)
class SensorContext:
    """Sensor data at the stamp of one image; None where there is none."""

    T_base_camera: Float64Array | None = None  # (4, 4) mount of the optical camera
    T_odom_base: Float64Array | None = None  # (4, 4) in the external odometry
    up_camera: Float64Array | None = None  # (3,) unit vector against gravity in the optical camera
    measured_depth: Float32Array | None = None  # (H, W) [m] in the view of this camera; NaN: unknown
