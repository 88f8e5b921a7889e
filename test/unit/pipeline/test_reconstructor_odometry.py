# SPDX-License-Identifier: Apache-2.0
"""The whole pipeline with visual odometry: poses, resets, checkpoints and scale."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes import FakeBackend, FakeState, image
from rendered_path import (
    FRAMES,
    HEIGHT,
    WIDTH,
    assert_near,
    frames_of_path,
    network_poses,
    path_shots,
)

from ttt3r_ros.config import from_mapping
from ttt3r_ros.errors import SourceError
from ttt3r_ros.geometry import se3_inverse
from ttt3r_ros.odometry.sensor_context import SensorContext
from ttt3r_ros.odometry.visual_odometry import VisualOdometry
from ttt3r_ros.pipeline import checkpoint
from ttt3r_ros.pipeline.reconstructor import Reconstructor

if TYPE_CHECKING:
    from collections.abc import Callable

    from ttt3r_ros.types import Prediction, UInt8Array, Update


class InaccurateBackend(FakeBackend):
    """Predicts the true depths of the path for any image, and inaccurate poses."""

    def step(self, rgb: UInt8Array, state: FakeState) -> tuple[Prediction, FakeState]:
        answer = path_shots()[state.seen].prediction
        T_segment_camera = network_poses()[state.seen]
        return replace(answer, rgb=rgb, T_segment_camera=T_segment_camera), FakeState(state.seen + 1)


class RecommendingBackend(InaccurateBackend):
    """Recommends visual odometry."""

    pose_source = "visual_odometry"


def create_reconstructor(source: str, backend: FakeBackend | None = None) -> Reconstructor[FakeState]:
    return Reconstructor(
        backend or InaccurateBackend(), from_mapping({"pose_source": source, "map.voxel_size": 0.2})
    )


def test_visual_odometry_estimates_the_true_path() -> None:
    mapping = create_reconstructor("visual_odometry")
    updates = [mapping.step(frame) for frame in frames_of_path(FRAMES)]
    assert_near([update.T_map_camera for update in updates])
    assert updates[0].landmarks == 0
    assert min(update.landmarks for update in updates[1:]) > 150
    assert all(update.timings_s["visual_odometry"] > 0.0 for update in updates)


def test_pose_source_network_uses_no_visual_odometry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VisualOdometry, "step", lambda *_: pytest.fail("step was called"))
    mapping = create_reconstructor("network", RecommendingBackend())
    updates = [mapping.step(frame) for frame in frames_of_path(3)]
    assert [update.landmarks for update in updates] == [0, 0, 0]
    assert "visual_odometry" not in updates[-1].timings_s
    assert "visual_odometry" not in mapping.components()
    T_moved = se3_inverse(updates[0].T_map_camera) @ updates[2].T_map_camera
    np.testing.assert_allclose(T_moved, network_poses()[2], atol=1e-12)


def test_the_pose_source_is_the_setting_or_the_recommendation() -> None:
    wrong = []
    for backend, recommended in (
        (InaccurateBackend, "network"),
        (RecommendingBackend, "visual_odometry"),
    ):
        for setting in ("auto", "network", "visual_odometry"):
            reconstructor = create_reconstructor(setting, backend())
            _, last = (reconstructor.step(frame) for frame in frames_of_path(2))
            expected = recommended if setting == "auto" else setting
            by_odometry = last.landmarks > 0, "visual_odometry" in last.timings_s
            if by_odometry != (expected == "visual_odometry",) * 2:
                wrong.append((recommended, setting))
    assert wrong == []


@pytest.mark.parametrize(
    "reset",
    [
        lambda mapping: mapping.reset(),
        lambda mapping: mapping.reset_state(),
        lambda mapping: checkpoint.continue_map(mapping, checkpoint.state_dict(mapping)),
    ],
    ids=["reset", "reset_state", "continue_map"],
)
def test_no_landmark_survives_a_reset(reset: Callable[[Any], None]) -> None:
    mapping = create_reconstructor("visual_odometry")
    before = [mapping.step(frame) for frame in frames_of_path(4)][-1]
    reset(mapping)
    seen = mapping.session.state.seen
    first, second = (mapping.step(frame) for frame in frames_of_path(6)[seen : seen + 2])
    assert first.landmarks == 0
    assert second.landmarks > 150
    # After a loaded state the first step is that of the network; a new map starts without one.
    T_step = se3_inverse(network_poses()[seen - 1]) @ network_poses()[seen] if seen else np.eye(4)
    np.testing.assert_allclose(se3_inverse(before.T_odom_base) @ first.T_odom_base, T_step, atol=1e-12)


def assert_same(one: Update, other: Update) -> None:
    for name in (
        "T_map_camera",
        "T_map_odom",
        "T_odom_base",
        "T_step",
        "pose_covariance",
        "twist_covariance",
    ):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(one.prediction.points_camera, other.prediction.points_camera)
    for name in ("landmarks", "intrinsics", "scale", "segment", "fused_fraction"):
        assert getattr(one, name) == getattr(other, name)


@pytest.mark.parametrize(("break_at", "calibrated"), [(1, True), (4, False), (7, True)])
def test_a_loaded_run_with_visual_odometry_continues_to_the_last_bit(
    break_at: int, calibrated: bool
) -> None:
    frames = frames_of_path(10, calibrated=calibrated)
    frames[6] = replace(frames[6], rgb=image(3, HEIGHT, WIDTH))  # a ramp has no corners
    uninterrupted, interrupted = (
        create_reconstructor("visual_odometry"),
        create_reconstructor("visual_odometry"),
    )
    expected = [uninterrupted.step(frame) for frame in frames]
    for frame in frames[:break_at]:
        interrupted.step(frame)
    state = checkpoint.state_dict(interrupted)
    loaded = create_reconstructor("visual_odometry")
    checkpoint.load_state_dict(loaded, state)
    for frame, update in zip(frames[break_at:], expected[break_at:], strict=True):
        assert_same(loaded.step(frame), update)
    np.testing.assert_equal(checkpoint.state_dict(loaded), checkpoint.state_dict(uninterrupted))
    assert (expected[6].landmarks == 0, expected[9].landmarks > 0) == (True, True)


def test_a_run_does_not_continue_with_another_pose_source() -> None:
    without_odometry, with_odometry = (
        create_reconstructor("network"),
        create_reconstructor("visual_odometry"),
    )
    for mapping in (without_odometry, with_odometry):
        mapping.step(frames_of_path(1)[0])
    with pytest.raises(SourceError, match="odometry"):
        checkpoint.load_state_dict(with_odometry, checkpoint.state_dict(without_odometry))


class GrowingUnitBackend(FakeBackend):
    """Predicts true depths and poses in a unit that shrinks by a third in each new segment."""

    def __init__(self) -> None:
        super().__init__()
        self._shown = 0
        self._started_at: list[int] = []

    def step(self, rgb: UInt8Array, state: FakeState) -> tuple[Prediction, FakeState]:
        if state.seen == 0:
            self._started_at.append(
                max(0, self._shown - 1)
            )  # the last image of a segment is also the first of the next
        first, unit = self._started_at[-1], 1.5 ** (len(self._started_at) - 1)
        self._shown = max(self._shown, first + state.seen + 1)
        shot = path_shots()[first + state.seen]
        T_segment_camera = se3_inverse(path_shots()[first].T_true) @ shot.T_true
        T_segment_camera[:3, 3] *= unit
        answer = replace(shot.with_depth(shot.depth * unit).prediction, rgb=rgb)
        return replace(answer, T_segment_camera=T_segment_camera), FakeState(state.seen + 1)


def test_a_measured_scale_corrects_jumps_of_the_network_unit() -> None:
    values = {"pose_source": "network", "scale.source": "depth", "map.voxel_size": 0.2}
    mapping = Reconstructor(GrowingUnitBackend(), from_mapping({**values, "reset_interval": 6}))
    updates = [
        mapping.step(frame, SensorContext(measured_depth=shot.depth))
        for frame, shot in zip(frames_of_path(FRAMES), path_shots(), strict=True)
    ]
    assert [update.segment for update in updates[5::6]] == [0, 1]
    assert_near([update.T_map_camera for update in updates])


@pytest.mark.parametrize("source", ["network", "visual_odometry"])
def test_the_scale_ratio_of_a_state_reset_applies_without_landmarks_only(
    source: str,
) -> None:
    # The ratio of real networks is biased: it halved recorded paths within some hundred images.
    values = {"pose_source": source, "scale.source": "odometry", "map.voxel_size": 0.2}
    mapping = Reconstructor(GrowingUnitBackend(), from_mapping({**values, "reset_interval": 6}))
    scales = {mapping.step(frame).scale for frame in frames_of_path(FRAMES)}
    assert (scales == {1.0}) == (source == "visual_odometry")
