# SPDX-License-Identifier: Apache-2.0
"""The viewer's scene beside a reconstruction that begins anew, is emptied and restored."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import HEIGHT, WIDTH, FakeBackend, frame

from ttt3r_ros.config import Config
from ttt3r_ros.pipeline import checkpoint
from ttt3r_ros.pipeline.reconstructor import Reconstructor
from ttt3r_ros.viewer.live import Follower, Snapshot
from ttt3r_ros.viewer.scene import Choice, Scene

PIXELS = HEIGHT * WIDTH


class Mapped:
    """A reconstruction with a scene that follows it; each frame sees a wall of its own."""

    def __init__(self) -> None:
        self.reconstructor = Reconstructor(FakeBackend(), Config(level_source="none"))
        self.follower = Follower(Scene(0.01))
        self._frames = 0

    def step(self) -> Snapshot:
        self._frames += 1
        update = self.reconstructor.step(frame(0, self._frames * 10**9))
        return Snapshot.of(update, self.reconstructor)

    def walk(self, frames: int) -> None:
        for _ in range(frames):
            self.follower.look(self.step())

    @property
    def seen(self) -> tuple[int, int]:
        """Poses, and frames of which points are shown."""
        scene = self.follower.scene
        return len(scene.way), scene.count(Choice()) // PIXELS


@pytest.fixture
def mapped() -> Mapped:
    mapped = Mapped()
    mapped.walk(3)
    assert mapped.seen == (3, 3)
    return mapped


def test_a_reset_empties_the_scene_though_no_frame_comes(mapped: Mapped):
    mapped.reconstructor.reset()
    mapped.follower.look(None)
    assert mapped.seen == (0, 0)
    assert mapped.follower.scene.sight is None


def test_the_first_frame_after_a_reset_is_shown(mapped: Mapped):
    mapped.reconstructor.reset()
    mapped.walk(1)
    assert mapped.seen == (1, 1)


def test_a_new_trajectory_that_is_longer_than_the_old_one_is_not_taken_for_it(mapped: Mapped):
    mapped.reconstructor.reset()
    for _ in range(4):
        snapshot = mapped.step()
    mapped.follower.look(snapshot)
    assert mapped.seen == (4, 1)


def test_a_frame_from_before_a_reset_shows_nothing(mapped: Mapped):
    late = mapped.step()
    mapped.reconstructor.reset()
    mapped.follower.look(late)
    assert mapped.seen == (0, 0)
    mapped.walk(1)
    assert mapped.seen == (1, 1)


def test_emptying_the_map_empties_the_points_alone(mapped: Mapped):
    mapped.reconstructor.map.clear()
    mapped.follower.look(None)
    assert mapped.seen == (3, 0)
    mapped.walk(1)
    assert mapped.seen == (4, 1)


def test_a_frame_from_before_the_map_was_emptied_adds_a_pose_alone(mapped: Mapped):
    late = mapped.step()
    mapped.reconstructor.map.clear()
    mapped.follower.look(late)
    assert mapped.seen == (4, 0)


def test_a_restored_reconstruction_shows_its_way_at_once(mapped: Mapped):
    state = checkpoint.state_dict(mapped.reconstructor)
    mapped.walk(2)
    checkpoint.continue_map(mapped.reconstructor, state)
    mapped.follower.look(None)
    assert mapped.seen == (3, 0)
    mapped.walk(1)
    assert mapped.seen == (4, 1)


def test_a_map_that_is_leveled_anew_takes_its_points_along(mapped: Mapped):
    before = mapped.follower.scene.cloud(Choice()).points
    T = np.eye(4)
    T[2, 3] = 5.0
    mapped.reconstructor.trajectory.transform(T)
    mapped.reconstructor.map.transform(T)
    mapped.follower.look(None)
    assert mapped.seen == (3, 3)
    assert mapped.follower.scene.cloud(Choice()).points == pytest.approx(before + [0, 0, 5], abs=1e-4)
    mapped.walk(1)
    assert mapped.seen[0] == 4


def test_only_what_is_new_of_a_trajectory_is_read(mapped: Mapped, monkeypatch: pytest.MonkeyPatch):
    trajectory, read = mapped.reconstructor.trajectory, []
    delta = trajectory.delta

    def noted(revision: int, known: int):
        answer = delta(revision, known)
        read.append(len(answer.poses))
        return answer

    monkeypatch.setattr(trajectory, "delta", noted)
    mapped.walk(1)
    mapped.follower.look(None)
    assert read == [1, 0]
