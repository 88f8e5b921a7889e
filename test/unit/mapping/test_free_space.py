# SPDX-License-Identifier: Apache-2.0
"""Removal of voxels: free space, distance and age."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttt3r_ros.geometry import T_BODY_OPTICAL, so3_exp
from ttt3r_ros.mapping.voxel_hash import VoxelHashTable, hash64
from ttt3r_ros.mapping.voxel_map import VoxelMap
from ttt3r_ros.types import Intrinsics

SIZE_M = 0.1
CAMERA = Intrinsics(fx=40.0, fy=40.0, cx=39.5, cy=27.5, width=80, height=56)
SWEEP = 8  # calls that visit every voxel once
FAR_M = 5.0


def put(voxel_map: VoxelMap, points: object, weight: float = 1.0, stamp_ns: int = 0) -> None:
    array = np.atleast_2d(np.asarray(points, np.float32))
    colors = np.full(array.shape, 90, np.uint8)
    voxel_map.integrate(array, colors, np.full(len(array), weight, np.float32), stamp_ns)


def observe_depth(
    voxel_map: VoxelMap,
    depth: float | np.ndarray,
    sweeps: int = 1,
    T_map_camera: np.ndarray = T_BODY_OPTICAL,
) -> None:
    image = np.array(np.broadcast_to(np.asarray(depth, np.float32), (CAMERA.height, CAMERA.width)))
    for _ in range(SWEEP * sweeps):
        voxel_map.carve_free_space(image, CAMERA, T_map_camera)


def points_of(voxel_map: VoxelMap) -> np.ndarray:
    """Return the points ordered by their voxels."""
    points = voxel_map.point_cloud().points
    return points[np.lexsort(np.floor(points / SIZE_M).T)]


def wall(x: float, half_width: float = 1.0) -> np.ndarray:
    """Return a wall at x, perpendicular to the viewing direction of a camera at the origin."""
    side = np.arange(-half_width, half_width, SIZE_M) + SIZE_M / 2
    y, z = (grid.ravel() for grid in np.meshgrid(side, side))
    return np.stack((np.full_like(y, x), y, z), axis=1)


def test_a_moved_object_is_carved_and_the_wall_behind_it_stays() -> None:
    voxel_map = VoxelMap(SIZE_M, 5000)
    put(voxel_map, wall(FAR_M), 10.0)
    put(voxel_map, wall(2.05, 0.4), 10.0)
    observe_depth(voxel_map, FAR_M, sweeps=3)
    assert len(voxel_map) == 400 + 64, "three misses do not remove a voxel of weight 10"
    observe_depth(voxel_map, FAR_M, sweeps=2)
    np.testing.assert_allclose(points_of(voxel_map)[:, 0], FAR_M)
    assert len(voxel_map) == 400


def test_the_version_changes_only_when_a_voxel_is_removed() -> None:
    voxel_map = VoxelMap(SIZE_M, 1000)
    put(voxel_map, (2.05, 0.05, 0.05), 2.0)
    version = voxel_map.version
    observe_depth(voxel_map, FAR_M, sweeps=2)
    assert (voxel_map.version, len(voxel_map)) == (version, 1)
    observe_depth(voxel_map, FAR_M)
    assert voxel_map.version > version
    assert len(voxel_map) == 0


@pytest.mark.parametrize("distance_m", [4.55, 4.95, 5.05, 6.05])
def test_voxels_near_or_behind_the_measured_depth_stay(distance_m: float) -> None:
    voxel_map = VoxelMap(SIZE_M, 1000)
    put(voxel_map, (distance_m, 0.05, 0.05))
    observe_depth(voxel_map, FAR_M, sweeps=20)
    assert len(voxel_map) == 1


@pytest.mark.parametrize(("distance_m", "left"), [(0.95, 1), (0.75, 0)])
def test_near_the_camera_the_margin_is_two_voxels(distance_m: float, left: int) -> None:
    voxel_map = VoxelMap(SIZE_M, 1000)
    put(voxel_map, (distance_m, 0.05, 0.05))
    observe_depth(voxel_map, 1.1, sweeps=2)
    assert len(voxel_map) == left


@pytest.mark.parametrize(
    "point", [(-2.05, 0.05, 0.05), (2.05, 2.55, 0.05), (2.05, 0.05, 2.05), (2.05, 0.05, -2.05)]
)
def test_voxels_outside_the_image_stay(point: tuple[float, ...]) -> None:
    voxel_map = VoxelMap(SIZE_M, 1000)
    put(voxel_map, point)
    observe_depth(voxel_map, FAR_M, sweeps=5)
    assert len(voxel_map) == 1


@pytest.mark.parametrize("depth", [np.nan, 0.0, -1.0])
def test_pixels_without_depth_carve_nothing(depth: float) -> None:
    voxel_map = VoxelMap(SIZE_M, 1000)
    put(voxel_map, wall(2.05))
    observe_depth(voxel_map, depth, sweeps=5)
    assert len(voxel_map) == 400


def test_infinite_depth_carves_the_whole_ray() -> None:
    voxel_map = VoxelMap(SIZE_M, 1000)
    put(voxel_map, wall(2.05, 0.5))
    observe_depth(voxel_map, np.inf, sweeps=2)
    assert len(voxel_map) == 0


def test_pixels_beside_an_object_do_not_carve_its_border() -> None:
    voxel_map = VoxelMap(SIZE_M, 1000)
    # At 2 m a pixel is half a voxel; these two project beside the object, one and two pixels away.
    put(voxel_map, [(2.0, -0.025, 0.0), (2.0, -0.125, 0.0)])
    depth = np.full((CAMERA.height, CAMERA.width), FAR_M, np.float32)
    depth[:, :40] = 2.0
    observe_depth(voxel_map, depth, sweeps=2)
    np.testing.assert_allclose(points_of(voxel_map), [(2.0, -0.025, 0.0)], atol=1e-6)


def test_carving_uses_the_pose_of_the_camera() -> None:
    voxel_map = VoxelMap(SIZE_M, 1000)
    T_map_camera = np.eye(4)
    T_map_camera[:3, :3] = so3_exp(np.array([0.0, 0.0, np.pi / 2]))
    T_map_camera = T_map_camera @ T_BODY_OPTICAL
    T_map_camera[:3, 3] = (10.0, 20.0, 1.0)  # viewing direction: y
    put(voxel_map, [(10.05, 22.05, 1.05), (12.05, 20.05, 1.05)])
    observe_depth(voxel_map, FAR_M, 2, T_map_camera)
    np.testing.assert_allclose(points_of(voxel_map), [(12.05, 20.05, 1.05)], rtol=1e-5)


def test_a_wall_observed_repeatedly_survives_noisy_depths() -> None:
    voxel_map = VoxelMap(SIZE_M, 5000)
    rng = np.random.default_rng(0)
    for _ in range(200):
        put(voxel_map, wall(3.05))
        depth = 3.05 * (1 + 0.1 * rng.normal(size=(CAMERA.height, CAMERA.width)))
        voxel_map.carve_free_space(depth.astype(np.float32), CAMERA, T_BODY_OPTICAL)
    assert len(voxel_map) == 400


def test_one_call_carves_an_eighth_of_the_map() -> None:
    voxel_map = VoxelMap(SIZE_M, 20_000)
    put(voxel_map, wall(2.05))
    sizes = [len(voxel_map)]
    for _ in range(2 * SWEEP):
        voxel_map.carve_free_space(np.full((56, 80), FAR_M, np.float32), CAMERA, T_BODY_OPTICAL)
        sizes.append(len(voxel_map))
    assert sizes[-1] == 0
    assert max(-np.diff(sizes)) < 400 / SWEEP * 1.6


def test_distant_voxels_are_evicted() -> None:
    voxel_map = VoxelMap(SIZE_M, 1000)
    x = np.arange(-50, 50) * SIZE_M + SIZE_M / 2
    put(voxel_map, np.stack((x, np.zeros(100), np.zeros(100)), axis=1))
    for _ in range(SWEEP):
        voxel_map.evict(np.array([1.0, 0.0, 0.0]), max_radius=2.0)
    remaining = points_of(voxel_map)[:, 0]
    np.testing.assert_allclose(remaining, x[np.abs(x - 1.0) <= 2.0], atol=1e-5)


def test_old_voxels_are_evicted_by_the_stamps_of_the_data() -> None:
    voxel_map = VoxelMap(SIZE_M, 1000)
    now_ns = 1_785_000_000 * 10**9
    for age_s in (6, 5, 4):
        put(voxel_map, (age_s + 0.05, 0.05, 0.05), stamp_ns=now_ns - age_s * 10**9)
    put(voxel_map, (9.05, 0.05, 0.05), stamp_ns=now_ns - 20 * 10**9)
    put(voxel_map, (9.05, 0.05, 0.05), stamp_ns=now_ns)  # observed again
    for _ in range(SWEEP):
        voxel_map.evict(np.zeros(3), now_ns=now_ns, max_age=5.0)
    np.testing.assert_allclose(points_of(voxel_map)[:, 0], [4.05, 5.05, 9.05], rtol=1e-5)


def test_without_limits_nothing_is_evicted() -> None:
    voxel_map = VoxelMap(SIZE_M, 1000)
    put(voxel_map, [(900.0, 0.05, 0.05), (0.05, 0.05, 0.05)])
    for _ in range(SWEEP):
        voxel_map.evict(np.zeros(3), now_ns=10**18)
    assert len(voxel_map) == 2


@given(st.lists(st.tuples(st.sets(st.integers(0, 90)), st.sets(st.integers(0, 90))), max_size=12))
def test_a_table_finds_all_keys_after_inserts_and_removals(
    changes: list[tuple[set[int], set[int]]],
) -> None:
    table, expected = VoxelHashTable(91), {}
    for step, (added, removed) in enumerate(changes):
        slots = table.find_or_insert(np.array(sorted(added), np.int64))
        table.stamp_ns[slots] = np.array(sorted(added), np.int64) * 1000 + step
        expected.update({key: key * 1000 + step for key in added})
        table.remove(table.find(np.array(sorted(removed), np.int64)))
        for key in removed:
            expected.pop(key, None)
        keys = np.array(sorted(expected), np.int64)
        slots = table.find(keys)
        assert table.stamp_ns[slots].tolist() == [expected[key] for key in keys.tolist()]
        assert table.count == len(expected) == len(table.occupied_slots())


def test_probe_lengths_stay_short_after_many_evictions_by_radius() -> None:
    voxel_map = VoxelMap(SIZE_M, 2000)
    rng = np.random.default_rng(0)
    for frame in range(400):
        center = np.array([0.2 * frame, 0.0, 0.0])
        put(voxel_map, center + rng.uniform(-0.9, 0.9, (300, 3)))
        voxel_map.evict(center, max_radius=1.5)
    table = voxel_map._table
    slots, mask = table.occupied_slots(), table.capacity - 1
    assert 500 < len(slots) < 2000
    assert ((slots - (hash64(table.keys[slots]) & mask)) & mask).mean() < 0.6


@pytest.mark.timing
def test_carving_half_a_million_voxels_takes_milliseconds() -> None:
    voxel_map = VoxelMap(0.05, 500_000)
    rng = np.random.default_rng(0)
    for _ in range(8):
        put(voxel_map, rng.uniform((0, -4, -2), (8, 4, 2), (100_000, 3)), 1000.0)
    depth = np.full((CAMERA.height, CAMERA.width), 9.0, np.float32)
    spent = []
    for _ in range(SWEEP):
        start = time.perf_counter()
        voxel_map.carve_free_space(depth, CAMERA, T_BODY_OPTICAL)
        spent.append(time.perf_counter() - start)
    assert len(voxel_map) > 350_000
    assert min(spent) < 0.02, "measured: 2.5 ms"
