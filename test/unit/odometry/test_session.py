# SPDX-License-Identifier: Apache-2.0
"""Streaming session: segments, state resets and poses."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes import FakeBackend, FakeState, image, prediction

from ttt3r_ros.errors import NonFiniteError
from ttt3r_ros.geometry import pose_matrix
from ttt3r_ros.odometry.session import StreamingSession

if TYPE_CHECKING:
    from ttt3r_ros.types import Prediction, UInt8Array

NON_FINITE_MARK = 13


def positions(session: StreamingSession[FakeState], count: int) -> np.ndarray:
    return np.array([session.step(image(k + 20)).T_world_camera[:3, 3] for k in range(count)])


@pytest.mark.parametrize("interval", range(8))
def test_state_resets_do_not_change_the_trajectory(interval: int) -> None:
    session = StreamingSession(FakeBackend(), interval)
    expected = np.zeros((20, 3))
    expected[:, 2] = np.arange(20)
    np.testing.assert_allclose(positions(session, 20), expected, atol=1e-12)


@pytest.mark.parametrize(("interval", "resets"), [(0, 0), (1, 12), (3, 4), (5, 2), (12, 1), (13, 0)])
def test_a_segment_ends_after_the_interval(interval: int, resets: int) -> None:
    session = StreamingSession(FakeBackend(), interval)
    positions(session, 12)
    assert session.segment == resets


def test_an_estimate_has_the_segment_of_its_prediction() -> None:
    session = StreamingSession(FakeBackend(), 3)
    assert [session.step(image(k + 20)).segment for k in range(7)] == [0, 0, 0, 1, 1, 1, 2]


def test_the_last_frame_of_a_segment_is_also_the_first_of_the_next() -> None:
    backend = FakeBackend()
    positions(StreamingSession(backend, 3), 7)
    a, b, c, d, e, f, g = range(20, 27)
    assert backend.shown == [
        (a, 0), (b, 1), (c, 2), (c, 0),
        (d, 1), (e, 2), (f, 3), (f, 0),
        (g, 1),
    ]  # fmt: skip


def test_the_initial_state_is_never_changed() -> None:
    backend = FakeBackend()
    session = StreamingSession(backend, 2)
    first = session.state
    positions(session, 5)
    assert first == backend.initial_state() == FakeState(0)
    session.reset()
    assert session.state == first


def test_a_reset_starts_a_new_world_and_segment() -> None:
    session = StreamingSession(FakeBackend(), 3)
    walks = []
    for _ in range(2):
        estimates = [session.step(image(k + 20)) for k in range(8)]
        walks.append([(s.segment, s.T_world_camera[2, 3]) for s in estimates])
        session.reset()
        assert session.segment == 0
    assert walks[0] == walks[1]


@pytest.mark.parametrize("interval", [0, 2, 3, 4])
def test_a_frame_without_a_finite_prediction_does_not_change_the_session(interval: int) -> None:
    session = StreamingSession(FakeBackend(), interval)
    positions(session, 3)
    before = (session.state, session.segment)
    with pytest.raises(NonFiniteError, match="non-finite"):
        session.step(image(NON_FINITE_MARK))
    assert (session.state, session.segment) == before
    assert session.step(image(99)).T_world_camera[2, 3] == 3.0


class FailingStartBackend(FakeBackend):
    """Has no finite prediction for an image marked 50 as the first of a segment."""

    def step(self, rgb: UInt8Array, state: FakeState) -> tuple[Prediction, FakeState]:
        if rgb[0, 0, 0] == 50 and state.seen == 0:
            msg = "no finite prediction"
            raise NonFiniteError(msg)
        return super().step(rgb, state)


def test_a_failed_start_of_a_segment_is_repeated_with_the_next_frame(
    caplog: pytest.LogCaptureFixture,
) -> None:
    session = StreamingSession(FailingStartBackend(), 3)
    marks = [20, 21, 50, 22, 23, 24]
    with caplog.at_level(logging.WARNING):
        estimates = [session.step(image(mark)) for mark in marks]
    assert [estimate.T_world_camera[2, 3] for estimate in estimates] == [0, 1, 2, 3, 4, 5]
    assert [estimate.segment for estimate in estimates] == [0, 0, 0, 0, 1, 1]
    assert "segment 0" in caplog.text


class Turning(FakeBackend):
    """Turns about a skew axis and moves with every image; its poses have the precision of ``dtype``."""

    def __init__(self, dtype: type[np.floating[Any]]) -> None:
        super().__init__()
        self._dtype = dtype

    def step(self, rgb: UInt8Array, state: FakeState) -> tuple[Prediction, FakeState]:
        angle = 0.3 * state.seen
        quat = (np.cos(angle), *(np.sin(angle) * np.array([0.48, 0.6, 0.64])))
        T = pose_matrix(np.array([0.1 * state.seen, 0.0, 0.05, *quat]))
        return prediction(T.astype(self._dtype).astype(np.float64)), FakeState(state.seen + 1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 5e-7)])
def test_thousands_of_resets_keep_rotations_orthonormal(
    dtype: type[np.floating[Any]], tolerance: float
) -> None:
    session = StreamingSession(Turning(dtype), 1)
    picture = image()
    T = np.eye(4)
    for _ in range(3000):
        T = session.step(picture).T_world_camera
    assert session.segment == 3000
    np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=tolerance)
    assert np.linalg.det(T[:3, :3]) == pytest.approx(1.0, abs=tolerance)
