# SPDX-License-Identifier: Apache-2.0
"""State files with right checksums and wrong content are refused before anything changes."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes import FakeBackend
from rendered_path import frames_of_path, network_poses, path_shots

from ttt3r_ros.config import from_mapping
from ttt3r_ros.errors import NonFiniteError, SourceError
from ttt3r_ros.odometry.sensor_context import SensorContext
from ttt3r_ros.odometry.visual_odometry import VisualOdometry
from ttt3r_ros.pipeline import checkpoint
from ttt3r_ros.pipeline.reconstructor import Reconstructor
from ttt3r_ros.state_dict import flatten, load_all, unflatten

if TYPE_CHECKING:
    from collections.abc import Callable

    Change = Callable[[np.ndarray], np.ndarray]

SETTINGS = {
    "pose_source": "visual_odometry",
    "scale.source": "odometry",
    "level_source": "floor",
    "map.voxel_size": 0.2,
    "map.max_voxels": 2000,
}


def reconstructor(frames: int) -> Reconstructor[Any]:
    mapping = Reconstructor(FakeBackend(), from_mapping(SETTINGS))
    for k, frame in enumerate(frames_of_path(frames, calibrated=False)):
        T_odom_base = np.eye(4)
        T_odom_base[0, 3] = 0.3 * k
        mapping.step(frame, SensorContext(T_odom_base=T_odom_base))
    return mapping


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    """Return the state of a session, with the odometry of a rendered path: it has landmarks."""
    state = checkpoint.state_dict(reconstructor(4))
    state["visual_odometry"] = odometry(3).state_dict()
    return flatten(state)


def odometry(frames: int) -> VisualOdometry:
    tracker = VisualOdometry()
    for shot, T_world_network in zip(path_shots()[:frames], network_poses(), strict=False):
        tracker.step(shot.prediction, T_world_network, shot.intrinsics)
    return tracker


def fill(value: float) -> Change:
    return lambda array: np.full_like(array, value)


def first(value: float) -> Change:
    def change(array: np.ndarray) -> np.ndarray:
        changed = array.copy()
        changed.reshape(-1)[0] = value
        return changed

    return change


WRONG: dict[str, list[Change]] = {
    # poses: zero, scaled, sheared, mirrored, far away, not homogeneous
    **{
        pose: [
            fill(0.0),
            lambda T: T * 2.0,
            lambda T: T + np.eye(4)[[1, 0, 2, 3]],
            lambda T: T @ np.diag([-1.0, 1.0, 1.0, 1.0]),
            lambda T: T + 1e200 * np.eye(4)[:, [1, 2, 3, 0]] * np.array([0, 0, 0, 1]),
            lambda T: T + np.eye(4)[[3, 0, 1, 2]] * np.array([[0], [0], [0], [1]]),
        ]
        for pose in (
            "session.T_world_segment",
            "session.T_world_camera",
            "pose_integrator.T_map_odom",
            "pose_integrator.T_odom_base",
            "pose_integrator.T_base_camera",
            "pose_integrator.T_world_camera",
            "scale_correction.odometry.anchor",
            "trajectory.keyframe_poses",
            "map.voxels.T_map_submap",
            "visual_odometry.T_world_camera",
            "visual_odometry.T_world_network",
        )
    },
    "session.segment": [fill(-1), fill(2**62)],
    "session.frames_in_segment": [fill(2**63 - 1)],
    "pose_integrator.T_odom_base": [lambda T: T[:0], lambda T: np.concatenate((T, T))],
    "pose_integrator.steps": [fill(2**63 - 1)],
    "covariance.R_odom_base": [fill(0.0), lambda R: 3.0 * R],
    "covariance.pose": [fill(1e300), lambda P: -P, lambda P: P + np.eye(6)[[1, 2, 3, 4, 5, 0]]],
    "covariance.twist": [fill(-1.0)],
    "leveling.up_camera": [fill(0.0), fill(1e200)],
    "leveling.floor_z": [fill(1e300), lambda z: np.array([1e300])],
    "scale_correction.scale": [fill(0.0), fill(-1.0)],
    "scale_correction.estimator.log_scale": [fill(1e3)],
    "scale_correction.estimator.spread": [fill(-1.0), fill(1e300)],
    "scale_correction.estimator.measurements": [lambda n: n + 1, fill(2**63 - 1)],
    "scale_correction.odometry.standing_position": [fill(1e300)],
    "focal_estimators.camera_frames": [lambda names: np.concatenate((names, names))],
    "focal_estimators.0.log_ratio": [fill(100.0)],
    "trajectory.poses": [fill(0.0), lambda p: p[:-1], fill(1e300)],
    "trajectory.stamps_ns": [lambda s: s[:-1], lambda s: np.append(s, s[-1])],
    "trajectory.keyframe_ids": [fill(7), fill(-1)],
    "map.voxels.max_voxels": [fill(0), fill(-1)],
    "map.voxels.0.counters": [fill(2**63 - 1), fill(-1)],
    "map.voxels.0.keys": [first(-1), lambda k: np.full_like(k, k[0]), lambda k: k + (1 << 42)],
    "map.voxels.0.slots": [first(2**62), first(-1), lambda s: s[::-1].copy()],
    "map.voxels.0.mean": [fill(300.0), first(1e30), lambda m: m + np.float32(1.0)],
    "map.voxels.0.weight": [fill(0.0), first(-1.0), first(1e9)],
    "map.voxels.0.last_frame": [fill(2**62), first(-1)],
    "map.grid.heights": [fill(1e308), lambda h: h[::-1].copy()],
    "map.grid.corner": [fill(2**62)],
    "map.grid.log_odds": [fill(100)],
    "visual_odometry.camera": [fill(0.0), fill(-1.0), fill(1e300), lambda c: c[:3]],
    "visual_odometry.mean_focal": [fill(0.0), fill(-5.0), fill(1e300)],
    "visual_odometry.image": [lambda i: i[:, :5, :5], lambda i: i[:0]],
    "visual_odometry.landmarks.pixels": [fill(1e6), first(-100.0), lambda p: p[1:]],
    "visual_odometry.landmarks.inverse_depth": [fill(0.0), first(-1.0), fill(1e300)],
    "visual_odometry.landmarks.variance": [first(-1.0), fill(1e300)],
    "visual_odometry.landmarks.origin": [fill(1e300)],
    "visual_odometry.landmarks.ray": [fill(1e300)],
}


def test_wrong_content_is_refused_and_changes_nothing(arrays: dict[str, np.ndarray]) -> None:
    loaded = reconstructor(3)
    before = checkpoint.state_dict(loaded)
    accepted, refusals = [], []
    for name, changes in WRONG.items():
        for index, change in enumerate(changes):
            changed = change(arrays[name])
            if changed.shape == arrays[name].shape and np.array_equal(changed, arrays[name]):
                continue
            try:
                checkpoint.load_state_dict(loaded, unflatten({**arrays, name: changed}))
            except SourceError as error:
                refusals.append(str(error))
                np.testing.assert_equal(checkpoint.state_dict(loaded), before, err_msg=name)
            else:
                accepted.append((name, index))
                checkpoint.load_state_dict(loaded, before)
    assert accepted == []
    assert [text for text in refusals if "\n" in text or len(text) > 700] == []


def extremes(array: np.ndarray) -> list[np.ndarray]:
    """Return copies of an array of numbers with extreme values at the first place."""
    if array.dtype.kind not in "fiu" or not array.size:
        return []
    if array.dtype.kind == "f":
        return [first(value)(array) for value in (0.0, 1.0, -1.0, 1e12, 1e30)]
    limits = np.iinfo(array.dtype)
    return [first(v)(array) for v in (0, 1, -1, 2**31, 2**62) if limits.min <= v <= limits.max]


def test_every_number_that_is_accepted_lets_the_next_frame_be_mapped_or_skipped(
    arrays: dict[str, np.ndarray],
) -> None:
    """Extreme values in any entry: refused, or the session continues without an unexpected exception."""
    frame = frames_of_path(5, calibrated=False)[4]
    for name, array in arrays.items():
        for changed in extremes(array):
            loaded = Reconstructor(FakeBackend(), from_mapping(SETTINGS))
            with suppress(SourceError, NonFiniteError):
                checkpoint.load_state_dict(loaded, unflatten({**arrays, name: changed}))
                loaded.step(frame)


def test_odometry_continues_from_every_number_that_it_accepts() -> None:
    arrays, shot = flatten(odometry(3).state_dict()), path_shots()[3]
    assert len(arrays["landmarks.pixels"]) > 100
    for name, array in arrays.items():
        for changed in extremes(array):
            tracker = VisualOdometry()
            with suppress(SourceError):
                tracker.load_state_dict(unflatten({**arrays, name: changed}))
                tracker.step(shot.prediction, network_poses()[3], shot.intrinsics)


def test_the_states_of_several_cameras_are_continued_together_or_not_at_all(
    arrays: dict[str, np.ndarray],
) -> None:
    pair = reconstructor(2), reconstructor(3)
    before = [checkpoint.state_dict(mapping) for mapping in pair]
    good = unflatten(arrays)
    bad = unflatten({**arrays, "trajectory.poses": np.zeros_like(arrays["trajectory.poses"])})
    with pytest.raises(SourceError, match=r"right: .*trajectory"):
        checkpoint.continue_maps({"left": (pair[0], good), "right": (pair[1], bad)})
    np.testing.assert_equal([checkpoint.state_dict(mapping) for mapping in pair], before)
    checkpoint.continue_maps({"left": (pair[0], good), "right": (pair[1], good)})
    assert [len(mapping.trajectory) for mapping in pair] == [4, 4]


class Failing:
    """A component whose state dict no check covers: it changes and then fails."""

    def __init__(self) -> None:
        self.value = 1

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value = int(state["value"])
        if self.value == 2:
            raise ZeroDivisionError


def test_an_unexpected_error_of_a_component_is_a_refusal_that_changes_nothing() -> None:
    one, other = Failing(), Failing()
    with pytest.raises(SourceError, match="other: ZeroDivisionError"):
        load_all({"one": one, "other": other}, {"one": {"value": 3}, "other": {"value": 2}})
    assert (one.value, other.value) == (1, 1)
