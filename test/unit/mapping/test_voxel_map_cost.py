# SPDX-License-Identifier: Apache-2.0
"""Work per frame is bounded for any map size, and equals a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttt3r_ros.geometry import T_BODY_OPTICAL, se3_inverse, transform
from ttt3r_ros.mapping.free_space import free_space_mask
from ttt3r_ros.mapping.voxel_hash import EMPTY, VoxelHashTable, unique_keys, voxel_keys
from ttt3r_ros.mapping.voxel_map import VoxelMap
from ttt3r_ros.types import Intrinsics

MAX_VISITS = 16384
SIZE_M = 0.1
CAMERA = Intrinsics(fx=40.0, fy=40.0, cx=39.5, cy=27.5, width=80, height=56)


def put(voxel_map: VoxelMap, points: np.ndarray, weight: float = 1.0, stamp_ns: int = 0) -> None:
    colors = np.full(points.shape, 90, np.uint8)
    weights = np.full(len(points), weight, np.float32)
    voxel_map.integrate(points.astype(np.float32), colors, weights, stamp_ns)


def centers(first: int, count: int) -> np.ndarray:
    """Return the centers of voxels in front of a camera along x, numbered layer by layer."""
    number = np.arange(first, first + count)
    return (
        np.stack((number // 900, number % 30 - 15, number // 30 % 30 - 15), 1) + (20.5, 0.5, 0.5)
    ) * SIZE_M


@given(st.lists(st.integers(0, 50) | st.integers(0, 2**62), max_size=300))
def test_unique_keys_equal_those_of_sorting(values: list[int]) -> None:
    keys = np.array(values, np.int64)
    unique, indices = unique_keys(keys)
    np.testing.assert_array_equal(unique[indices], keys)
    np.testing.assert_array_equal(np.sort(unique), np.unique(keys))


def test_random_frames_equal_a_plain_loop_over_points() -> None:
    rng = np.random.default_rng(0)
    voxel_map = VoxelMap(SIZE_M, 50_000)
    sums: dict[tuple[int, ...], np.ndarray] = {}
    for _ in range(4):
        points = rng.normal(0.0, 0.4, (3000, 3)).astype(np.float32)
        rgb, weights = (
            rng.integers(0, 256, (3000, 3)).astype(np.uint8),
            rng.uniform(1, 9, 3000).astype(np.float32),
        )
        voxel_map.integrate(points, rgb, weights)
        cells = np.floor(points / np.float32(SIZE_M)).astype(int).tolist()
        for cell, point, color, weight in zip(cells, points, rgb, weights, strict=True):
            moment = weight * np.array([*point, *color, 1.0])
            sums[tuple(cell)] = sums.get(tuple(cell), np.zeros(7)) + moment
    found = voxel_map.state_dict()
    expected = np.array(list(sums.values()))
    keys, _ = voxel_keys(((np.array(list(sums)) + 0.5) * SIZE_M).astype(np.float32), SIZE_M)
    order, expected_order = np.argsort(found["keys"]), np.argsort(keys)
    np.testing.assert_array_equal(found["keys"][order], keys[expected_order])
    means = (expected[:, :6] / expected[:, 6:])[expected_order]
    np.testing.assert_allclose(found["mean"][order], means, atol=1e-3, rtol=1e-5)
    np.testing.assert_allclose(found["weight"][order], expected[expected_order, 6], rtol=1e-5)


def test_free_space_equals_a_plain_loop_over_points() -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform((-1, -4, -3), (6, 4, 3), (4000, 3)).astype(np.float32)
    depth = np.kron(rng.uniform(1.0, 6.0, (7, 10)), np.ones((8, 8))).astype(np.float32)
    depth[rng.random(depth.shape) < 0.02] = np.nan
    depth[rng.random(depth.shape) < 0.02] = np.inf
    expected = []
    for x, y, z in transform(se3_inverse(T_BODY_OPTICAL), points):
        column, row = (np.rint(40 * x / z + 39.5), np.rint(40 * y / z + 27.5)) if z > 0 else (-1, -1)
        if not (0 <= column < 80 and 0 <= row < 56):
            expected.append(False)
            continue
        r, c = int(row), int(column)
        nearest = depth[max(0, r - 1) : r + 2, max(0, c - 1) : c + 2].min()  # NaN if one is
        expected.append(bool(z < min(nearest - 0.2, 0.9 * nearest)))
    found = free_space_mask(points, depth, 0.2, CAMERA, T_BODY_OPTICAL)
    assert 100 < sum(expected) < 3000
    assert np.count_nonzero(found != expected) <= 2, "except for rounding"


@pytest.mark.parametrize("voxels", [1000, 40_000, 400_000])
def test_a_frame_carves_a_bounded_number_of_voxels(voxels: int) -> None:
    voxel_map = VoxelMap(SIZE_M, 500_000)
    put(voxel_map, centers(0, voxels), 1000.0)
    before = voxel_map.state_dict()["weight"]
    voxel_map.carve_free_space(np.full((56, 80), 1e4, np.float32), CAMERA, T_BODY_OPTICAL)
    carved = np.count_nonzero(voxel_map.state_dict()["weight"] != before)
    assert 0 < carved <= MAX_VISITS


@pytest.mark.parametrize(
    ("max_voxels", "max_count"), [(1000, 16384), (300_000, 5000), (3_000_000, 16384)]
)
def test_table_slices_are_bounded_and_cover_each_voxel_once(max_voxels: int, max_count: int) -> None:
    table = VoxelHashTable(max_voxels)
    table.find_or_insert(np.arange(min(max_voxels, 200_000), dtype=np.int64) * 7919)
    visited, start, slices = [], 0, 0
    while start < table.capacity:
        slots, end = table.occupied_slots_from(start, max_count)
        assert len(slots) <= max_count
        assert 0 < end - start <= min(2**18, -(-table.capacity // 8))
        visited.append(slots)
        start, slices = end, slices + 1
    np.testing.assert_array_equal(np.concatenate(visited), table.occupied_slots())
    assert slices >= 8


def test_a_full_map_is_updated_in_place() -> None:
    voxel_map = VoxelMap(SIZE_M, 60_000)
    put(voxel_map, centers(0, 60_000))
    table, keys = voxel_map._table, voxel_map._table.keys
    for frame in range(10):
        before = keys.copy()
        put(voxel_map, centers(100_000 + 500 * frame, 500))
        assert len(voxel_map) == 60_000, "as many evicted as inserted"
        evicted = np.setdiff1d(before, keys)
        assert len(evicted) == 500
    assert voxel_map._table is table
    assert voxel_map._table.keys is keys
    assert np.count_nonzero(keys != EMPTY) == 60_000


def test_a_large_full_map_evicts_its_oldest_voxels() -> None:
    voxel_map = VoxelMap(SIZE_M, 60_000)
    for frame in range(60):
        put(voxel_map, centers(1000 * frame, 1000))
    for frame in range(20):
        put(voxel_map, centers(100_000 + 500 * frame, 500))
    frames = voxel_map.state_dict()["last_frame"]
    remaining = np.bincount(frames, minlength=81)[1:61]  # remaining voxels of the first 60 frames
    assert remaining.sum() == 60_000 - 10_000
    assert (remaining[25:] == 1000).all(), "no recent voxel is evicted"
    assert remaining[:10].sum() < 3000


def test_the_cloud_of_a_large_map_is_complete() -> None:
    voxel_map = VoxelMap(SIZE_M, 300_000)
    points = centers(0, 150_000)
    put(voxel_map, points)
    cloud = voxel_map.point_cloud()
    order, expected = np.lexsort(cloud.points.round(2).T), np.lexsort(points.round(2).T)
    np.testing.assert_allclose(cloud.points[order], points[expected], atol=1e-4)
    assert (cloud.rgb == 90).all()
