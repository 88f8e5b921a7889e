# SPDX-License-Identifier: Apache-2.0
"""Distances between two point clouds: accuracy, completion, consistency of normals; ICP."""

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

# Of a cloud, more than 500 views of 224x224; beyond that a random choice is searched.
MOST_POINTS = 26_000_000
_MOST_MEASURED = 200_000  # distances taken of a cloud, to all of the other
_MOST_REGISTERED = 50_000
_NEIGHBORS = 30  # of which a normal is made
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
    """A point cloud (N, 3) that can be searched; its tree is built once, at the first search.

    It takes 48 bytes a point: the points in double precision, which are not copied, and the tree.
    """

    def __init__(self, points: Float64Array) -> None:
        if len(points) < _FEWEST:
            msg = f"a cloud of {len(points)} points is no surface; expected at least {_FEWEST}"
            raise SourceError(msg)
        self.points = np.ascontiguousarray(subsample(points, MOST_POINTS), np.float64)

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.points, balanced_tree=False, compact_nodes=False, copy_data=False)

    @cached_property
    def sample(self) -> NDArray[np.int64]:
        """Return the indices of the points that distances are taken of: all, or a fixed random choice."""
        return subsample(np.arange(len(self.points)), _MOST_MEASURED)

    @cached_property
    def sample_normals(self) -> Float64Array:
        """Return the normals (n, 3) of these points."""
        return self.normals(self.sample)

    def nearest(
        self, points: Float64Array, within_m: float = np.inf
    ) -> tuple[Float64Array, NDArray[np.int64]]:
        """Return distance and index of the nearest point of this surface; infinity where none is near enough."""
        distance_m, index = self._tree.query(points, distance_upper_bound=within_m, workers=-1)
        return distance_m, index

    def normals(self, index: NDArray[np.int64]) -> Float64Array:
        """Return unit normals (n, 3), of either sign, of some of the points, by the spread of their neighbors."""
        unique, back = np.unique(index, return_inverse=True)
        count = min(_NEIGHBORS, len(self.points))
        normals: Float64Array = np.concatenate(
            [
                _plane_normals(self.points[self._tree.query(self.points[part], k=count, workers=-1)[1]])
                for part in np.array_split(unique, len(unique) // 50_000 + 1)
            ]
        )
        return normals[back]


def _plane_normals(neighbors: Float64Array) -> Float64Array:
    """Return the direction of least spread (n, 3) of sets of points (n, k, 3)."""
    centered = neighbors - neighbors.mean(axis=1, keepdims=True)
    normals: Float64Array = np.linalg.eigh(np.einsum("nki,nkj->nij", centered, centered))[1][:, :, 0]
    return normals


def surface_error(
    predicted: Surface, true: Surface, S_true_predicted: Float64Array | None = None
) -> SurfaceError:
    """Compare a predicted cloud with the true one, optionally after a similarity (4, 4).

    A similarity does not change nearest points and planes, so one search tree per cloud serves all alignments.
    """
    S = np.eye(4) if S_true_predicted is None else S_true_predicted
    scale = float(np.cbrt(np.linalg.det(S[:3, :3])))
    R = S[:3, :3] / scale

    accuracy_m, partner = true.nearest(transform(S, predicted.points[predicted.sample]))
    forth = _cosines(predicted.sample_normals @ R.T, true.normals(partner))
    S_back = np.linalg.inv(S).astype(np.float64)
    distance, partner = predicted.nearest(transform(S_back, true.points[true.sample]))
    completion_m = scale * distance
    back = _cosines(true.sample_normals, predicted.normals(partner) @ R.T)
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


def _cosines(ours: Float64Array, theirs: Float64Array) -> Float64Array:
    cosines: Float64Array = np.minimum(np.abs((ours * theirs).sum(axis=1)), 1.0)
    return cosines


def register_icp(
    predicted: Surface, true: Surface, within_m: float, S_true_predicted: Float64Array | None = None
) -> Float64Array:
    """Return the transform (4, 4) from predicted to true points after point-to-point ICP.

    ICP starts from the identity or a similarity and adds a rigid motion. It ends after 30 iterations, or when the
    fraction of points with a correspondence and their distance change by at most 1e-6, or with too few of them.
    """
    S: Float64Array = np.eye(4) if S_true_predicted is None else S_true_predicted
    moving = subsample(predicted.points, _MOST_REGISTERED)
    before = (0.0, 0.0)
    for _ in range(_ROUNDS):
        moved = transform(S, moving)
        distance_m, partner = true.nearest(moved, within_m)
        near = np.isfinite(distance_m)
        if np.count_nonzero(near) < _FEWEST:
            break
        now = (float(near.mean()), float(np.sqrt((distance_m[near] ** 2).mean())))
        if max(abs(now[0] - before[0]), abs(now[1] - before[1])) < _SETTLED:
            break
        S, before = rigid_motion(moved[near], true.points[partner[near]]) @ S, now
    return S


def rigid_motion(source: Float64Array, target: Float64Array) -> Float64Array:
    """Return the rigid motion (4, 4) that brings points (N, 3) nearest to their partners in the least squares."""
    middle_source, middle_target = source.mean(axis=0), target.mean(axis=0)
    U, _, Vt = np.linalg.svd((target - middle_target).T @ (source - middle_source))
    T = np.eye(4)
    T[:3, :3] = U @ np.diag([1.0, 1.0, np.linalg.det(U @ Vt)]) @ Vt
    T[:3, 3] = middle_target - T[:3, :3] @ middle_source
    return T


def subsample(rows: NDArray[Any], most: int) -> NDArray[Any]:
    """Return all rows, or ``most`` of them at random with a fixed seed."""
    if len(rows) <= most:
        return rows
    return rows[np.sort(np.random.default_rng(0).choice(len(rows), most, replace=False))]
