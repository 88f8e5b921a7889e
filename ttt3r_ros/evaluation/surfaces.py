# SPDX-License-Identifier: Apache-2.0
"""How far two point clouds are from each other: accuracy, completion, consistency of normals; ICP."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import cKDTree

from ttt3r_ros.errors import SourceError
from ttt3r_ros.geometry import transform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.types import Float64Array

_MOST_POINTS = 2_000_000  # of a cloud; more are thinned at random
_MOST_MEASURED = 200_000  # distances taken of a cloud
_MOST_REGISTERED = 50_000
_NEIGHBOURS = 30  # of which a normal is made
_ROUNDS, _SETTLED = 30, 1e-6
_FEWEST = 3


@dataclass(frozen=True)
class SurfaceError:
    """Distances from predicted to true points (accuracy) and back (completion) [m]; normals: mean of both ways.

    The consistency of normals is the absolute cosine between a point's normal and that of its nearest point.
    """

    accuracy_mean: float
    accuracy_median: float
    completion_mean: float
    completion_median: float
    normals_mean: float
    normals_median: float
    normals_accuracy_mean: float
    normals_accuracy_median: float
    normals_completion_mean: float
    normals_completion_median: float


class Surface:
    """A point cloud (N, 3) that can be searched; beyond two million points a fixed random choice of it."""

    def __init__(self, points: Float64Array) -> None:
        if len(points) < _FEWEST:
            msg = f"a cloud of {len(points)} points is no surface; expected at least {_FEWEST}"
            raise SourceError(msg)
        self.points = thinned(np.asarray(points, np.float64), _MOST_POINTS)

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.points, balanced_tree=False, compact_nodes=False)

    def nearest(
        self, points: Float64Array, within_m: float = np.inf
    ) -> tuple[Float64Array, NDArray[np.int64]]:
        """Return distance and index of the nearest point of this surface; infinity where none is near enough."""
        distance_m, index = self._tree.query(points, distance_upper_bound=within_m, workers=-1)
        return distance_m, index

    def normals(self, index: NDArray[np.int64]) -> Float64Array:
        """Return unit normals (n, 3), of either sign, of some of the points, by the spread of their neighbours."""
        wanted, back = np.unique(index, return_inverse=True)
        count = min(_NEIGHBOURS, len(self.points))
        _, neighbours = self._tree.query(self.points[wanted], k=count, workers=-1)
        normals: Float64Array = np.concatenate(
            [
                _plane_normals(self.points[part])
                for part in np.array_split(neighbours, len(wanted) // 50_000 + 1)
            ]
        )
        return normals[back]


def _plane_normals(neighbours: Float64Array) -> Float64Array:
    """Return the direction of least spread (n, 3) of sets of points (n, k, 3)."""
    centred = neighbours - neighbours.mean(axis=1, keepdims=True)
    normals: Float64Array = np.linalg.eigh(np.einsum("nki,nkj->nij", centred, centred))[1][:, :, 0]
    return normals


def surface_error(predicted: Float64Array, true: Float64Array) -> SurfaceError:
    """Compare a predicted cloud (N, 3) with the true one (M, 3) as they lie.

    Raises:
        SourceError: one of them has hardly any points.
    """
    ours, theirs = Surface(predicted), Surface(true)
    accuracy_m, forth = _one_way(ours, theirs)
    completion_m, back = _one_way(theirs, ours)
    return SurfaceError(
        accuracy_mean=float(accuracy_m.mean()),
        accuracy_median=float(np.median(accuracy_m)),
        completion_mean=float(completion_m.mean()),
        completion_median=float(np.median(completion_m)),
        normals_mean=float(forth.mean() + back.mean()) / 2,
        normals_median=float(np.median(forth) + np.median(back)) / 2,
        normals_accuracy_mean=float(forth.mean()),
        normals_accuracy_median=float(np.median(forth)),
        normals_completion_mean=float(back.mean()),
        normals_completion_median=float(np.median(back)),
    )


def _one_way(source: Surface, target: Surface) -> tuple[Float64Array, Float64Array]:
    """Return distances [m] and absolute cosines of normals from points of one surface to the other."""
    chosen = thinned(np.arange(len(source.points)), _MOST_MEASURED)
    distance_m, partner = target.nearest(source.points[chosen])
    cosine = np.abs((source.normals(chosen) * target.normals(partner)).sum(axis=1))
    return distance_m, np.minimum(cosine, 1.0)


def registered(predicted: Float64Array, true: Float64Array, within_m: float) -> Float64Array:
    """Return the rigid motion T_true_predicted (4, 4) found by point-to-point ICP from where the clouds lie.

    At most 30 rounds, ended when neither the share of points with a partner nor their distance changes by more
    than 1e-6. Too few partners leave the motion as it is.
    """
    target, moving = Surface(true), thinned(predicted, _MOST_REGISTERED)
    T: Float64Array = np.eye(4)
    before = (0.0, 0.0)
    for _ in range(_ROUNDS):
        moved = transform(T, moving)
        distance_m, partner = target.nearest(moved, within_m)
        near = np.isfinite(distance_m)
        if np.count_nonzero(near) < _FEWEST:
            break
        now = (float(near.mean()), float(np.sqrt((distance_m[near] ** 2).mean())))
        if max(abs(now[0] - before[0]), abs(now[1] - before[1])) < _SETTLED:
            break
        T, before = rigid_motion(moved[near], target.points[partner[near]]) @ T, now
    return T


def rigid_motion(source: Float64Array, target: Float64Array) -> Float64Array:
    """Return the rigid motion (4, 4) that brings points (N, 3) nearest to their partners in the least squares."""
    middle_source, middle_target = source.mean(axis=0), target.mean(axis=0)
    U, _, Vt = np.linalg.svd((target - middle_target).T @ (source - middle_source))
    T = np.eye(4)
    T[:3, :3] = U @ np.diag([1.0, 1.0, np.linalg.det(U @ Vt)]) @ Vt
    T[:3, 3] = middle_target - T[:3, :3] @ middle_source
    return T


def thinned(rows: NDArray[Any], most: int) -> NDArray[Any]:
    """Return at most so many rows: all, or a random choice that is the same every time."""
    if len(rows) <= most:
        return rows
    return rows[np.sort(np.random.default_rng(0).choice(len(rows), most, replace=False))]
