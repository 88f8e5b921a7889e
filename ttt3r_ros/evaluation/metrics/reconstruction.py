# SPDX-License-Identifier: Apache-2.0
"""Reconstructed points against points from true depth and poses, of the same pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.errors import SourceError
from ttt3r_ros.evaluation.metrics.surfaces import (
    MOST_POINTS,
    Surface,
    SurfaceError,
    register_icp,
    surface_error,
)
from ttt3r_ros.evaluation.metrics.trajectory import PosesByTime
from ttt3r_ros.geometry import se3_inverse, transform, unproject
from ttt3r_ros.images.depth_resampling import sample_nearest_at_network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ttt3r_ros.io.sequence import StampedPose
    from ttt3r_ros.types import (
        BoolArray,
        Float32Array,
        Float64Array,
        ImageGeometry,
        Intrinsics,
        Update,
    )


@dataclass(frozen=True)
class _View:
    """The pixels of an image that have both depths."""

    frame: int
    stamp_ns: int
    predicted: Float32Array  # (N, 3) of its own camera
    true: Float32Array  # (N, 3)
    is_central: BoolArray  # (N,) those that are measured; the others only help to align

    @property
    def measured(self) -> int:
        return int(np.count_nonzero(self.is_central))

    def subsample(self, fraction: float) -> _View:
        """Return a random fraction of the pixels, the same every time."""
        if fraction >= 1:
            return self
        kept = np.random.default_rng(self.frame).random(len(self.true)) < fraction
        return replace(
            self, predicted=self.predicted[kept], true=self.true[kept], is_central=self.is_central[kept]
        )


@dataclass(frozen=True)
class ReconstructionError:
    """Figures by alignment: metric (first camera, ICP) and scaled (medians of depth and size, ICP)."""

    figures: dict[str, SurfaceError]
    scale: float  # truth = scale * prediction
    frames: int
    points: int  # pixels with both depths that are measured
    share: float  # of the pixels that memory allowed to keep


@dataclass
class ReconstructionComparison:
    """Collects true and predicted points of pixels that have both, in the camera's frame, 25 bytes a pixel."""

    center: tuple[float, float] = (1.0, 1.0)  # measured fraction of the network image's width and height
    max_depth_m: float = math.inf
    within_m: float = 0.1  # of ICP
    limit: int = 0  # frames that the longest evaluation takes (0: all); later ones are not kept
    most_points: int = MOST_POINTS  # measured ones; beyond, every second pixel goes, over and over
    _views: list[_View] = field(default_factory=list)
    _share: float = 1.0
    _measured: int = 0

    def add(self, update: Update, true_m: Float32Array, frame: int) -> None:
        """Add one frame with the true depth (h, w) of its camera, of any size.

        Raises:
            SourceError: the intrinsics of the camera are unknown.
        """
        if self.limit and frame >= self.limit:
            return
        if update.frame.intrinsics is None:
            msg = f"image {update.frame.stamp_ns} has no intrinsics; true points cannot be computed"
            raise SourceError(msg)
        predicted = update.prediction.points_camera
        depth_m = true_depth_in_network_image(true_m, update.prediction.geometry)
        valid = (depth_m > 0) & (depth_m < self.max_depth_m) & np.isfinite(predicted).all(axis=-1)
        is_central = np.zeros(depth_m.shape, bool)
        rows, columns = map(_middle, depth_m.shape, self.center[::-1])
        is_central[rows, columns] = True
        self._keep(
            _View(
                frame,
                update.frame.stamp_ns,
                predicted[valid].astype(np.float32),
                unproject_depth(depth_m, update.intrinsics)[valid],
                is_central[valid],
            )
        )

    def _keep(self, view: _View) -> None:
        self._views.append(view.subsample(self._share))
        self._measured += self._views[-1].measured
        while self._measured > self.most_points:
            self._share /= 2
            self._views = [one.subsample(0.5) for one in self._views]
            self._measured = sum(one.measured for one in self._views)

    def error(
        self, truth: list[StampedPose], estimate: list[StampedPose], length: int = 0
    ) -> ReconstructionError | None:
        """Return the figures of the first frames (0: all); nothing where no frame has true depth and pose.

        Raises:
            SourceError: there are hardly any points.
        """
        poses_true, poses_estimated = PosesByTime(truth), PosesByTime(estimate)
        posed = [
            (view, T_true, T_estimated)
            for view in self._views
            if (not length or view.frame < length)
            and (T_true := poses_true.at(view.stamp_ns)) is not None
            and (T_estimated := poses_estimated.at(view.stamp_ns)) is not None
        ]
        if not sum(view.measured for view, _, _ in posed):
            return None
        of_true = PosedClouds([(view.true, T) for view, T, _ in posed])
        of_predicted = PosedClouds([(view.predicted, T) for view, _, T in posed])
        S_scaled, scale = align_by_medians(of_predicted, of_true)

        is_central = [view.is_central for view, _, _ in posed]
        true, predicted = Surface(of_true.merge(is_central)), Surface(of_predicted.merge(is_central))
        figures = {
            name: surface_error(predicted, true, register_icp(predicted, true, self.within_m, S))
            for name, S in (("metric", np.eye(4)), ("scaled", S_scaled))
        }
        measured = sum(view.measured for view, _, _ in posed)
        return ReconstructionError(figures, scale, len(posed), measured, self._share)


