# SPDX-License-Identifier: Apache-2.0
"""How the voxel map forgets: ghosts, distance, age; how it is moved and saved."""

from __future__ import annotations

import numpy as np
import pytest

from ttt3r_ros.errors import SourceError
from ttt3r_ros.pipeline.voxel_map import VoxelMap
from ttt3r_ros.types import Intrinsics

CAMERA = Intrinsics(40.0, 40.0, 20.0, 15.0, 40, 30)
SLICES = 8  # calls that look at the whole map


def patch(z: float, half: float = 0.2) -> np.ndarray:
    x, y = np.meshgrid(np.arange(-half, half, 0.05) + 0.01, np.arange(-half, half, 0.05) + 0.01)
    return np.stack((x.ravel(), y.ravel(), np.full(x.size, z)), axis=1).astype(np.float32)


def filled(*patches: np.ndarray, times: int = 3, stamp_ns: int = 0) -> VoxelMap:
    voxels = VoxelMap(0.05, 10_000)
    for points in patches:
        for _ in range(times):
            voxels.integrate(
                points,
                np.full((len(points), 3), 100, np.uint8),
                np.full(len(points), 2.0, np.float32),
                stamp_ns,
            )
    return voxels


def look(voxels: VoxelMap, depth: float, times: int = 10) -> None:
    for _ in range(times * SLICES):
        voxels.wear_down_seen_through(np.full((30, 40), depth, np.float32), CAMERA, np.eye(4))


def test_what_the_camera_sees_through_goes() -> None:
    voxels = filled(patch(1.0), patch(3.0))
    look(voxels, 3.0)
    assert sorted({round(float(z), 1) for z in voxels.point_cloud().points[:, 2]}) == [3.0]


@pytest.mark.parametrize("depth", [1.0, 1.05, 0.5, float("nan")])
def test_what_is_seen_hidden_or_unknown_stays(depth: float) -> None:
    voxels = filled(patch(1.0))
    before = len(voxels)
    look(voxels, depth)
    assert len(voxels) == before


def test_what_is_far_away_is_forgotten() -> None:
    voxels = filled(patch(1.0), patch(9.0))
    for _ in range(SLICES):
        voxels.forget(np.zeros(3), max_radius=5.0)
    assert voxels.point_cloud().points[:, 2].max() < 2.0


def test_what_was_not_seen_for_long_is_forgotten() -> None:
    voxels = filled(patch(1.0), stamp_ns=0)
    voxels.integrate(patch(3.0), np.zeros((64, 3), np.uint8), np.ones(64, np.float32), 60 * 10**9)
    for _ in range(SLICES):
        voxels.forget(np.zeros(3), now_ns=60 * 10**9, max_age=30.0)
    assert voxels.point_cloud().points[:, 2].min() > 2.0


def test_a_moved_map_is_the_map_of_moved_points() -> None:
    voxels = filled(patch(1.0))
    T = np.eye(4)
    T[:3, 3] = [1.0, 2.0, 3.0]
    before = voxels.point_cloud().points
    voxels.move(T)
    after = voxels.point_cloud().points
    np.testing.assert_allclose(
        np.sort(after, axis=0), np.sort(before + np.float32([1.0, 2.0, 3.0]), axis=0), atol=1e-5
    )


def test_a_restored_map_goes_on_as_the_saved_one() -> None:
    first = filled(patch(1.0), patch(2.0))
    second = VoxelMap(0.05, 10_000)
    second.restore(first.arrays())
    for voxels in (first, second):
        voxels.integrate(patch(2.0), np.zeros((64, 3), np.uint8), np.ones(64, np.float32), 5)
    a, b = first.point_cloud(), second.point_cloud()
    assert len(first) == len(second)
    order_a, order_b = np.lexsort(a.points.T), np.lexsort(b.points.T)
    np.testing.assert_array_equal(a.points[order_a], b.points[order_b])
    np.testing.assert_array_equal(a.rgb[order_a], b.rgb[order_b])


def test_a_damaged_map_is_refused() -> None:
    voxels = filled(patch(1.0))
    arrays = voxels.arrays()
    name = next(key for key, value in arrays.items() if value.dtype.kind == "f" and value.ndim)
    with pytest.raises(SourceError):
        VoxelMap(0.05, 10_000).restore(arrays | {name: arrays[name][:-1]})
