# SPDX-License-Identifier: Apache-2.0
"""Points in chunks and bands: what is kept, what is drawn, what counts as changed."""

from __future__ import annotations

import numpy as np
import pytest

from ttt3r_ros.viewer.points import BANDS, CHUNK_POINTS, PointStore, VoxelBands, bands_of

VOXEL = 0.1


def store(capacity: int = 10**6) -> PointStore:
    return PointStore(VOXEL, capacity)


def line(count: int, y: float = 0.05) -> np.ndarray:
    """One point in each of so many voxels."""
    x = (np.arange(count) + 0.5) * VOXEL
    return np.stack((x, np.full(count, y), np.full(count, y)), axis=1).astype(np.float32)


def add(points: PointStore, xyz: np.ndarray, confidence: float, index: int = 0) -> int:
    rgb = np.full((len(xyz), 3), 100, np.uint8)
    sure = np.full(len(xyz), confidence, np.float32)
    return points.add(xyz, rgb, sure, index, np.eye(4), segment=0)


def test_a_confidence_belongs_to_the_band_that_begins_with_it_or_below():
    edges = np.array(BANDS, np.float32)
    assert bands_of(edges).tolist() == list(range(len(BANDS)))
    assert bands_of(edges[1:] - 0.01).tolist() == list(range(len(BANDS) - 1))
    assert bands_of(np.array([1e9], np.float32)).tolist() == [len(BANDS) - 1]


def test_what_was_seen_before_is_not_added_again():
    points = store()
    assert add(points, line(50), 2.0) == 50
    assert add(points, line(60), 2.0, index=1) == 10
    assert len(points) == 60


def test_what_is_seen_more_surely_is_added_and_what_less_surely_is_not():
    points = store()
    add(points, line(10), 2.0)
    assert add(points, line(10), 20.0, index=1) == 10
    assert add(points, line(10), 1.2, index=2) == 0


def test_of_several_points_in_a_voxel_the_surest_stands_for_it():
    points = store()
    xyz = np.array([[0.01, 0, 0], [0.02, 0, 0], [0.03, 0, 0]], np.float32)
    confidence = np.array([1.0, 7.0, 3.0], np.float32)
    rgb = np.array([[1, 1, 1], [2, 2, 2], [3, 3, 3]], np.uint8)
    assert points.add(xyz, rgb, confidence, 0, np.eye(4), segment=0) == 1
    part = points.chunks[0].parts[int(bands_of(confidence[1:2])[0])]
    assert part.rows(1, 1)["rgb"].tolist() == [[2, 2, 2]]


def test_points_are_in_the_order_of_the_poses_that_saw_them():
    points = store()
    for index, y in ((0, 0.05), (2, 0.15), (5, 0.25)):
        add(points, line(4, y), 2.0, index)
    part = points.chunks[0].parts[2]
    assert [part.count(until) for until in (-1, 0, 1, 2, 4, 5, 9)] == [0, 4, 4, 8, 8, 12, 12]


def test_a_full_chunk_is_followed_by_another_and_does_not_change_any_more():
    points = store()
    add(points, line(CHUNK_POINTS), 2.0)
    before = len(points.chunks[0])
    add(points, line(100, y=0.35), 2.0, index=1)
    assert [len(chunk) for chunk in points.chunks] == [before, 100]


def test_beyond_its_capacity_every_second_point_goes_and_the_others_stay():
    points = store(capacity=1000)
    add(points, line(600), 2.0)
    add(points, line(600, y=0.35), 2.0, index=1)
    assert len(points) == 600
    assert points.chunks[0].parts[2].count(1) == 600
    assert add(points, line(600, y=0.65), 2.0, index=2) == 300


def test_a_finished_cloud_is_split_into_neighborhoods_and_kept_whole():
    points = store()
    xyz = np.random.default_rng(0).uniform(0, 30, (3 * CHUNK_POINTS, 3)).astype(np.float32)
    points.add_cloud(xyz, np.zeros((len(xyz), 3), np.uint8))
    assert len(points) == len(xyz)
    assert all(0 < len(chunk) <= CHUNK_POINTS for chunk in points.chunks)
    found = [
        chunk.parts[-1].rows(len(chunk), 1)["xyz"] + chunk.T_map_chunk[:3, 3] for chunk in points.chunks
    ]
    assert np.sort(np.concatenate(found)[:, 0]) == pytest.approx(np.sort(xyz[:, 0]), abs=1e-5)


def test_the_table_of_voxels_agrees_with_a_dictionary_while_it_doubles():
    rng, table, truth = np.random.default_rng(1), VoxelBands(10**6), {}
    for _ in range(20):
        keys = np.unique(rng.integers(0, 20_000, 3000)).astype(np.int64)
        bands = rng.integers(0, 7, len(keys)).astype(np.uint8)
        news = table.raised(keys, bands)
        expected = [key not in truth or band > truth[key] for key, band in zip(keys, bands, strict=True)]
        assert news.tolist() == expected
        truth |= {
            key: band
            for key, band, new in zip(keys.tolist(), bands.tolist(), news.tolist(), strict=True)
            if new
        }


def test_a_voxel_that_is_seen_again_and_again_is_drawn_once_and_one_not_seen_for_long_may_be_drawn_twice():
    table = VoxelBands(100)
    always, once = np.array([1], np.int64), np.array([2], np.int64)
    band = np.zeros(1, np.uint8)
    assert table.raised(always, band)[0]
    assert table.raised(once, band)[0]
    for turn in range(10):
        table.raised(np.arange(100, dtype=np.int64) + 1000 * (turn + 1), np.zeros(100, np.uint8))
        assert not table.raised(always, band)[0]
    assert table.raised(once, band)[0]


def test_neither_the_table_of_voxels_nor_what_is_known_of_the_frames_grows_without_end():
    capacity = 2000
    points = store(capacity)
    for index in range(400):
        add(points, line(100, y=0.05 + VOXEL * index), 2.0, index)
    assert len(points) <= capacity
    # Two tables for half as many voxels and a frame each, at most half full, a power of two long; 9 bytes a slot.
    assert points._voxels.nbytes <= 2 * 4096 * 9
    parts = [part for chunk in points.chunks for part in chunk.parts]
    assert sum(len(part._indices) for part in parts) <= len(points)


def test_after_halving_the_last_pose_of_a_part_still_has_all_its_points():
    points = store(capacity=35)
    for index in range(4):
        add(points, line(9, y=0.05 + VOXEL * index), 2.0, index)
    part = points.chunks[0].parts[2]
    assert len(points) == len(part) == part.count(3) == 18
    assert [part.count(until) for until in range(4)] == [0, 9, 9, 18]