class PosedClouds:
    """Points (N, 3) of several cameras with their poses, in the frame of the first camera, one cloud at a time."""

    def __init__(self, views: list[tuple[Float32Array, Float64Array]]) -> None:
        self._views = views
        self._T_first_world = se3_inverse(views[0][1])

    def __len__(self) -> int:
        return sum(len(points) for points, _ in self._views)

    def __iter__(self) -> Iterator[Float64Array]:
        return (self._transform(points, T) for points, T in self._views)

    def merge(self, chosen: list[BoolArray]) -> Float64Array:
        """Return the chosen points of all as one cloud (M, 3)."""
        cloud = np.empty((sum(map(np.count_nonzero, chosen)), 3))
        end = 0
        for (points, T), kept in zip(self._views, chosen, strict=True):
            begin, end = end, end + int(np.count_nonzero(kept))
            cloud[begin:end] = self._transform(points[kept], T)
        return cloud

    def _transform(self, points: Float32Array, T_world_camera: Float64Array) -> Float64Array:
        return transform(self._T_first_world @ T_world_camera, points.astype(np.float64))


def align_by_medians(predicted: PosedClouds, true: PosedClouds) -> tuple[Float64Array, float]:
    """Align paired clouds of the first camera by the medians of depth and size over all points.

    Returns:
        The similarity (4, 4) from predicted to true points, and its factor: with the median z of both at zero, their
        median distances from the origin are the same.
    """
    middle_predicted, middle_true = (_median(clouds, _depths) for clouds in (predicted, true))
    size_predicted = _median(predicted, lambda cloud: _distances(cloud, middle_predicted))
    size_true = _median(true, lambda cloud: _distances(cloud, middle_true))
    scale = size_true / max(size_predicted, 1e-9)
    S = np.diag([scale, scale, scale, 1.0])
    S[2, 3] = middle_true - scale * middle_predicted
    return S, scale


def _median(clouds: PosedClouds, of: Callable[[Float64Array], Float64Array]) -> float:
    """Return the median of a function (n, 3) -> (n,) over all points, 4 bytes each."""
    values = np.empty(len(clouds), np.float32)
    end = 0
    for cloud in clouds:
        begin, end = end, end + len(cloud)
        values[begin:end] = of(cloud)
    return float(np.median(values, overwrite_input=True))


def _depths(cloud: Float64Array) -> Float64Array:
    return cloud[:, 2]


def _distances(cloud: Float64Array, middle_m: float) -> Float64Array:
    distances: Float64Array = np.linalg.norm(cloud - [0.0, 0.0, middle_m], axis=1)
    return distances


def true_depth_in_network_image(true_m: Float32Array, geometry: ImageGeometry) -> Float32Array:
    """Return the true depth (H, W), of any size, at the pixels (h, w) of the network's image; 0 where it is unknown."""
    sampled = sample_nearest_at_network(true_m, geometry)
    return np.where(np.isfinite(sampled), sampled, np.float32(0.0))


def unproject_depth(depth_m: Float32Array, lens: Intrinsics) -> Float32Array:
    """Return the points (h, w, 3) of a depth image (h, w) in the optical frame."""
    return unproject(depth_m.astype(np.float64), lens).astype(np.float32)


def _middle(count: int, share: float) -> slice:
    kept = max(1, round(count * share))
    begin = (count - kept) // 2
    return slice(begin, begin + kept)
