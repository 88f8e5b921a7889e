# SPDX-License-Identifier: Apache-2.0
"""The whole pipeline by followed corners: poses, depths, beginnings, going on with a run, scale."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes import FakeBackend, FakeState, image
from tracked_walk import (
    FRAMES,
    HEIGHT,
    WIDTH,
    assert_near,
    frames_of_walk,
    stumbling,
    walk,
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


class Stumbler(FakeBackend):
    """Sees the walk's true depths, whatever it is shown, and moves badly."""

    def step(self, rgb: UInt8Array, state: FakeState) -> tuple[Prediction, FakeState]:
        answer = walk()[state.seen].prediction
        T_segment_camera = stumbling()[state.seen]
        return replace(answer, rgb=rgb, T_segment_camera=T_segment_camera), FakeState(state.seen + 1)


class Tracker(Stumbler):
    """Its weights were made for tracks."""

    pose_source = "visual_odometry"


def mapping_by(source: str, backend: FakeBackend | None = None) -> Reconstructor[FakeState]:
    return Reconstructor(
        backend or Stumbler(), from_mapping({"pose_source": source, "map.voxel_size": 0.2})
    )


def test_a_reconstructor_by_tracks_follows_the_true_path() -> None:
    mapping = mapping_by("visual_odometry")
    updates = [mapping.step(frame) for frame in frames_of_walk(FRAMES)]
    assert_near([update.T_map_camera for update in updates])
    assert updates[0].landmarks == 0
    assert min(update.landmarks for update in updates[1:]) > 150
    assert all(update.timings_s["visual_odometry"] > 0.0 for update in updates)


def test_a_reconstructor_by_the_network_calls_no_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VisualOdometry, "step", lambda *_: pytest.fail("tracked"))
    mapping = mapping_by("network", Tracker())
    updates = [mapping.step(frame) for frame in frames_of_walk(3)]
    assert [update.landmarks for update in updates] == [0, 0, 0]
    assert "visual_odometry" not in updates[-1].timings_s
    assert "visual_odometry" not in mapping.components()
    T_moved = se3_inverse(updates[0].T_map_camera) @ updates[2].T_map_camera
    np.testing.assert_allclose(T_moved, stumbling()[2], atol=1e-12)


@pytest.mark.parametrize("as_made", ["network", "visual_odometry"])
@pytest.mark.parametrize("wished", ["auto", "network", "visual_odometry"])
def test_poses_are_made_as_wished_or_else_as_the_weights_were_made_for(
    as_made: str, wished: str
) -> None:
    mapping = mapping_by(wished, Tracker() if as_made == "visual_odometry" else Stumbler())
    _, last = (mapping.step(frame) for frame in frames_of_walk(2))
    source = as_made if wished == "auto" else wished
    assert (last.landmarks > 0) == ("visual_odometry" in last.timings_s) == (source == "visual_odometry")


@pytest.mark.parametrize(
    "forget",
    [
        lambda mapping: mapping.reset(),
        lambda mapping: mapping.reset_state(),
        lambda mapping: checkpoint.continue_map(mapping, checkpoint.state_dict(mapping)),
    ],
    ids=["restart", "reopen", "restore"],
)
def test_nothing_is_followed_from_before_a_new_beginning(forget: Callable[[Any], None]) -> None:
    mapping = mapping_by("visual_odometry")
    before = [mapping.step(frame) for frame in frames_of_walk(4)][-1]
    forget(mapping)
    seen = mapping.session.state.seen
    first, second = (mapping.step(frame) for frame in frames_of_walk(6)[seen : seen + 2])
    assert first.landmarks == 0
    assert second.landmarks > 150
    # After a restored state the first step is the network's own; where a new map begins there is none.
    T_step = se3_inverse(stumbling()[seen - 1]) @ stumbling()[seen] if seen else np.eye(4)
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
def test_a_run_by_tracks_goes_on_to_the_last_bit_as_if_it_had_never_stopped(
    break_at: int, calibrated: bool
) -> None:
    frames = frames_of_walk(10, calibrated=calibrated)
    frames[6] = replace(frames[6], rgb=image(3, HEIGHT, WIDTH))  # a ramp has no corners to follow
    whole, early = mapping_by("visual_odometry"), mapping_by("visual_odometry")
    expected = [whole.step(frame) for frame in frames]
    for frame in frames[:break_at]:
        early.step(frame)
    state = checkpoint.state_dict(early)
    late = mapping_by("visual_odometry")
    checkpoint.load_state_dict(late, state)
    for frame, update in zip(frames[break_at:], expected[break_at:], strict=True):
        assert_same(late.step(frame), update)
    np.testing.assert_equal(checkpoint.state_dict(late), checkpoint.state_dict(whole))
    assert (expected[6].landmarks == 0, expected[9].landmarks > 0) == (True, True)


def test_a_run_by_the_network_cannot_be_gone_on_with_by_tracks() -> None:
    by_network, by_tracks = mapping_by("network"), mapping_by("visual_odometry")
    for mapping in (by_network, by_tracks):
        mapping.step(frames_of_walk(1)[0])
    with pytest.raises(SourceError, match="odometry"):
        checkpoint.load_state_dict(by_tracks, checkpoint.state_dict(by_network))


class Swelling(FakeBackend):
    """Sees the walk truly, and all lengths half as large again in each new segment."""

    def __init__(self) -> None:
        super().__init__()
        self._shown = 0
        self._opened_at: list[int] = []

    def step(self, rgb: UInt8Array, state: FakeState) -> tuple[Prediction, FakeState]:
        if state.seen == 0:
            self._opened_at.append(max(0, self._shown - 1))  # with the image that ended the one before
        first, unit = self._opened_at[-1], 1.5 ** (len(self._opened_at) - 1)
        self._shown = max(self._shown, first + state.seen + 1)
        shot = walk()[first + state.seen]
        T_segment_camera = se3_inverse(walk()[first].T_true) @ shot.T_true
        T_segment_camera[:3, 3] *= unit
        answer = replace(shot.with_depth(shot.depth * unit).prediction, rgb=rgb)
        return replace(answer, T_segment_camera=T_segment_camera), FakeState(state.seen + 1)


def test_a_measured_scale_keeps_the_way_right_where_the_unit_of_the_network_jumps() -> None:
    values = {"pose_source": "network", "scale.source": "depth", "map.voxel_size": 0.2}
    mapping = Reconstructor(Swelling(), from_mapping({**values, "reset_interval": 6}))
    updates = [
        mapping.step(frame, SensorContext(measured_depth=shot.depth))
        for frame, shot in zip(frames_of_walk(FRAMES), walk(), strict=True)
    ]
    assert [update.segment for update in updates[5::6]] == [0, 1]
    assert_near([update.T_map_camera for update in updates])


@pytest.mark.parametrize("source", ["network", "visual_odometry"])
def test_what_a_reset_seems_to_do_to_the_scale_counts_only_where_no_landmark_crosses_it(
    source: str,
) -> None:
    # Of real networks that is biased: it shrank recorded ways to half within some hundred images.
    values = {"pose_source": source, "scale.source": "odometry", "map.voxel_size": 0.2}
    mapping = Reconstructor(Swelling(), from_mapping({**values, "reset_interval": 6}))
    scales = {mapping.step(frame).scale for frame in frames_of_walk(FRAMES)}
    assert (scales == {1.0}) == (source == "visual_odometry")
