# SPDX-License-Identifier: Apache-2.0
"""The viewer of a running reconstruction, which is reset, cleared and restored; its queue of one frame."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from fakes import HEIGHT, WIDTH, FakeBackend, frame

from ttt3r_ros.config import Config
from ttt3r_ros.pipeline import checkpoint
from ttt3r_ros.pipeline.reconstructor import Reconstructor
from ttt3r_ros.viewer.live import FrameReference, LatestSlot, SceneUpdater
from ttt3r_ros.viewer.scene import Scene, Selection

PIXELS = HEIGHT * WIDTH


class MappedScene:
    """A reconstruction and the scene of its viewer; each frame observes a wall of its own."""

    def __init__(self) -> None:
        self.reconstructor = Reconstructor(FakeBackend(), Config(level_source="none"))
        self.updater = SceneUpdater(Scene(0.01))
        self._frames = 0

    def step(self) -> FrameReference:
        self._frames += 1
        update = self.reconstructor.step(frame(0, self._frames * 10**9))
        return FrameReference.create(update, self.reconstructor)

    def map_frames(self, count: int) -> None:
        for _ in range(count):
            self.updater.update(self.step())

    @property
    def counts(self) -> tuple[int, int]:
        """Number of poses, and of frames whose points are shown."""
        scene = self.updater.scene
        return len(scene.camera_path), scene.count(Selection()) // PIXELS


@pytest.fixture
def mapped() -> MappedScene:
    mapped = MappedScene()
    mapped.map_frames(3)
    assert mapped.counts == (3, 3)
    return mapped


def test_a_reset_clears_the_scene_without_a_new_frame(mapped: MappedScene):
    mapped.reconstructor.reset()
    mapped.updater.update(None)
    assert mapped.counts == (0, 0)
    assert mapped.updater.scene.rgbd is None


def test_the_first_frame_after_a_reset_is_shown(mapped: MappedScene):
    mapped.reconstructor.reset()
    mapped.map_frames(1)
    assert mapped.counts == (1, 1)


def test_a_new_trajectory_longer_than_the_previous_one_replaces_it(mapped: MappedScene):
    mapped.reconstructor.reset()
    for _ in range(4):
        reference = mapped.step()
    mapped.updater.update(reference)
    assert mapped.counts == (4, 1)


def test_a_frame_from_before_a_reset_adds_nothing(mapped: MappedScene):
    late = mapped.step()
    mapped.reconstructor.reset()
    mapped.updater.update(late)
    assert mapped.counts == (0, 0)
    mapped.map_frames(1)
    assert mapped.counts == (1, 1)


def test_clearing_the_map_removes_points_and_keeps_poses(mapped: MappedScene):
    mapped.reconstructor.map.clear()
    mapped.updater.update(None)
    assert mapped.counts == (3, 0)
    mapped.map_frames(1)
    assert mapped.counts == (4, 1)


def test_a_frame_from_before_the_map_was_cleared_adds_only_a_pose(mapped: MappedScene):
    late = mapped.step()
    mapped.reconstructor.map.clear()
    mapped.updater.update(late)
    assert mapped.counts == (4, 0)


def test_a_restored_reconstruction_shows_its_path_without_a_new_frame(mapped: MappedScene):
    state = checkpoint.state_dict(mapped.reconstructor)
    mapped.map_frames(2)
    checkpoint.continue_map(mapped.reconstructor, state)
    mapped.updater.update(None)
    assert mapped.counts == (3, 0)
    mapped.map_frames(1)
    assert mapped.counts == (4, 1)


def test_points_move_when_the_map_is_leveled(mapped: MappedScene):
    before = mapped.updater.scene.cloud(Selection()).points
    T = np.eye(4)
    T[2, 3] = 5.0
    mapped.reconstructor.trajectory.transform(T)
    mapped.reconstructor.map.transform(T)
    mapped.updater.update(None)
    assert mapped.counts == (3, 3)
    assert mapped.updater.scene.cloud(Selection()).points == pytest.approx(before + [0, 0, 5], abs=1e-4)
    mapped.map_frames(1)
    assert mapped.counts[0] == 4


def test_only_new_poses_are_read(mapped: MappedScene, monkeypatch: pytest.MonkeyPatch):
    trajectory, counts = mapped.reconstructor.trajectory, []
    delta = trajectory.delta

    def recorded_delta(revision: int, count: int):
        result = delta(revision, count)
        counts.append(len(result.poses))
        return result

    monkeypatch.setattr(trajectory, "delta", recorded_delta)
    mapped.map_frames(1)
    mapped.updater.update(None)
    assert counts == [1, 0]


def test_the_newest_item_displaces_the_waiting_one_and_is_counted():
    slot: LatestSlot[int] = LatestSlot()
    assert slot.take() is None
    for item in (1, 2, 3):
        slot.put(item)
    assert (slot.take(), slot.take(), slot.dropped) == (3, None, 2)


def test_with_two_threads_each_item_is_taken_in_order_or_counted_as_dropped():
    slot: LatestSlot[int] = LatestSlot()
    taken: list[int] = []
    done = threading.Event()

    def take() -> None:
        item: int | None = 0
        while item is not None or not done.is_set():
            item = slot.take()
            taken.extend([] if item is None else [item])

    thread = threading.Thread(target=take)
    thread.start()
    for item in range(20_000):
        slot.put(item)
    done.set()
    thread.join()
    taken += [item for item in (slot.take(),) if item is not None]
    assert taken == sorted(taken)
    assert len(taken) + slot.dropped == 20_000
