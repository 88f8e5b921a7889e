# SPDX-License-Identifier: Apache-2.0
"""Data types of the pipeline: images, intrinsics, predictions and updates.

Transforms are named ``T_parent_child`` and map child coordinates into the parent. Optical frames have
x right, y down, z forward (REP-103). Stamps are integer nanoseconds. Lengths are meters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
UInt8Array = NDArray[np.uint8]
BoolArray = NDArray[np.bool_]
FloatT = TypeVar("FloatT", bound="np.floating[Any]")


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera; pixel centers have integer coordinates, as in sensor_msgs/CameraInfo.

    ``distortion`` contains the coefficients of ``distortion_model`` (ROS names). They apply to normalized
    coordinates, so scaling and cropping do not change them.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    distortion_model: str = ""
    distortion: tuple[float, ...] = ()

    def matrix(self) -> Float64Array:
        """Return the 3x3 camera matrix."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class Frame:
    """One camera image before any processing."""

    stamp_ns: int
    camera_frame: str  # header.frame_id of the image
    rgb: UInt8Array  # (H, W, 3)
    intrinsics: Intrinsics | None = None


@dataclass(frozen=True)
class ImageGeometry:
    """Resize and crop that turn a source image into the network image.

    Coordinates refer to pixel centers: a resize by s maps u to (u + 0.5) * s - 0.5.
    """

    source_width: int
    source_height: int
    resized_width: int
    resized_height: int
    left: int
    top: int
    width: int
    height: int

    @property
    def scale(self) -> tuple[float, float]:
        """Return the resize factors along x and y."""
        return self.resized_width / self.source_width, self.resized_height / self.source_height

    def to_network(self, source: Intrinsics) -> Intrinsics:
        """Return the intrinsics of the network image; ``source`` may be calibrated at another image size."""
        sx = self.resized_width / source.width
        sy = self.resized_height / source.height
        return Intrinsics(
            fx=source.fx * sx,
            fy=source.fy * sy,
            cx=(source.cx + 0.5) * sx - 0.5 - self.left,
            cy=(source.cy + 0.5) * sy - 0.5 - self.top,
            width=self.width,
            height=self.height,
            distortion_model=source.distortion_model,
            distortion=source.distortion,
        )

    def to_source(self, network: Intrinsics) -> Intrinsics:
        """Return the intrinsics of the source image; inverse of `to_network`."""
        sx, sy = self.scale
        return Intrinsics(
            fx=network.fx / sx,
            fy=network.fy / sy,
            cx=(network.cx + self.left + 0.5) / sx - 0.5,
            cy=(network.cy + self.top + 0.5) / sy - 0.5,
            width=self.source_width,
            height=self.source_height,
            distortion_model=network.distortion_model,
            distortion=network.distortion,
        )


@dataclass(frozen=True)
class Prediction:
    """Output of the network for one image, at the resolution (h, w) of the network."""

    points_camera: Float32Array  # (h, w, 3) optical frame
    confidence: Float32Array  # (h, w) in [1, inf)
    T_segment_camera: Float64Array  # (4, 4) the segment has the frame of its first camera
    rgb: UInt8Array  # (h, w, 3) the network image
    geometry: ImageGeometry
    timings_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Update:
    """Result of one frame, in meters: the scale is applied."""

    frame: Frame
    prediction: Prediction
    T_map_camera: Float64Array  # (4, 4) optical camera in the z-up map frame
    intrinsics: Intrinsics  # of the network image; calibrated or estimated
    segment: int  # counts state resets
    timings_s: Mapping[str, float]
    # The same pose split at odom; if the mount is unknown, the base is the camera.
    T_map_odom: Float64Array  # (4, 4)
    T_odom_base: Float64Array  # (4, 4) continuous
    T_base_camera: Float64Array  # (4, 4)
    T_step: Float64Array  # (4, 4) motion of the base since the previous frame, in the base frame
    scale: float  # meters per unit of the network
    pose_covariance: Float64Array  # (6, 6) of the base in odom: translation, then rotation about x, y, z
    twist_covariance: Float64Array  # (6, 6)
    T_ext_odom_base: Float64Array | None = None  # (4, 4) base in external odometry
    fused_fraction: float = 0.0  # of the pixels: confident and near enough for the map
    landmarks: int = 0  # used for the pose; 0: pose of the network

    @property
    def T_map_base(self) -> Float64Array:
        """Return the pose of the base in the map (4, 4)."""
        return self.T_map_odom @ self.T_odom_base
