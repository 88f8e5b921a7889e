# SPDX-License-Identifier: Apache-2.0
"""Reconstructed points against those that true depths and poses make, pixel by pixel the same ones."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.errors import SourceError
from ttt3r_ros.evaluation.surfaces import SurfaceError, registered, surface_error
from ttt3r_ros.evaluation.trajectory import PosesByTime
from ttt3r_ros.geometry import inverse, transform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.io.sequence import StampedPose
    from ttt3r_ros.types import Float32Array, Float64Array, ImageGeometry, Intrinsics, Update


@dataclass(frozen=True)
class _View:
    frame: int
    stamp_ns: int
    predicted_camera: Float32Array  # (N, 3) of its own camera
    true_camera: Float32Array  # (N, 3)


@dataclass(frozen=True)
class ReconstructionError:
    """Figures by alignment: metric (first camera, ICP) and scaled (medians of depth and size, ICP)."""

    figures: dict[str, SurfaceError]
    scale: float  # truth = scale * prediction
    frames: int
    points: int  # pixels with both depths


@dataclass
class ReconstructionComparison:
    """Collects true and predicted points of pixels that have both, in the camera's frame."""

    centre: tuple[float, float] = (1.0, 1.0)  # share of the network image, width and height, that counts
    max_depth_m: float = math.inf
    within_m: float = 0.1  # of ICP
    _views: list[_View] = field(default_factory=list)

    def add(self, update: Update, true_m: Float32Array, frame: int) -> None:
        """Take in one frame with the true depth (h, w) of its camera, of any size.

        Raises:
            SourceError: the lens of the camera is not known.
        """
        if update.frame.intrinsics is None:
            msg = f"image {update.frame.stamp_ns} comes without intrinsics; true points cannot be made"
            raise SourceError(msg)
        prediction = update.prediction
        depth_m = true_depth_in_network_image(true_m, prediction.geometry)
        true = points_of(depth_m, update.intrinsics)
        rows, columns = (
            _middle(count, share) for count, share in zip(depth_m.shape, self.centre[::-1], strict=True)
        )
        depth_m, true, predicted = (
            part[rows, columns] for part in (depth_m, true, prediction.points_camera)
        )
        valid = (depth_m > 0) & (depth_m < self.max_depth_m) & np.isfinite(predicted).all(axis=-1)
        self._views.append(_View(frame, update.frame.stamp_ns, predicted[valid], true[valid]))

    def error(
        self, truth: list[StampedPose], estimate: list[StampedPose], length: int = 0
    ) -> ReconstructionError | None:
        """Return the figures of the first frames (0: all); nothing where no frame has true depth and pose.

        Raises:
            SourceError: there are hardly any points.
        """
        views = [view for view in self._views if not length or view.frame < length]
        poses_true, poses_estimated = PosesByTime(truth), PosesByTime(estimate)
        posed = [
            (view, T_true, T_estimated)
            for view in views
            if (T_true := poses_true.at(view.stamp_ns)) is not None
            and (T_estimated := poses_estimated.at(view.stamp_ns)) is not None
        ]
        if not sum(len(view.true_camera) for view, _, _ in posed):
            return None
        true = _in_first_camera([(view.true_camera, T) for view, T, _ in posed])
        predicted = _in_first_camera([(view.predicted_camera, T) for view, _, T in posed])
        scaled, centred, scale = scaled_by_medians(predicted, true)
        figures = {"metric": self._compared(predicted, true), "scaled": self._compared(scaled, centred)}
        return ReconstructionError(figures, scale, len(posed), len(true))

    def _compared(self, predicted: Float64Array, true: Float64Array) -> SurfaceError:
        T = registered(predicted, true, self.within_m)
        return surface_error(transform(T, predicted), true)


def scaled_by_medians(
    predicted: Float64Array, true: Float64Array
) -> tuple[Float64Array, Float64Array, float]:
    """Bring paired clouds (N, 3) of the first camera together: median z to zero, median norm to the truth's.

    Returns:
        Both clouds, and the factor on the predicted one.
    """
    predicted, true = (cloud - [0.0, 0.0, np.median(cloud[:, 2])] for cloud in (predicted, true))
    size_predicted, size_true = (
        float(np.median(np.linalg.norm(cloud, axis=1))) for cloud in (predicted, true)
    )
    scale = size_true / max(size_predicted, 1e-9)
    return scale * predicted, true, scale


def true_depth_in_network_image(true_m: Float32Array, geometry: ImageGeometry) -> Float32Array:
    """Return the true depth (h, w), of any size, at the pixels of the network's image: that of the nearest pixel."""
    height, width = true_m.shape
    columns = _source_index(geometry.width, geometry.left, width / geometry.resized_width, width)
    rows = _source_index(geometry.height, geometry.top, height / geometry.resized_height, height)
    chosen: Float32Array = np.where(np.isfinite(true_m), true_m, np.float32(0.0))[np.ix_(rows, columns)]
    return chosen


def points_of(depth_m: Float32Array, lens: Intrinsics) -> Float32Array:
    """Return the points (h, w, 3) of a depth image (h, w) in the optical frame."""
    u, v = np.meshgrid(np.arange(depth_m.shape[1]), np.arange(depth_m.shape[0]))
    rays = np.stack(((u - lens.cx) / lens.fx, (v - lens.cy) / lens.fy, np.ones(depth_m.shape)), axis=-1)
    return (rays * depth_m[..., None]).astype(np.float32)


def _source_index(count: int, crop: int, step: float, most: int) -> NDArray[np.int64]:
    index = np.rint((np.arange(count) + crop + 0.5) * step - 0.5).astype(int)
    return np.asarray(np.clip(index, 0, most - 1))


def _middle(count: int, share: float) -> slice:
    kept = max(1, round(count * share))
    begin = (count - kept) // 2
    return slice(begin, begin + kept)


def _in_first_camera(views: list[tuple[Float32Array, Float64Array]]) -> Float64Array:
    """Return all points (N, 3) in the frame of the first view's camera."""
    T_first_world = inverse(views[0][1])
    return np.concatenate(
        [transform(T_first_world @ T, points.astype(np.float64)) for points, T in views]
    )
