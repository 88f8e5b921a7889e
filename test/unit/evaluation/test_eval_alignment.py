# SPDX-License-Identifier: Apache-2.0
"""Alignment, cropping and subsampling of reconstructions with known results."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fakes import prediction

from ttt3r_ros.evaluation.metrics import surfaces
from ttt3r_ros.evaluation.metrics.reconstruction import ReconstructionComparison, unproject_depth
from ttt3r_ros.geometry import pose_matrix, se3_inverse, transform
from ttt3r_ros.types import Frame, ImageGeometry, Intrinsics, Prediction

WIDTH, HEIGHT = 64, 48
LENS = Intrinsics(60.0, 60.0, 32.0, 24.0, WIDTH, HEIGHT)
GEOMETRY = ImageGeometry(WIDTH, HEIGHT, WIDTH, HEIGHT, 0, 0, WIDTH, HEIGHT)
U, V = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
DEPTH_M = (2.0 + 0.3 * np.sin(U / 6.0) + 0.2 * np.cos(V / 5.0)).astype(np.float32)
IN_CENTER = (slice(HEIGHT // 4, 3 * HEIGHT // 4), slice(WIDTH // 4, 3 * WIDTH // 4))
STILL = [(k, np.eye(4)) for k in range(0, 10**9, 10**8)]  # the camera stays where it is


def shown(comparison: ReconstructionComparison, points: np.ndarray, frame: int = 0) -> None:
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    sure = np.ones((HEIGHT, WIDTH), np.float32)
    seen = Prediction(points, sure, prediction().T_segment_camera, rgb, GEOMETRY)
    update: Any = SimpleNamespace(
        frame=Frame(frame * 10**8, "camera", rgb, LENS), prediction=seen, intrinsics=LENS
    )
    comparison.add(update, DEPTH_M, frame)


def test_medians_are_those_of_the_whole_image_and_the_center_is_measured() -> None:
    true = unproject_depth(DEPTH_M, LENS)
    predicted = 3.0 * true
    predicted[IN_CENTER] = true[IN_CENTER]
    comparison = ReconstructionComparison(center=(0.5, 0.5))
    shown(comparison, predicted)
    error = comparison.error(STILL, STILL)
    assert error is not None

    sizes = [
        np.median(np.linalg.norm(cloud - [0.0, 0.0, np.median(cloud[:, 2])], axis=1))
        for cloud in (true.reshape(-1, 3), predicted.reshape(-1, 3))
    ]
    assert error.scale == pytest.approx(sizes[0] / sizes[1], rel=1e-5)
    assert error.scale < 0.6, "of the center alone it would be 1"
    assert error.points == WIDTH * HEIGHT // 4
    assert error.figures["metric"].accuracy_mean == pytest.approx(0.0, abs=1e-6)


def test_icp_takes_away_a_small_motion_in_both_alignments() -> None:
    T = pose_matrix(np.array([0.02, -0.01, 0.02, 1.0, 0.004, 0.003, -0.004]))
    comparison = ReconstructionComparison()
    shown(comparison, transform(se3_inverse(T), unproject_depth(DEPTH_M, LENS)))
    error = comparison.error(STILL, STILL)
    assert error is not None
    for figures in error.figures.values():
        assert figures.accuracy_mean < 2e-3, "0.015 without ICP"


def test_true_depth_from_the_cap_on_is_no_depth() -> None:
    comparison = ReconstructionComparison(max_depth_m=2.0)
    shown(comparison, unproject_depth(DEPTH_M, LENS))
    error = comparison.error(STILL, STILL)
    assert error is not None
    assert error.points == np.count_nonzero(DEPTH_M < 2.0) < DEPTH_M.size


def test_both_clouds_are_built_into_one_tree_each_for_all_alignments(monkeypatch) -> None:
    built = []

    def counted(points: np.ndarray, **options: bool) -> Any:
        built.append(len(points))
        return tree(points, **options)

    tree = surfaces.cKDTree
    monkeypatch.setattr(surfaces, "cKDTree", counted)
    comparison = ReconstructionComparison()
    shown(comparison, unproject_depth(DEPTH_M, LENS))
    assert comparison.error(STILL, STILL) is not None
    assert built == [DEPTH_M.size, DEPTH_M.size]


def test_views_past_the_limit_are_not_kept_and_the_others_in_single_precision() -> None:
    comparison = ReconstructionComparison(limit=2)
    for frame in range(4):
        shown(comparison, unproject_depth(DEPTH_M, LENS).astype(np.float64), frame)
    assert [view.frame for view in comparison._views] == [0, 1]
    assert {view.predicted.dtype for view in comparison._views} == {np.dtype(np.float32)}


def test_memory_is_bounded_for_long_sequences() -> None:
    comparison = ReconstructionComparison(center=(0.5, 0.5), most_points=1000)
    for frame in range(9):
        shown(comparison, unproject_depth(DEPTH_M, LENS), frame)
        assert sum(view.measured for view in comparison._views) <= 1000
    error = comparison.error(STILL, STILL)
    assert error is not None
    assert (error.frames, error.share) == (9, 1 / 8)
    shares = np.array([len(view.true) for view in comparison._views]) * 8 / DEPTH_M.size
    assert shares == pytest.approx(1.0, abs=0.25), "early and late views alike"
    assert error.points == sum(view.measured for view in comparison._views)
