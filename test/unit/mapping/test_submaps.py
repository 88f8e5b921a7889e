# SPDX-License-Identifier: Apache-2.0
"""Voxels owned by submaps: poses, merging, the common bound, saving."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttt3r_ros.errors import SourceError
from ttt3r_ros.geometry import T_BODY_OPTICAL, pose_matrix, se3_inverse, transform
from ttt3r_ros.mapping.submaps import SubmapCollection
from ttt3r_ros.mapping.voxel_map import VoxelMap
from ttt3r_ros.state_dict import flatten, unflatten
from ttt3r_ros.types import Intrinsics

SIZE_M = 0.1
CAMERA = Intrinsics(40.0, 40.0, 39.5, 27.5, 80, 56)
ANY_POSE = pose_matrix(np.array([1.0, -2.0, 0.5, 0.9, 0.1, 0.2, 0.3]))

coordinates = st.floats(-5.0, 5.0, width=32)
poses = st.tuples(*[coordinates] * 3, *[st.floats(-1.0, 1.0)] * 3).map(
    lambda row: pose_matrix(np.array([*row[:3], 1.0, *row[3:]]))
)
seeds = st.integers(0, 2**32 - 1)


def put(
    voxels: SubmapCollection | VoxelMap, points: np.ndarray, weight: float = 1.0, stamp_ns: int = 0
) -> None:
    """Integrate one frame whose colors are determined by the points."""
    points = np.asarray(points, np.float32).reshape(-1, 3)
    rgb = (np.abs(points) * 50).astype(np.uint8)
    voxels.integrate(points, rgb, np.full(len(points), weight, np.float32), stamp_ns)


def cell_centers(seed: int, count: int = 40) -> np.ndarray:
    """Return the centers of distinct cells, so that rounding does not change the cell."""
    cells = np.unique(np.random.default_rng(seed).integers(-30, 30, (count, 3)), axis=0)
    return ((cells + 0.5) * SIZE_M).astype(np.float32)


def sorted_rows(points: np.ndarray) -> np.ndarray:
    return points[np.lexsort(np.round(points, 3).T)]


def assert_same_arrays(one: dict, other: dict) -> None:
    np.testing.assert_equal(one, other)


def two_submaps(max_voxels: int = 1000) -> SubmapCollection:
    voxels = SubmapCollection(SIZE_M, max_voxels)
    put(voxels, cell_centers(1))
    voxels.start_submap(ANY_POSE)
    put(voxels, cell_centers(2))
    return voxels


# --- one submap -------------------------------------------------------------------------------------


def test_one_submap_is_a_voxel_map_to_the_last_bit() -> None:
    collection, single = SubmapCollection(SIZE_M, 300), VoxelMap(SIZE_M, 300)
    rng = np.random.default_rng(0)
    for frame in range(12):
        points = rng.uniform((frame / 5, -1, -1), (frame / 5 + 2, 1, 1), (150, 3))
        for voxels in (collection, single):
            put(voxels, points, 2.0, frame)
            voxels.carve_free_space(np.full((56, 80), 2.0, np.float32), CAMERA, T_BODY_OPTICAL)
            voxels.evict(np.zeros(3), max_radius=4.0)
            if frame == 6:
                voxels.transform(ANY_POSE)
    assert len(collection.submaps) == 1
    assert_same_arrays(collection.active.voxels.state_dict(), single.state_dict())
    np.testing.assert_array_equal(collection.point_cloud().points, single.point_cloud().points)
    np.testing.assert_array_equal(collection.point_cloud().rgb, single.point_cloud().rgb)


def test_a_new_map_integrates_without_copying_points() -> None:
    submap = SubmapCollection(SIZE_M, 10).active
    points = np.zeros((4, 3), np.float32)
    assert submap.points_to_submap(points) is points
    assert submap.to_submap(ANY_POSE) is ANY_POSE


# --- poses ------------------------------------------------------------------------------------------


@given(seeds, poses)
@settings(max_examples=50, deadline=None)
def test_a_moved_submap_equals_moved_points(seed: int, T: np.ndarray) -> None:
    voxels = SubmapCollection(SIZE_M, 1000)
    put(voxels, cell_centers(seed))
    voxels.set_submap_poses({0: T})
    moved = SubmapCollection(SIZE_M, 1000)
    points = transform(T, cell_centers(seed))
    moved.integrate(
        points, (np.abs(cell_centers(seed)) * 50).astype(np.uint8), np.ones(len(points), np.float32)
    )
    found, expected = voxels.point_cloud(), moved.point_cloud()
    np.testing.assert_allclose(sorted_rows(found.points), sorted_rows(expected.points), atol=2e-5)
    assert found.rgb.astype(int).sum() == expected.rgb.astype(int).sum()


@given(seeds, poses)
@settings(max_examples=50, deadline=None)
def test_points_integrated_into_a_posed_submap_stay_in_the_map(seed: int, T: np.ndarray) -> None:
    voxels = SubmapCollection(SIZE_M, 1000)
    voxels.start_submap(T)
    points = cell_centers(seed, 1)
    put(voxels, points)
    np.testing.assert_allclose(voxels.point_cloud().points, points, atol=2e-5)


def test_only_the_corrected_submap_moves() -> None:
    voxels, T = two_submaps(), np.eye(4)
    before = voxels.point_cloud().points
    T[:3, 3] = 20.0
    voxels.set_submap_poses({1: T @ ANY_POSE})
    after = voxels.point_cloud().points
    first = after[after[:, 0] < 10.0]
    np.testing.assert_allclose(sorted_rows(first), sorted_rows(cell_centers(1)), atol=1e-5)
    assert abs(len(after) - len(before)) <= 3  # cells of both are no longer merged


def test_transform_moves_all_submaps() -> None:
    voxels = two_submaps()
    before = voxels.point_cloud().points
    T = np.eye(4)
    T[:3, 3] = 4 * SIZE_M
    voxels.transform(T)
    np.testing.assert_allclose(
        sorted_rows(voxels.point_cloud().points), sorted_rows(transform(T, before)), atol=1e-5
    )


@pytest.mark.parametrize("submap_id", [-1, 2])
def test_an_unknown_submap_changes_nothing(submap_id: int) -> None:
    voxels = two_submaps()
    version = voxels.version
    with pytest.raises(KeyError, match=str(submap_id)):
        voxels.set_submap_poses({0: ANY_POSE, submap_id: ANY_POSE})
    np.testing.assert_array_equal(voxels.submaps[0].T_map_submap, np.eye(4))
    assert voxels.version == version


# --- merging ----------------------------------------------------------------------------------------


@given(seeds, seeds, st.floats(1.0, 50.0))
@settings(max_examples=50, deadline=None)
def test_two_submaps_equal_one_map_of_both(first: int, second: int, weight: float) -> None:
    voxels, single = SubmapCollection(SIZE_M, 1000), VoxelMap(SIZE_M, 1000)
    for part in (voxels, single):
        put(part, cell_centers(first), weight)
    voxels.start_submap(np.eye(4))
    for part in (voxels, single):
        put(part, cell_centers(second) + np.float32(0.02))
    found, expected = voxels.point_cloud(), single.point_cloud()
    np.testing.assert_allclose(sorted_rows(found.points), sorted_rows(expected.points), atol=1e-5)
    assert abs(found.rgb.astype(int).sum() - expected.rgb.astype(int).sum()) <= len(found.rgb) * 3


def test_two_posed_submaps_of_one_scene_merge_into_its_voxels() -> None:
    points = cell_centers(5)
    voxels = SubmapCollection(SIZE_M, 1000)
    put(voxels, points)
    voxels.start_submap(ANY_POSE)
    put(voxels, points)
    assert len(voxels) > len(points)
    np.testing.assert_allclose(sorted_rows(voxels.point_cloud().points), sorted_rows(points), atol=1e-5)


def test_free_space_is_carved_in_the_frame_of_the_active_submap() -> None:
    depth = np.full((56, 80), 5.0, np.float32)
    voxels = SubmapCollection(SIZE_M, 1000)
    voxels.start_submap(ANY_POSE)
    put(voxels, np.array([[2.0, 0.0, 0.0], [-2.0, 0.0, 0.0]]))
    for _ in range(100):
        voxels.carve_free_space(depth, CAMERA, T_BODY_OPTICAL)
    np.testing.assert_allclose(voxels.point_cloud().points, [[-2.0, 0.0, 0.0]], atol=1e-5)


def test_distant_voxels_of_every_submap_are_evicted() -> None:
    voxels = SubmapCollection(SIZE_M, 1000)
    for x in (0.0, 1.0, 2.0):
        put(voxels, np.array([[x, 0.05, 0.05], [x + 100.0, 0.05, 0.05]]))
        voxels.start_submap(se3_inverse(ANY_POSE))
    for _ in range(100):
        voxels.evict(np.zeros(3), max_radius=50.0)
    np.testing.assert_allclose(np.sort(voxels.point_cloud().points[:, 0]), [0.0, 1.0, 2.0], atol=1e-5)


# --- bound ------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(seeds, st.booleans()), min_size=1, max_size=12))
@settings(max_examples=40, deadline=None)
def test_the_bound_holds_over_all_submaps(frames: list[tuple[int, bool]]) -> None:
    voxels = SubmapCollection(SIZE_M, 100)
    for seed, starts_submap in frames:
        if starts_submap:
            voxels.start_submap(ANY_POSE)
        put(voxels, cell_centers(seed))
        assert len(voxels.point_cloud().points) <= len(voxels) <= 100


def test_the_oldest_submap_is_evicted_first() -> None:
    voxels = SubmapCollection(SIZE_M, 100)
    for submap in range(4):
        put(voxels, cell_centers(submap, 30)[:25])
        voxels.start_submap(np.eye(4))
    put(voxels, cell_centers(9, 40)[:30])
    assert [len(submap.voxels) for submap in voxels.submaps] == [0, 20, 25, 25, 30]


def test_a_finished_submap_needs_memory_for_its_voxels_only() -> None:
    voxels = SubmapCollection(SIZE_M, 100_000)
    put(voxels, cell_centers(1))
    before = voxels.point_cloud().points
    voxels.start_submap(np.eye(4))
    assert voxels.submaps[0].voxels.max_voxels == len(before)
    np.testing.assert_array_equal(sorted_rows(voxels.point_cloud().points), sorted_rows(before))


# --- readers and saving -----------------------------------------------------------------------------


def test_every_change_increases_the_version() -> None:
    voxels = SubmapCollection(SIZE_M, 1000)
    versions = [voxels.version]
    saved = two_submaps().state_dict()
    for change in (
        lambda: put(voxels, cell_centers(1)),
        lambda: voxels.start_submap(ANY_POSE),
        lambda: put(voxels, cell_centers(2)),
        lambda: voxels.set_submap_poses({0: ANY_POSE}),
        lambda: voxels.transform(ANY_POSE),
        voxels.clear,
        lambda: voxels.load_state_dict(saved),
    ):
        change()
        versions.append(voxels.version)
    assert versions == sorted(set(versions))


def test_clearing_and_loading_start_a_new_epoch() -> None:
    voxels = SubmapCollection(SIZE_M, 1000)
    first = voxels.epoch
    put(voxels, cell_centers(1))
    voxels.transform(np.eye(4))
    voxels.start_submap(ANY_POSE)
    voxels.set_submap_poses({0: ANY_POSE})
    assert voxels.epoch == first
    saved = voxels.state_dict()
    voxels.clear()
    voxels.load_state_dict(saved)
    assert voxels.epoch == first + 2


def test_loaded_submaps_continue_to_the_last_bit() -> None:
    whole, loaded = two_submaps(90), SubmapCollection(SIZE_M, 90)
    loaded.load_state_dict(whole.state_dict())
    for voxels in (whole, loaded):
        voxels.evict(np.zeros(3), max_radius=3.0)
        put(voxels, cell_centers(3))
        voxels.start_submap(np.eye(4))
        put(voxels, cell_centers(4))
    assert_same_arrays(whole.state_dict(), loaded.state_dict())
    np.testing.assert_array_equal(loaded.point_cloud().points, whole.point_cloud().points)


def test_a_smaller_collection_loads_the_newest_voxels() -> None:
    smaller = SubmapCollection(SIZE_M, 50)
    smaller.load_state_dict(two_submaps().state_dict())
    active = len(cell_centers(2))
    assert [len(submap.voxels) for submap in smaller.submaps] == [50 - active, active]


def test_invalid_arrays_are_refused_and_change_nothing() -> None:
    valid = flatten(two_submaps().state_dict())
    sheared = valid["T_map_submap"].copy()
    sheared[1, 3, 0] = 1.0
    invalid = {
        "T_map_submap": sheared,
        "max_voxels": -valid["max_voxels"],
        "eviction_turn": np.array(-1),
        "1.keys": -valid["1.keys"],
        "0.mean": valid["0.mean"] * np.nan,
    }
    voxels = two_submaps()
    for name, array in invalid.items():
        for arrays in (valid | {name: array}, {key: valid[key] for key in valid if key != name}):
            with pytest.raises(SourceError):
                voxels.load_state_dict(unflatten(arrays))
    with pytest.raises(SourceError):
        voxels.load_state_dict(unflatten(valid | {"T_map_submap": np.empty((0, 4, 4))}))
    assert_same_arrays(voxels.state_dict(), two_submaps().state_dict())
