# SPDX-License-Identifier: Apache-2.0
"""The viewer's scene as values: growing, choosing, going back in time, moving with the trajectory."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest
from fakes import DEPTH_M, HEIGHT, WIDTH, FakeBackend, frame

from ttt3r_ros.config import Config
from ttt3r_ros.pipeline.reconstructor import Reconstructor
from ttt3r_ros.types import Intrinsics
from ttt3r_ros.viewer import colors
from ttt3r_ros.viewer.cameras import Way
from ttt3r_ros.viewer.live import Mailbox
from ttt3r_ros.viewer.points import BANDS
from ttt3r_ros.viewer.scene import Choice, Scene, Sight

PIXELS = HEIGHT * WIDTH


def walked(frames: int, voxel_size: float = 0.01) -> tuple[Scene, Reconstructor]:
    """A scene that has followed a reconstruction; each frame sees a wall of its own."""
    reconstructor = Reconstructor(FakeBackend(), Config(level_source="none"))
    scene = Scene(voxel_size)
    for index in range(frames):
        update = reconstructor.step(frame(0, (index + 1) * 10**9))
        scene.follow(reconstructor.trajectory.poses()[1][index:], index)
        scene.add(Sight.of(update), index, update.segment)
    return scene, reconstructor


EVERYTHING = Choice()


def signatures(scene: Scene, choice: Choice = EVERYTHING) -> dict[str, object]:
    pieces = [*scene.point_pieces(choice), *scene.camera_pieces(choice)]
    return {piece.name: piece.signature for piece in pieces}


def test_the_scene_grows_by_what_each_frame_sees():
    scene, _ = walked(3)
    assert len(scene.points) == 3 * PIXELS == scene.count(Choice())
    assert len(scene.way) == 3


def test_points_are_where_the_camera_saw_them():
    scene, reconstructor = walked(2)
    cloud = scene.cloud(Choice())
    _, poses = reconstructor.trajectory.poses()
    assert np.unique(cloud.points[:, 0].round(3)) == pytest.approx(poses[:, 0] + DEPTH_M, abs=1e-3)


def test_a_higher_confidence_leaves_fewer_points():
    scene, _ = walked(1)  # the fake network's confidence is 3
    assert scene.count(Choice(band=BANDS.index(3.0))) == PIXELS
    assert scene.count(Choice(band=BANDS.index(4.0))) == 0


def test_going_back_in_time_shows_what_was_seen_until_then():
    scene, _ = walked(4)
    assert [scene.count(Choice(until=until)) for until in range(4)] == [
        PIXELS * (until + 1) for until in range(4)
    ]
    assert len(scene.cloud(Choice(until=1)).points) == 2 * PIXELS


def test_too_many_points_are_thinned_by_a_power_of_two():
    scene, _ = walked(4)
    choice = Choice(most_points=PIXELS)
    assert scene.stride(choice) == 4
    assert scene.count(choice) == PIXELS == len(scene.cloud(choice).points)
    assert scene.stride(Choice(most_points=2 * PIXELS + 1)) == 2


def test_nothing_counts_as_changed_when_nothing_is_new():
    scene, _ = walked(3)
    assert signatures(scene) == signatures(scene)


def test_full_chunks_and_old_poses_do_not_change_as_the_scene_grows():
    scene, reconstructor = walked(130)
    before = signatures(scene)
    for index in range(130, 140):
        update = reconstructor.step(frame(0, (index + 1) * 10**9))
        scene.follow(reconstructor.trajectory.poses()[1][index:], index)
        scene.points.seal()
        scene.add(Sight.of(update), index, update.segment)
    after = signatures(scene, Choice(frusta=True))
    unchanged = {name for name in before if before[name] == after[name]}
    assert {name for name in before if name.startswith("/map/")} <= unchanged


def test_points_move_with_the_trajectory_and_are_not_made_anew():
    scene, reconstructor = walked(2)
    before, shown = scene.cloud(Choice()), signatures(scene)
    T = np.eye(4)
    T[:3, 3] = (0.0, 0.0, 5.0)
    reconstructor.trajectory.transform(T)
    scene.follow(reconstructor.trajectory.poses()[1])
    assert scene.cloud(Choice()).points == pytest.approx(before.points + [0, 0, 5], abs=1e-4)
    assert {name: signature for name, signature in signatures(scene).items() if "/map" in name} == {
        name: signature for name, signature in shown.items() if "/map" in name
    }


def test_segments_have_colors_of_their_own():
    scene, _ = walked(2)
    plain, tinted = scene.cloud(Choice()), scene.cloud(Choice(by_segment=True))
    assert np.array_equal(plain.points, tinted.points)
    assert not np.array_equal(plain.rgb, tinted.rgb)


def test_a_depth_image_gives_the_points_that_it_shows():
    camera = Intrinsics(10.0, 20.0, 2.0, 1.0, 5, 3)
    depth = np.full((3, 5), 4.0, np.float32)
    depth[0, 0] = np.nan
    sight = Sight.of_depth(np.zeros((3, 5, 3), np.uint8), depth, np.ones((3, 5), np.float32), camera)
    assert sight.points_camera[1, 2].tolist() == [0.0, 0.0, 4.0]
    assert sight.points_camera[2, 4] == pytest.approx([0.8, 0.2, 4.0])
    assert np.isnan(sight.points_camera[0, 0]).all()


def test_points_beyond_the_range_are_left_out():
    scene = Scene(0.01, max_range=1.0)
    scene.follow(np.array([[0, 0, 0, 0, 0, 0, 1.0]]))
    depth = np.array([[0.5, 2.0]], np.float32)
    camera = Intrinsics(10.0, 10.0, 0.5, 0.0, 2, 1)
    scene.add(
        Sight.of_depth(np.zeros((1, 2, 3), np.uint8), depth, np.ones((1, 2), np.float32), camera), 0, 0
    )
    assert scene.count(Choice()) == 1


def straight(poses: int, start: int = 0) -> np.ndarray:
    """Poses (N, 7) ten centimeters apart."""
    rows = np.zeros((poses, 7))
    rows[:, 0], rows[:, 6] = (start + np.arange(poses)) * 0.1, 1.0
    return rows


def test_every_pose_is_on_the_way_and_frusta_are_bounded():
    scene = Scene(0.05)
    scene.follow(straight(3000))
    assert 128 <= 3000 // scene.way.frustum_stride() <= 256
    lines = [piece.make() for piece in scene.camera_pieces(Choice(frusta=False))]
    assert sum(len(group.ends) for group in lines) == 2999
    with_frusta = [piece.make() for piece in scene.camera_pieces(Choice())]
    assert sum(len(group.ends) for group in with_frusta) - 2999 <= 8 * 256


@pytest.mark.parametrize("until", [None, 70_001])
def test_of_a_long_way_every_so_many_th_pose_is_drawn_in_a_bounded_number_of_pieces(until):
    scene = Scene(0.05)
    scene.follow(straight(100_003))
    pieces = list(scene.camera_pieces(Choice(frusta=False, until=until)))
    assert len(pieces) <= 128
    lines = [piece.make().ends[..., 0] for piece in pieces]
    assert 50 * len(pieces) < sum(map(len, lines)) <= 1 << 14
    last = 100_002 if until is None else until
    assert lines[0][0, 0] == 0.0
    assert lines[-1][-1, 1] == pytest.approx(0.1 * last, rel=1e-6)
    for before, after in itertools.pairwise(lines):  # without a gap
        assert before[-2, 1] <= after[0, 0] <= before[-1, 1]
        assert np.array_equal(after[1:, 0], after[:-1, 1])


def test_only_the_newest_piece_of_the_way_changes_as_it_grows():
    scene = Scene(0.05)
    scene.follow(straight(1000))
    before = signatures(scene)
    scene.follow(straight(1, 1000), 1000)
    after = signatures(scene)
    assert {name for name in after if before.get(name) != after[name]} == {f"/cameras/{1000 // 128}"}


def test_a_segment_that_begins_among_known_poses_changes_what_is_drawn_of_them():
    scene = Scene(0.05)
    scene.follow(straight(3))
    by_segment = Choice(by_segment=True)
    before = signatures(scene, by_segment)
    scene.way.note_segment(2, 1)
    assert signatures(scene, by_segment) != before


def test_poses_one_by_one_make_the_same_way_as_all_at_once():
    at_once, one_by_one = Way(), Way()
    at_once.follow(straight(300), 0)
    for index in range(300):
        assert not one_by_one.follow(straight(1, index), index)
    assert np.array_equal(at_once.T_map_camera, one_by_one.T_map_camera)
    assert at_once.frustum_depth_m() == one_by_one.frustum_depth_m()
    assert one_by_one.follow(straight(301), 0)  # all of them anew
    assert len(one_by_one) == 301


def test_the_words_for_depths_fit_their_colors():
    depth = np.repeat(np.array([1.1, 1.8, 2.6, np.nan], np.float32), 50)[None]
    picture, ends = colors.of_depth(depth)
    assert ends == pytest.approx((1.1, 2.6), abs=1e-6)
    near, far, unknown = (picture[0, column].astype(int) for column in (0, 149, 199))
    assert near[0] > 150 > 2 * near[1:].max()  # red
    assert far[2] > 150 > 1.5 * far[:2].max()  # blue
    assert np.ptp(unknown) < 5  # gray
    assert colors.of_depth(np.full((2, 2), np.nan, np.float32))[1] is None


def test_the_newest_of_what_waits_in_the_mailbox_wins_and_the_others_are_counted():
    mailbox: Mailbox[int] = Mailbox()
    assert mailbox.take() is None
    for item in (1, 2, 3):
        mailbox.put(item)
    assert (mailbox.take(), mailbox.take(), mailbox.dropped) == (3, None, 2)


def test_the_mailbox_loses_nothing_but_what_it_counts():
    mailbox: Mailbox[int] = Mailbox()
    taken: list[int] = []
    done = threading.Event()

    def take() -> None:
        item: int | None = 0
        while item is not None or not done.is_set():
            item = mailbox.take()
            taken.extend([] if item is None else [item])

    thread = threading.Thread(target=take)
    thread.start()
    for item in range(20_000):
        mailbox.put(item)
    done.set()
    thread.join()
    taken += [item for item in (mailbox.take(),) if item is not None]
    assert taken == sorted(taken)
    assert len(taken) + mailbox.dropped == 20_000
