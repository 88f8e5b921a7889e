# SPDX-License-Identifier: Apache-2.0
"""Voxel map: transform, saving and loading."""

from __future__ import annotations

import numpy as np
import pytest

from ttt3r_ros.errors import SourceError
from ttt3r_ros.geometry import T_BODY_OPTICAL, so3_exp, transform
from ttt3r_ros.mapping.voxel_map import VoxelMap
from ttt3r_ros.types import Intrinsics

SIZE_M = 0.1
CAMERA = Intrinsics(fx=40.0, fy=40.0, cx=39.5, cy=27.5, width=80, height=56)
SWEEP = 8  # calls that visit every voxel once


def put(
    voxel_map: VoxelMap, points: object, weight: float = 1.0, stamp_ns: int = 0, rgb: int = 90
) -> None:
    array = np.atleast_2d(np.asarray(points, np.float32))
    colors = np.full(array.shape, rgb, np.uint8)
    voxel_map.integrate(array, colors, np.full(len(array), weight, np.float32), stamp_ns)


def points_of(voxel_map: VoxelMap) -> np.ndarray:
    """Return the points ordered by their voxels."""
    points = voxel_map.point_cloud().points
    return points[np.lexsort(np.floor(points / SIZE_M).T)]


def test_transform_moves_every_point() -> None:
    voxel_map = VoxelMap(SIZE_M, 5000)
    rng = np.random.default_rng(0)
    points = rng.uniform(-2.0, 2.0, (300, 3)).astype(np.float32)
    put(voxel_map, points, 2.0)
    before = voxel_map.point_cloud().points
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = so3_exp(np.array([0.3, -0.2, 0.1])), (1.0, 2.0, 3.0)
    version = voxel_map.version
    voxel_map.transform(T)
    expected, after = transform(T, before), voxel_map.point_cloud().points
    distances = np.linalg.norm(expected[:, None] - after, axis=2).min(axis=1)
    assert np.median(distances) < 1e-5
    assert distances.max() < SIZE_M, "except for merged voxels"
    assert len(np.unique(np.floor(after / SIZE_M), axis=0)) == len(voxel_map)
    assert voxel_map.version > version


def test_voxels_that_coincide_after_a_transform_are_merged() -> None:
    voxel_map = VoxelMap(SIZE_M, 1000)
    put(voxel_map, (0.08, 0.05, 0.05), 3.0, stamp_ns=5 * 10**9, rgb=100)
    put(voxel_map, (0.12, 0.05, 0.05), 1.0, stamp_ns=1 * 10**9, rgb=20)
    T = np.eye(4)
    T[0, 3] = 0.05
    voxel_map.transform(T)
    cloud = voxel_map.point_cloud()
    np.testing.assert_allclose(cloud.points, [[0.05 + 0.09, 0.05, 0.05]], atol=1e-6)
    np.testing.assert_array_equal(cloud.rgb, [[80, 80, 80]])
    for _ in range(SWEEP):
        voxel_map.evict(np.zeros(3), now_ns=7 * 10**9, max_age=2.5)
    assert len(voxel_map) == 1
    put(voxel_map, (0.18, 0.05, 0.05), 4.0)
    np.testing.assert_allclose(points_of(voxel_map)[0, 0], 0.16, atol=1e-6)


def test_a_transformed_empty_map_is_empty() -> None:
    voxel_map = VoxelMap(SIZE_M, 1000)
    voxel_map.transform(np.eye(4))
    assert len(voxel_map) == 0


def used_map(frames: int = 30) -> VoxelMap:
    """Return a full map after carving and eviction."""
    voxel_map = VoxelMap(SIZE_M, 1000)
    for frame in range(frames):
        observe(voxel_map, frame)
    return voxel_map


def observe(voxel_map: VoxelMap, frame: int) -> None:
    rng = np.random.default_rng(frame)
    put(voxel_map, rng.uniform((frame / 10, -1, -1), (frame / 10 + 3, 1, 1), (150, 3)), 2.0, frame)
    voxel_map.carve_free_space(np.full((56, 80), 2.0, np.float32), CAMERA, T_BODY_OPTICAL)
    voxel_map.evict(np.zeros(3), max_radius=5.0)


def assert_same(one: VoxelMap, other: VoxelMap) -> None:
    for name, array in one.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], array, err_msg=name)
    np.testing.assert_array_equal(other.point_cloud().points, one.point_cloud().points)
    assert len(one) == len(other)


