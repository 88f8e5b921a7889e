# SPDX-License-Identifier: Apache-2.0
"""Values that the pipeline passes on: images, intrinsics, predictions and updates.

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

    ``distortion`` holds the coefficients of ``distortion_model`` (ROS names); they act on normalized
    coordinates and therefore survive scaling and cropping unchanged.
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
    """One camera image as it came in."""

    stamp_ns: int
    camera_frame: str  # the image's header.frame_id
    rgb: UInt8Array  # (H, W, 3)
    intrinsics: Intrinsics | None = None


@dataclass(frozen=True)
class ImageGeometry:
    """How a source image became the network's image: resized, then cropped.

    Coordinates refer to pixel centers, so a resize by s maps u to (u + 0.5) * s - 0.5.
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
        """Return the intrinsics of the network's image for a camera given at any size of the source."""
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
        """Return the intrinsics of the source image; the exact inverse of `to_network`."""
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
    """What the network says about one image, at the network's resolution (h, w)."""

    points_camera: Float32Array  # (h, w, 3) optical frame
    confidence: Float32Array  # (h, w) in [1, inf)
    T_segment_camera: Float64Array  # (4, 4) camera in the first camera of this segment
    rgb: UInt8Array  # (h, w, 3) the network's own image
    geometry: ImageGeometry
    timings_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Update:
    """The result of showing one frame to the reconstructor; lengths are meters, the scale applied."""

    frame: Frame
    prediction: Prediction
    T_map_camera: Float64Array  # (4, 4) optical camera in the z-up map frame
    intrinsics: Intrinsics  # of the network's image; given or estimated
    segment: int  # counts state resets
    timings_s: Mapping[str, float]
    # The same place by way of odom; without a known mount the body (base) is the camera itself.
    T_map_odom: Float64Array  # (4, 4)
    T_odom_base: Float64Array  # (4, 4) never jumps
    T_base_camera: Float64Array  # (4, 4)
    T_step: Float64Array  # (4, 4) motion of the body since the frame before, in its own frame
    scale: float  # meters per unit of the network
    pose_covariance: Float64Array  # (6, 6) of the body in odom: x y z, then rotations about them
    twist_covariance: Float64Array  # (6, 6)
    T_ext_odom_base: Float64Array | None = None  # (4, 4) the body in somebody else's odometry
    fused_fraction: float = 0.0  # of its pixels: those sure and near enough for the map
    landmarks: int = 0  # followed corners that tell the pose; 0: the network alone does

    @property
    def T_map_base(self) -> Float64Array:
        """Return the body in the map (4, 4)."""
        return self.T_map_odom @ self.T_odom_base
