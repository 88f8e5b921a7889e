# SPDX-License-Identifier: Apache-2.0
"""Integration of frames into voxels and grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ttt3r_ros.config import Config
from ttt3r_ros.geometry import T_BODY_OPTICAL
from ttt3r_ros.mapping.map_builder import MapBuilder
from ttt3r_ros.mapping.point_selection import select_pixels
from ttt3r_ros.types import Frame, ImageGeometry, Intrinsics, Prediction, Update


def update(
    width: int, height: int, depth_m: float | np.ndarray = 3.0, confidence: float = 2.0
) -> Update:
    """Return a view along x, of a wall if the depth is a number."""
    camera = Intrinsics(0.75 * width, 0.75 * width, (width - 1) / 2, (height - 1) / 2, width, height)
    v, u = np.mgrid[0:height, 0:width]
    rays = np.stack(((u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)), -1)
    points = rays * np.broadcast_to(depth_m, u.shape)[..., None]
    eye, rgb = np.eye(4), np.full((height, width, 3), 90, np.uint8)
    prediction = Prediction(
        points.astype(np.float32), np.full(u.shape, confidence, np.float32), eye, rgb,
        ImageGeometry(width, height, width, height, 0, 0, width, height),
    )  # fmt: skip
    T_map_camera = T_BODY_OPTICAL.copy()
    T_map_camera[2, 3] = 1.0
    frame = Frame(10**9, "camera", rgb)
    return Update(
        frame, prediction, T_map_camera, camera, 0, {}, eye, eye, eye, eye, 1.0, np.eye(6), np.eye(6)
    )


def test_weights_compensate_for_the_pixels_not_selected() -> None:
    few, many = MapBuilder(Config()), MapBuilder(Config())
    few.integrate(update(128, 96), None)
    many.integrate(update(512, 384), None)
    weights = [builder.voxels.active.voxels.means_and_weights()[1].sum() for builder in (few, many)]
    assert weights[1] == pytest.approx(16 * weights[0], rel=0.02)


def test_a_large_frame_fills_all_voxels_within_a_period() -> None:
    rng = np.random.default_rng(0)
    view = update(512, 384, rng.uniform(2.0, 4.0, (384, 512)))
    config = Config()
    complete, builder = (
        MapBuilder(config),
        MapBuilder(replace(config, map=replace(config.map, carve_free_space=False))),
    )
    points = view.prediction.points_camera.reshape(-1, 3)
    points = points @ view.T_map_camera[:3, :3].T.astype(np.float32) + np.float32([0, 0, 1])
    complete.voxels.integrate(
        points, view.prediction.rgb.reshape(-1, 3), np.full(len(points), 2.0, np.float32)
    )
    for _ in range(select_pixels((384, 512), 0)[1]):
        builder.integrate(view, None)
    assert len(builder.voxels) == pytest.approx(len(complete.voxels), rel=1e-3)


def test_invalid_points_are_not_integrated() -> None:
    builder = MapBuilder(Config())
    for depth_m, confidence in (
        (np.nan, 2.0),
        (0.0, 2.0),
        (-1.0, 2.0),
        (10.5, 2.0),
        (3.0, 1.4),
        (np.inf, 2.0),
    ):
        with np.errstate(invalid="ignore"):
            view = update(80, 56, depth_m, confidence)
        builder.integrate(view, 0.0)
    assert len(builder.voxels) == 0
    assert builder.grid.to_grid() is None
    builder.integrate(update(80, 56), 0.0)
    assert len(builder.voxels) > 100
    assert builder.grid.to_grid() is not None


@pytest.mark.parametrize(("width", "height"), [(80, 56), (512, 384)])
def test_integrate_returns_the_fraction_of_valid_pixels(width: int, height: int) -> None:
    depth_m = np.full((height, width), 3.0)
    depth_m[: height // 4] = 50.0  # out of range
    assert MapBuilder(Config()).integrate(update(width, height, depth_m), None) == pytest.approx(0.75)
    assert MapBuilder(Config()).integrate(update(width, height, confidence=1.4), None) == 0.0