def test_a_loaded_map_continues_to_the_last_bit() -> None:
    original, loaded = used_map(), VoxelMap(SIZE_M, 1000)
    put(loaded, (5.05, 5.05, 5.05))
    version = loaded.version
    loaded.load_state_dict(original.state_dict())
    assert_same(original, loaded)
    assert loaded.version > version
    for frame in range(30, 60):
        observe(original, frame)
        observe(loaded, frame)
    assert_same(original, loaded)


def test_saved_and_loaded_arrays_are_copies() -> None:
    original, loaded = used_map(), VoxelMap(SIZE_M, 1000)
    arrays = original.state_dict()
    before = original.point_cloud().points
    loaded.load_state_dict(arrays)
    for array in arrays.values():
        array.fill(0)
    np.testing.assert_array_equal(original.point_cloud().points, before)
    np.testing.assert_array_equal(loaded.point_cloud().points, before)


def test_an_empty_map_is_loaded() -> None:
    loaded = used_map()
    loaded.load_state_dict(VoxelMap(SIZE_M, 1000).state_dict())
    assert len(loaded) == 0


def test_a_smaller_map_loads_the_voxels_observed_last() -> None:
    original = VoxelMap(SIZE_M, 1000)
    x = np.arange(100) * SIZE_M + SIZE_M / 2
    for start in range(0, 100, 10):
        put(original, np.stack((x[start : start + 10], *np.full((2, 10), 0.05)), axis=1))
    smaller, larger = VoxelMap(SIZE_M, 60), VoxelMap(SIZE_M, 9000)
    smaller.load_state_dict(original.state_dict())
    larger.load_state_dict(original.state_dict())
    np.testing.assert_allclose(points_of(smaller)[:, 0], x[40:], rtol=1e-5)
    np.testing.assert_allclose(points_of(larger)[:, 0], x, rtol=1e-5)


def changed_arrays(name: str, change: object) -> dict[str, np.ndarray]:
    arrays = used_map().state_dict()
    arrays[name] = change(arrays[name])  # type: ignore[operator]
    return arrays


def with_first(value: object) -> object:
    def change(array: np.ndarray) -> np.ndarray:
        changed = array.copy()
        changed.flat[0] = value
        return changed

    return change


INVALID = [
    *[(name, lambda array: array[:-1]) for name in ("keys", "slots", "weight", "mean", "last_frame")],
    *[
        (name, lambda array: array.astype(np.float64))
        for name in ("keys", "weight", "mean", "last_frame")
    ],
    ("mean", lambda array: array[:, :5]),
    ("stamp_ns", lambda array: array[:, None]),
    ("counters", lambda array: array[:3]),
    ("voxel_size", lambda array: array[None]),
    ("voxel_size", lambda array: 2 * array),
    ("voxel_size", lambda array: array * np.nan),
    ("mean", with_first(np.nan)),
    ("mean", with_first(np.inf)),
    ("mean", lambda array: np.where([True] * 5 + [False], array, np.float32(300.0))),
    ("weight", with_first(np.nan)),
    ("weight", with_first(0.0)),
    ("weight", with_first(-1.0)),
    ("weight", with_first(2000.0)),
    ("keys", with_first(-1)),
    ("keys", lambda array: np.append(array[1:], array[1])),
    ("keys", lambda array: array[::-1].copy()),
    ("slots", with_first(-1)),
    ("slots", with_first(10**6)),
    ("slots", lambda array: array[::-1].copy()),
    ("last_frame", with_first(10**6)),
    ("last_frame", with_first(-1)),
    ("counters", with_first(-1)),
]


@pytest.mark.parametrize(("name", "change"), INVALID)
def test_invalid_arrays_change_nothing(name: str, change: object) -> None:
    voxel_map, arrays = used_map(5), changed_arrays(name, change)
    with pytest.raises(SourceError):
        voxel_map.load_state_dict(arrays)
    assert_same(used_map(5), voxel_map)


def test_missing_arrays_are_named() -> None:
    arrays = used_map(2).state_dict()
    for name in arrays:
        with pytest.raises(SourceError, match=name):
            VoxelMap(SIZE_M, 1000).load_state_dict(
                {key: array for key, array in arrays.items() if key != name}
            )
