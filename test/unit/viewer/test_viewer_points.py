# SPDX-License-Identifier: Apache-2.0
"""The viewer's point store: chunks, bands of confidence, capacity."""

from __future__ import annotations

import numpy as np
import pytest

from ttt3r_ros.viewer.points import BANDS, CHUNK_POINTS, PointStore, VoxelBands, confidence_bands

VOXEL = 0.1


def point_store(capacity: int = 10**6) -> PointStore:
    return PointStore(VOXEL, capacity)


def line(count: int, y: float = 0.05) -> np.ndarray:
    """Return one point in each of ``count`` voxels."""
    x = (np.arange(count) + 0.5) * VOXEL
    return np.stack((x, np.full(count, y), np.full(count, y)), axis=1).astype(np.float32)


def add(points: PointStore, xyz: np.ndarray, confidence: float, index: int = 0) -> int:
    rgb = np.full((len(xyz), 3), 100, np.uint8)
    confidences = np.full(len(xyz), confidence, np.float32)
    return points.add(xyz, rgb, confidences, index, np.eye(4), segment=0)


def test_a_confidence_belongs_to_the_highest_band_whose_minimum_it_reaches():
    edges = np.array(BANDS, np.float32)
    assert confidence_bands(edges).tolist() == list(range(len(BANDS)))
    assert confidence_bands(edges[1:] - 0.01).tolist() == list(range(len(BANDS) - 1))
    assert confidence_bands(np.array([1e9], np.float32)).tolist() == [len(BANDS) - 1]


def test_a_voxel_observed_again_adds_no_point():
    points = point_store()
    assert add(points, line(50), 2.0) == 50
    assert add(points, line(60), 2.0, index=1) == 10
    assert len(points) == 60


def test_a_higher_confidence_adds_a_point_and_a_lower_one_does_not():
    points = point_store()
    add(points, line(10), 2.0)
    assert add(points, line(10), 20.0, index=1) == 10
    assert add(points, line(10), 1.2, index=2) == 0


def test_the_point_of_highest_confidence_represents_its_voxel():
    points = point_store()
    xyz = np.array([[0.01, 0, 0], [0.02, 0, 0], [0.03, 0, 0]], np.float32)
    confidence = np.array([1.0, 7.0, 3.0], np.float32)
    rgb = np.array([[1, 1, 1], [2, 2, 2], [3, 3, 3]], np.uint8)
    assert points.add(xyz, rgb, confidence, 0, np.eye(4), segment=0) == 1
    band = points.chunks[0].bands[int(confidence_bands(confidence[1:2])[0])]
    assert band.rows(1, 1)["rgb"].tolist() == [[2, 2, 2]]


def test_points_are_in_the_order_of_the_poses_that_observed_them():
    points = point_store()
    for index, y in ((0, 0.05), (2, 0.15), (5, 0.25)):
        add(points, line(4, y), 2.0, index)
    band = points.chunks[0].bands[2]
    assert [band.count(until) for until in (-1, 0, 1, 2, 4, 5, 9)] == [0, 4, 4, 8, 8, 12, 12]


def test_a_full_chunk_is_followed_by_another_and_no_longer_changes():
    points = point_store()
    add(points, line(CHUNK_POINTS), 2.0)
    before = len(points.chunks[0])
    add(points, line(100, y=0.35), 2.0, index=1)
    assert [len(chunk) for chunk in points.chunks] == [before, 100]


def test_above_its_capacity_the_store_removes_every_second_point():
    points = point_store(capacity=1000)
    add(points, line(600), 2.0)
    add(points, line(600, y=0.35), 2.0, index=1)
    assert len(points) == 600
    assert points.chunks[0].bands[2].count(1) == 600
    assert add(points, line(600, y=0.65), 2.0, index=2) == 300


def test_a_finished_cloud_is_split_into_chunks_and_all_points_are_kept():
    points = point_store()
    xyz = np.random.default_rng(0).uniform(0, 30, (3 * CHUNK_POINTS, 3)).astype(np.float32)
    points.add_cloud(xyz, np.zeros((len(xyz), 3), np.uint8))
    assert len(points) == len(xyz)
    assert all(0 < len(chunk) <= CHUNK_POINTS for chunk in points.chunks)
    found = [
        chunk.bands[-1].rows(len(chunk), 1)["xyz"] + chunk.T_map_chunk[:3, 3] for chunk in points.chunks
    ]
    assert np.sort(np.concatenate(found)[:, 0]) == pytest.approx(np.sort(xyz[:, 0]), abs=1e-5)


def test_the_voxel_table_agrees_with_a_dictionary_while_it_doubles():
    rng, table, truth = np.random.default_rng(1), VoxelBands(10**6), {}
    for _ in range(20):
        keys = np.unique(rng.integers(0, 20_000, 3000)).astype(np.int64)
        bands = rng.integers(0, 7, len(keys)).astype(np.uint8)
        is_new = table.update(keys, bands)
        expected = [key not in truth or band > truth[key] for key, band in zip(keys, bands, strict=True)]
        assert is_new.tolist() == expected
        truth |= {
            key: band
            for key, band, new in zip(keys.tolist(), bands.tolist(), is_new.tolist(), strict=True)
            if new
        }


def test_a_voxel_is_new_again_only_if_it_was_not_observed_for_long():
    table = VoxelBands(100)
    repeated, once = np.array([1], np.int64), np.array([2], np.int64)
    band = np.zeros(1, np.uint8)
    assert table.update(repeated, band)[0]
    assert table.update(once, band)[0]
    for turn in range(10):
        table.update(np.arange(100, dtype=np.int64) + 1000 * (turn + 1), np.zeros(100, np.uint8))
        assert not table.update(repeated, band)[0]
    assert table.update(once, band)[0]


def test_memory_for_voxels_and_pose_indices_is_bounded():
    capacity = 2000
    points = point_store(capacity)
    for index in range(400):
        add(points, line(100, y=0.05 + VOXEL * index), 2.0, index)
    assert len(points) <= capacity
    # Two tables, each for half of the capacity and one frame, at most half full, with 9 bytes per slot.
    assert points._voxels.nbytes <= 2 * 4096 * 9
    bands = [band for chunk in points.chunks for band in chunk.bands]
    assert sum(len(band._indices) for band in bands) <= len(points)


def test_after_halving_the_last_pose_still_has_all_points_of_its_band():
    points = point_store(capacity=35)
    for index in range(4):
        add(points, line(9, y=0.05 + VOXEL * index), 2.0, index)
    band = points.chunks[0].bands[2]
    assert len(points) == len(band) == band.count(3) == 18
    assert [band.count(until) for until in range(4)] == [0, 9, 9, 18]
