# SPDX-License-Identifier: Apache-2.0
"""The viewer's scene: points and camera path for a selection, and which nodes a change affects."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from fakes import DEPTH_M, HEIGHT, WIDTH, FakeBackend, frame

from ttt3r_ros.config import Config
from ttt3r_ros.pipeline.reconstructor import Reconstructor
from ttt3r_ros.types import Intrinsics
from ttt3r_ros.viewer import colors
from ttt3r_ros.viewer.cameras import CameraPath
from ttt3r_ros.viewer.points import BANDS
from ttt3r_ros.viewer.scene import RgbdImage, Scene, Selection

PIXELS = HEIGHT * WIDTH


def mapped_scene(frames: int, voxel_size: float = 0.01) -> tuple[Scene, Reconstructor]:
    """Return scene and reconstruction after some frames; each frame observes a wall of its own."""
    reconstructor = Reconstructor(FakeBackend(), Config(level_source="none"))
    scene = Scene(voxel_size)
    for index in range(frames):
        update = reconstructor.step(frame(0, (index + 1) * 10**9))
        scene.update_poses(reconstructor.trajectory.poses()[1][index:], index)
        scene.add(RgbdImage.from_update(update), index, update.segment)
    return scene, reconstructor


DEFAULT = Selection()


def signatures(scene: Scene, selection: Selection = DEFAULT) -> dict[str, object]:
    nodes = [*scene.point_nodes(selection), *scene.camera_nodes(selection)]
    return {node.name: node.signature for node in nodes}


def test_each_frame_adds_its_points_and_pose():
    scene, _ = mapped_scene(3)
    assert len(scene.points) == 3 * PIXELS == scene.count(Selection())
    assert len(scene.camera_path) == 3


def test_points_are_at_their_depth_in_front_of_the_camera():
    scene, reconstructor = mapped_scene(2)
    cloud = scene.cloud(Selection())
    _, poses = reconstructor.trajectory.poses()
    assert np.unique(cloud.points[:, 0].round(3)) == pytest.approx(poses[:, 0] + DEPTH_M, abs=1e-3)


def test_a_higher_minimum_confidence_shows_fewer_points():
    scene, _ = mapped_scene(1)  # the fake network's confidence is 3
    assert scene.count(Selection(band=BANDS.index(3.0))) == PIXELS
    assert scene.count(Selection(band=BANDS.index(4.0))) == 0


def test_an_earlier_pose_shows_the_points_observed_up_to_it():
    scene, _ = mapped_scene(4)
    assert [scene.count(Selection(until=until)) for until in range(4)] == [
        PIXELS * (until + 1) for until in range(4)
    ]
    assert len(scene.cloud(Selection(until=1)).points) == 2 * PIXELS


def test_too_many_points_are_subsampled_by_a_power_of_two():
    scene, _ = mapped_scene(4)
    selection = Selection(max_points=PIXELS)
    assert scene.stride(selection) == 4
    assert scene.count(selection) == PIXELS == len(scene.cloud(selection).points)
    assert scene.stride(Selection(max_points=2 * PIXELS + 1)) == 2


def test_signatures_stay_equal_without_changes():
    scene, _ = mapped_scene(3)
    assert signatures(scene) == signatures(scene)


def test_finished_chunks_do_not_change_as_the_scene_grows():
    scene, reconstructor = mapped_scene(130)
    before = signatures(scene)
    for index in range(130, 140):
        update = reconstructor.step(frame(0, (index + 1) * 10**9))
        scene.update_poses(reconstructor.trajectory.poses()[1][index:], index)
        scene.points.finish_chunk()
        scene.add(RgbdImage.from_update(update), index, update.segment)
    after = signatures(scene, Selection(frusta=True))
    unchanged = {name for name in before if before[name] == after[name]}
    assert {name for name in before if name.startswith("/map/")} <= unchanged


def test_points_move_with_the_trajectory_without_being_sent_again():
    scene, reconstructor = mapped_scene(2)
    before, shown = scene.cloud(Selection()), signatures(scene)
    T = np.eye(4)
    T[:3, 3] = (0.0, 0.0, 5.0)
    reconstructor.trajectory.transform(T)
    scene.update_poses(reconstructor.trajectory.poses()[1])
    assert scene.cloud(Selection()).points == pytest.approx(before.points + [0, 0, 5], abs=1e-4)
    assert {name: signature for name, signature in signatures(scene).items() if "/map" in name} == {
        name: signature for name, signature in shown.items() if "/map" in name
    }


def test_color_by_segment_changes_the_colors_only():
    scene, _ = mapped_scene(2)
    plain, tinted = scene.cloud(Selection()), scene.cloud(Selection(by_segment=True))
    assert np.array_equal(plain.points, tinted.points)
    assert not np.array_equal(plain.rgb, tinted.rgb)


def test_a_depth_image_is_unprojected():
    camera = Intrinsics(10.0, 20.0, 2.0, 1.0, 5, 3)
    depth = np.full((3, 5), 4.0, np.float32)
    depth[0, 0] = np.nan
    rgbd = RgbdImage.from_depth(
        np.zeros((3, 5, 3), np.uint8), depth, np.ones((3, 5), np.float32), camera
    )
    assert rgbd.points_camera[1, 2].tolist() == [0.0, 0.0, 4.0]
    assert rgbd.points_camera[2, 4] == pytest.approx([0.8, 0.2, 4.0])
    assert np.isnan(rgbd.points_camera[0, 0]).all()


def test_points_beyond_the_maximum_range_are_not_added():
    scene = Scene(0.01, max_range=1.0)
    scene.update_poses(np.array([[0, 0, 0, 0, 0, 0, 1.0]]))
    depth = np.array([[0.5, 2.0]], np.float32)
    camera = Intrinsics(10.0, 10.0, 0.5, 0.0, 2, 1)
    scene.add(
        RgbdImage.from_depth(np.zeros((1, 2, 3), np.uint8), depth, np.ones((1, 2), np.float32), camera),
        0,
        0,
    )
    assert scene.count(Selection()) == 1


def straight_path(poses: int, start: int = 0) -> np.ndarray:
    """Return poses (N, 7) ten centimeters apart."""
    rows = np.zeros((poses, 7))
    rows[:, 0], rows[:, 6] = (start + np.arange(poses)) * 0.1, 1.0
    return rows


def test_every_pose_is_on_the_path_and_the_number_of_frusta_is_bounded():
    scene = Scene(0.05)
    scene.update_poses(straight_path(3000))
    assert 128 <= 3000 // scene.camera_path.frustum_stride <= 256
    lines = [node.create() for node in scene.camera_nodes(Selection(frusta=False))]
    assert sum(len(group.ends) for group in lines) == 2999
    with_frusta = [node.create() for node in scene.camera_nodes(Selection())]
    assert sum(len(group.ends) for group in with_frusta) - 2999 <= 8 * 256


@pytest.mark.parametrize("until", [None, 70_001])
def test_a_long_path_is_subsampled_into_a_bounded_number_of_nodes_without_gaps(until):
    scene = Scene(0.05)
    scene.update_poses(straight_path(100_003))
    nodes = list(scene.camera_nodes(Selection(frusta=False, until=until)))
    assert len(nodes) <= 128
    lines = [node.create().ends[..., 0] for node in nodes]
    assert 50 * len(nodes) < sum(map(len, lines)) <= 1 << 14
    last = 100_002 if until is None else until
    assert lines[0][0, 0] == 0.0
    assert lines[-1][-1, 1] == pytest.approx(0.1 * last, rel=1e-6)
    for before, after in itertools.pairwise(lines):
        assert before[-2, 1] <= after[0, 0] <= before[-1, 1]
        assert np.array_equal(after[1:, 0], after[:-1, 1])


def test_a_new_pose_changes_only_the_last_node_of_the_path():
    scene = Scene(0.05)
    scene.update_poses(straight_path(1000))
    before = signatures(scene)
    scene.update_poses(straight_path(1, 1000), 1000)
    after = signatures(scene)
    assert {name for name in after if before.get(name) != after[name]} == {f"/cameras/{1000 // 128}"}


def test_a_new_segment_among_existing_poses_changes_their_node():
    scene = Scene(0.05)
    scene.update_poses(straight_path(3))
    by_segment = Selection(by_segment=True)
    before = signatures(scene, by_segment)
    scene.camera_path.set_segment_from(2, 1)
    assert signatures(scene, by_segment) != before


def test_poses_added_one_by_one_make_the_same_path_as_all_at_once():
    at_once, one_by_one = CameraPath(), CameraPath()
    at_once.update(straight_path(300), 0)
    for index in range(300):
        assert not one_by_one.update(straight_path(1, index), index)
    assert np.array_equal(at_once.T_map_camera, one_by_one.T_map_camera)
    assert at_once.frustum_depth_m == one_by_one.frustum_depth_m
    assert one_by_one.update(straight_path(301), 0)
    assert len(one_by_one) == 301


def test_near_depths_are_red_far_ones_blue_and_invalid_ones_gray():
    depth = np.repeat(np.array([1.1, 1.8, 2.6, np.nan], np.float32), 50)[None]
    image, ends = colors.depth_colors(depth)
    assert ends == pytest.approx((1.1, 2.6), abs=1e-6)
    near, far, invalid = (image[0, column].astype(int) for column in (0, 149, 199))
    assert near[0] > 150 > 2 * near[1:].max()  # red
    assert far[2] > 150 > 1.5 * far[:2].max()  # blue
    assert np.ptp(invalid) < 5  # gray
    assert colors.depth_colors(np.full((2, 2), np.nan, np.float32))[1] is None
