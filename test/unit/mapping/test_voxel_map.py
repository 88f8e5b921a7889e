# SPDX-License-Identifier: Apache-2.0
"""Voxel map: means, bound, eviction and threads."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttt3r_ros.mapping.voxel_hash import hash64
from ttt3r_ros.mapping.voxel_map import VoxelMap

if TYPE_CHECKING:
    from random import Random

SIZE_M = 0.5


def put(
    voxel_map: VoxelMap,
    points: object,
    rgb: object = (0, 0, 0),
    weights: object = 1.0,
) -> None:
    array = np.atleast_2d(np.asarray(points, np.float32))
    colors = np.broadcast_to(np.asarray(rgb, np.uint8), array.shape)
    voxel_map.integrate(array, colors, np.broadcast_to(np.asarray(weights, np.float32), len(array)))


def content(voxel_map: VoxelMap) -> tuple[np.ndarray, np.ndarray]:
    """Return points and colors in the order of their voxels."""
    cloud = voxel_map.point_cloud()
    order = np.lexsort(np.floor(cloud.points / SIZE_M).T)
    return cloud.points[order], cloud.rgb[order]


def row(first: int, count: int) -> np.ndarray:
    """Return the centers of voxels side by side along x."""
    x = (np.arange(first, first + count) + 0.5) * SIZE_M
    return np.stack((x, np.full(count, 0.25), np.full(count, 0.25)), axis=1)


def cells(voxel_map: VoxelMap) -> set[int]:
    return set(np.floor(voxel_map.point_cloud().points[:, 0] / SIZE_M).astype(int).tolist())


Observation = tuple[tuple[float, ...], tuple[int, ...], float]  # point, color, weight

observations = st.lists(
    st.tuples(
        st.tuples(*[st.integers(-12, 12).map(lambda n: n / 10 + 0.03)] * 3),
        st.tuples(*[st.integers(0, 255)] * 3),
        st.integers(1, 20).map(float),
    ),
    min_size=1,
    max_size=40,
)


@given(observations, st.randoms(use_true_random=False), st.integers(1, 5))
def test_the_map_does_not_depend_on_order_or_batches(
    observed: list[Observation], random: Random, batches: int
) -> None:
    shuffled = observed.copy()
    random.shuffle(shuffled)
    at_once, in_batches = VoxelMap(SIZE_M, 1000), VoxelMap(SIZE_M, 1000)
    put(at_once, *zip(*observed, strict=True))
    for start in range(batches):
        if part := shuffled[start::batches]:
            put(in_batches, *zip(*part, strict=True))
    points, rgb = content(at_once)
    points_in_batches, rgb_in_batches = content(in_batches)
    np.testing.assert_allclose(points_in_batches, points, atol=1e-5)
    assert np.abs(rgb.astype(int) - rgb_in_batches).max() <= 1, "except for rounding"


def test_a_voxel_has_the_weighted_mean_of_position_and_color() -> None:
    voxel_map = VoxelMap(SIZE_M, 1000)
    put(voxel_map, [(0.1, 0.1, 0.1), (0.3, 0.1, 0.1)], [(0, 100, 0), (100, 100, 0)], [1.0, 3.0])
    put(voxel_map, (0.45, 0.1, 0.3), (250, 100, 80), 4.0)
    points, rgb = content(voxel_map)
    np.testing.assert_allclose(points, [[(0.1 + 0.9 + 1.8) / 8, 0.1, 0.2]], atol=1e-6)
    np.testing.assert_array_equal(rgb, [[round((300 + 1000) / 8), 100, 40]])


def test_an_old_voxel_adapts_to_new_observations() -> None:
    voxel_map = VoxelMap(SIZE_M, 1000)
    put(voxel_map, (0.1, 0.1, 0.1), weights=1e9)
    for _ in range(30):
        put(voxel_map, (0.4, 0.1, 0.1), weights=100.0)
    assert content(voxel_map)[0][0, 0] == pytest.approx(0.4, abs=0.05)


def test_voxels_on_both_sides_of_zero_are_distinct() -> None:
    voxel_map = VoxelMap(SIZE_M, 1000)
    corners = np.array(np.meshgrid(*[(-0.1, 0.1)] * 3)).reshape(3, -1).T
    put(voxel_map, corners)
    assert len(voxel_map) == 8
    np.testing.assert_allclose(
        np.sort(voxel_map.point_cloud().points, axis=0), np.sort(corners, axis=0), atol=1e-6
    )


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("far_m", [-1e30, -6e5, 6e5, 1e30])
def test_points_outside_the_grid_are_ignored(axis: int, far_m: float) -> None:
    voxel_map = VoxelMap(SIZE_M, 1000)
    outside = np.full(3, 0.1)
    outside[axis] = far_m
    put(voxel_map, outside)
    assert len(voxel_map) == 0
    put(voxel_map, [outside, (0.1, 0.1, 0.1)])
    np.testing.assert_allclose(voxel_map.point_cloud().points, [[0.1, 0.1, 0.1]], rtol=1e-6)


@pytest.mark.parametrize("axis", range(3))
def test_points_500_kilometers_apart_are_distinct(axis: int) -> None:
    voxel_map = VoxelMap(SIZE_M, 1000)
    for sign in (-1, 1):
        far = np.full(3, 0.25)
        far[axis] = sign * 5.2e5
        put(voxel_map, [far, np.full(3, 0.25)])
    assert len(voxel_map) == 3


@given(st.lists(st.tuples(st.integers(-300, 300), st.integers(1, 260)), min_size=1, max_size=30))
def test_the_bound_is_never_exceeded(frames: list[tuple[int, int]]) -> None:
    voxel_map = VoxelMap(SIZE_M, 100)
    for first, count in frames:
        put(voxel_map, row(first, count))
        cloud = voxel_map.point_cloud()
        assert len(voxel_map) == len(cloud.points) <= 100
        assert len(cells(voxel_map)) == len(voxel_map), "each voxel once"
        assert cells(voxel_map) >= set(range(first, first + count)) or count > 100, (
            "observed voxels stay"
        )


def test_the_oldest_voxels_are_evicted_first() -> None:
    voxel_map = VoxelMap(SIZE_M, 100)
    for first in (0, 30, 60):
        put(voxel_map, row(first, 30))
    put(voxel_map, row(0, 10))  # observed again
    put(voxel_map, row(200, 40))
    remaining = cells(voxel_map)
    assert remaining >= set(range(200, 240)) | set(range(10)), "observed last"
    assert remaining & set(range(60, 90)), "observed before"
    assert not remaining & set(range(10, 30)), "oldest"


def test_a_static_camera_evicts_nothing() -> None:
    voxel_map = VoxelMap(SIZE_M, 100)
    put(voxel_map, row(500, 20))
    for _ in range(3):
        put(voxel_map, row(0, 70))
    assert cells(voxel_map) == set(range(70)) | set(range(500, 520))


@pytest.mark.parametrize("in_view", [10, 60, 80, 90])
def test_observed_voxels_keep_their_mean_when_others_are_evicted(in_view: int) -> None:
    voxel_map = VoxelMap(SIZE_M, 100)
    put(voxel_map, row(0, in_view) - (0.1, 0, 0), weights=9.0)
    put(voxel_map, row(500, 100 - in_view))
    put(voxel_map, np.concatenate((row(0, in_view), row(600, 10))), weights=1.0)
    points = voxel_map.point_cloud().points
    observed = points[points[:, 0] < 100 * SIZE_M]
    expected = row(0, in_view) - (0.09, 0, 0)
    np.testing.assert_allclose(np.sort(observed[:, 0]), expected[:, 0], atol=1e-4)


def test_a_frame_beyond_the_bound_leaves_its_heaviest_voxels() -> None:
    voxel_map = VoxelMap(SIZE_M, 100)
    put(voxel_map, row(-50, 40))
    put(voxel_map, row(0, 250), weights=np.where(np.arange(250) % 5 < 2, 5.0, 1.0))
    assert cells(voxel_map) == {cell for cell in range(250) if cell % 5 < 2}


def plane(normal_axis: int) -> np.ndarray:
    grid = (np.arange(-70, 70) + 0.5) * SIZE_M
    a, b = (side.ravel() for side in np.meshgrid(grid, grid))
    return np.insert(np.stack((a, b), axis=1), normal_axis, 0.25, axis=1)


@pytest.mark.parametrize("normal_axis", range(3))
def test_planes_do_not_cluster_in_the_table(
    normal_axis: int,
) -> None:
    voxel_map = VoxelMap(SIZE_M, 20_000)
    put(voxel_map, plane(normal_axis))
    slots = np.flatnonzero(voxel_map._table.keys >= 0)
    assert len(slots) == 140 * 140
    mask = voxel_map._table.capacity - 1
    probes = (slots - (hash64(voxel_map._table.keys[slots]) & mask)) & mask
    assert probes.mean() < 0.6
    assert probes.max() < 50


def test_probe_lengths_stay_short_in_a_full_map() -> None:
    voxel_map = VoxelMap(SIZE_M, 2000)
    for first in range(0, 60_000, 300):
        put(voxel_map, row(first, 400))
    slots = np.flatnonzero(voxel_map._table.keys >= 0)
    assert 1000 < len(slots) <= 2000
    mask = voxel_map._table.capacity - 1
    assert ((slots - (hash64(voxel_map._table.keys[slots]) & mask)) & mask).mean() < 0.6
    assert voxel_map._table.capacity == 4096


def test_a_cleared_map_is_empty_and_usable() -> None:
    voxel_map = VoxelMap(SIZE_M, 100)
    put(voxel_map, row(0, 100), (255, 255, 255), 50.0)
    voxel_map.clear()
    assert len(voxel_map) == 0
    assert voxel_map.point_cloud().points.shape == voxel_map.point_cloud().rgb.shape == (0, 3)
    put(voxel_map, row(0, 1), (10, 20, 30))
    np.testing.assert_array_equal(voxel_map.point_cloud().rgb, [[10, 20, 30]])


def test_a_cloud_is_a_copy() -> None:
    voxel_map = VoxelMap(SIZE_M, 100)
    put(voxel_map, row(0, 3))
    voxel_map.point_cloud().points[:] = 99.0
    np.testing.assert_allclose(content(voxel_map)[0], row(0, 3))


def test_an_empty_frame_adds_nothing() -> None:
    voxel_map = VoxelMap(SIZE_M, 100)
    voxel_map.integrate(
        np.empty((0, 3), np.float32), np.empty((0, 3), np.uint8), np.empty(0, np.float32)
    )
    assert len(voxel_map) == 0


def test_threads_write_read_and_clear_concurrently() -> None:
    voxel_map = VoxelMap(SIZE_M, 300)
    failures: list[BaseException] = []

    def write(offset: int) -> None:
        for k in range(60):
            put(voxel_map, row(offset + 7 * k, 50))

    def read() -> None:
        for _ in range(100):
            cloud = voxel_map.point_cloud()
            assert len(cloud.points) == len(cloud.rgb) <= 300
            np.testing.assert_allclose(cloud.points[:, 1:], 0.25)

    def record_failure(work: object, *arguments: int) -> None:
        try:
            work(*arguments)  # type: ignore[operator]
        except BaseException as error:
            failures.append(error)

    jobs = [(write, 0), (write, 1000), (write, -1000), (read,), (read,)]
    threads = [threading.Thread(target=record_failure, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    voxel_map.clear()
    for thread in threads:
        thread.join(30.0)
    assert not failures
    assert len(voxel_map) == len(voxel_map.point_cloud().points) > 0
