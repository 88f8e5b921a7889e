# SPDX-License-Identifier: Apache-2.0
"""Scale sources in the whole pipeline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeBackend, FakeState, frame

from ttt3r_ros.config import from_mapping
from ttt3r_ros.geometry import T_BODY_OPTICAL
from ttt3r_ros.odometry.sensor_context import SensorContext
from ttt3r_ros.pipeline.reconstructor import Reconstructor


class FloorBackend(FakeBackend):
    """Predicts a floor half a unit below the camera and a motion of one unit per image."""

    def step(self, rgb, state: FakeState):
        prediction, after = super().step(rgb, state)
        v, u = np.mgrid[0:12, 0:16]
        rays = np.stack(((u - 8) / 20.0, (v + 2) / 20.0, np.ones_like(u, float)), axis=-1)
        points = rays * (0.5 / rays[..., 1:2])
        return replace(prediction, points_camera=points.astype(np.float32)), after


def reconstructor(backend=None, **values: object) -> Reconstructor[FakeState]:
    return Reconstructor(backend or FakeBackend(), from_mapping(values))


def test_a_known_height_over_the_floor_gives_the_scale() -> None:
    mapping = reconstructor(
        FloorBackend(), **{"scale.source": "camera_height", "scale.camera_height": 1.5}
    )
    updates = [mapping.step(frame(mark)) for mark in range(4)]
    assert updates[0].scale == pytest.approx(3.0, rel=0.02)
    step = updates[-1].T_map_camera[:3, 3] - updates[-2].T_map_camera[:3, 3]
    assert np.linalg.norm(step) == pytest.approx(3.0, rel=0.02)


def test_without_a_setting_the_height_of_the_mount_is_used() -> None:
    mount = T_BODY_OPTICAL.copy()
    mount[:3, 3] = [0.1, 0.0, 0.75]
    mapping = reconstructor(FloorBackend(), **{"scale.source": "camera_height"})
    assert mapping.step(frame(1), SensorContext(T_base_camera=mount)).scale == pytest.approx(
        1.5, rel=0.02
    )


def test_a_fixed_scale_applies_to_depths_and_steps_and_can_change() -> None:
    mapping = reconstructor(**{"scale.source": "fixed", "scale.fixed": 2.0})
    first = mapping.step(frame(1))
    assert np.median(first.prediction.points_camera[..., 2]) == pytest.approx(4.0)
    mapping.configure(from_mapping({"scale.source": "fixed", "scale.fixed": 0.5}))
    second = mapping.step(frame(2))
    assert np.linalg.norm(second.T_step[:3, 3]) == pytest.approx(0.5)


def test_a_late_floor_levels_map_and_trajectory_once() -> None:
    class TiltedBackend(FloorBackend):
        """A camera tilted down by 20 degrees, with the floor in view from the third image on."""

        def step(self, rgb, state: FakeState):
            prediction, after = super().step(rgb, state)
            if state.seen < 2:
                return replace(
                    prediction, points_camera=np.full_like(prediction.points_camera, 2.0)
                ), after
            c, s = np.cos(np.radians(20)), np.sin(np.radians(20))
            tilt = np.array([[1, 0, 0], [0, c, -s], [0, s, c]], np.float32)
            return replace(prediction, points_camera=prediction.points_camera @ tilt.T), after

    mapping = reconstructor(TiltedBackend(), level_source="floor")
    updates = [mapping.step(frame(mark)) for mark in range(5)]
    up_camera = updates[-1].T_map_camera[2, :3]
    np.testing.assert_allclose(
        up_camera, [0.0, -np.cos(np.radians(20)), -np.sin(np.radians(20))], atol=0.02
    )
    steps = [np.linalg.norm(update.T_step[:3, 3]) for update in updates[1:]]
    assert steps == pytest.approx([1.0] * 4), "odom does not jump"
    assert mapping.leveling.floor_z == pytest.approx(updates[2].T_map_camera[2, 3] - 0.5, abs=0.02)
