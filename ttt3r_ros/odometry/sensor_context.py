# SPDX-License-Identifier: Apache-2.0
"""What a robot knows besides the image: mount, odometry, gravity, depth; None where it knows nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ttt3r_ros.types import Float32Array, Float64Array


@dataclass(frozen=True)
class SensorContext:
    """All at the stamp of one image."""

    T_base_camera: Float64Array | None = None  # (4, 4) optical camera in the robot's body
    T_odom_base: Float64Array | None = None  # (4, 4) somebody else's odometry
    up_camera: Float64Array | None = None  # (3,) unit, against gravity, in the optical camera
    measured_depth: Float32Array | None = None  # (H, W) [m] seen from this camera, NaN unknown
