# SPDX-License-Identifier: Apache-2.0
"""The output bag, read back message by message."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from bag_reading import Names, lookup, matrix, play_bag, roots, stamp_ns, tree_at
from fakes import frame
from motions import MOUNT, motion
from recorded import map_room, noisy

from ttt3r_ros.config import Config, from_mapping
from ttt3r_ros.errors import OutputError
from ttt3r_ros.geometry import T_BODY_OPTICAL
from ttt3r_ros.io.bags.writer import OutputBag
from ttt3r_ros.odometry.sensor_context import SensorContext

OPTICAL = "camera_optical_frame"
HANDHELD = Names()
ROBOT = Names(body="base_link")
TYPES = {
    "/tf": "tf2_msgs/msg/TFMessage",
    "/mapping_node/pose": "geometry_msgs/msg/PoseStamped",
    "/mapping_node/odom": "nav_msgs/msg/Odometry",
    "/mapping_node/depth/image": "sensor_msgs/msg/Image",
    "/mapping_node/depth/camera_info": "sensor_msgs/msg/CameraInfo",
    "/mapping_node/confidence/image": "sensor_msgs/msg/Image",
    "/mapping_node/points": "sensor_msgs/msg/PointCloud2",
    "/mapping_node/path": "nav_msgs/msg/Path",
    "/mapping_node/map_cloud": "sensor_msgs/msg/PointCloud2",
}


def write_and_read(path, updates, reconstructor, config=None, names=HANDHELD):
    """Write a bag and return its content."""
    bag = OutputBag(path, config or Config(), names)
    for update in updates:
        bag.add(update)
    bag.close(reconstructor)
    return play_bag(path)


def image_of(message) -> np.ndarray:
    kind = {"32FC1": np.float32, "16UC1": np.uint16}[message.encoding]
    assert message.step == message.width * np.dtype(kind).itemsize
    return message.data.view(kind).reshape(message.height, message.width)


def cloud_of(message) -> tuple[np.ndarray, np.ndarray]:
    assert [(field.name, field.offset) for field in message.fields] == [
        ("x", 0), ("y", 4), ("z", 8), ("rgb", 12),
    ]  # fmt: skip
    assert len(message.data) == message.row_step == message.point_step * message.width
    points = message.data.view(np.float32).reshape(-1, 4)[:, :3]
    return points, message.data.reshape(-1, 16)[:, [14, 13, 12]]


# --- values ----------------------------------------------------------------------------------------


def test_topics_types_stamps_and_frames_are_those_of_the_node(tmp_path):
    bag = write_and_read(tmp_path / "bag", *map_room(4))
    assert {topic: connection.msgtype for topic, connection in bag.connections.items()} == TYPES
    every = dict.fromkeys(TYPES, 4) | {"/mapping_node/path": 1, "/mapping_node/map_cloud": 1}
    assert {topic: len(messages) for topic, messages in bag.messages.items()} == every
    for topic, messages in bag.messages.items():
        if topic != "/tf":
            stamps = [(k + 1) * 10**9 for k in range(4)]
            assert [stamp_ns(message) for message in messages] == stamps[-len(messages) :]
            in_map = topic.rsplit("/", 1)[1] in {"pose", "odom", "path", "map_cloud"}
            assert {message.header.frame_id for message in messages} == {"map" if in_map else OPTICAL}


def test_poses_and_odometry_have_covariances_and_velocities(tmp_path):
    updates, reconstructor = map_room(4)
    bag = write_and_read(tmp_path / "bag", updates, reconstructor)
    for update, pose, odom in zip(
        updates, bag.messages["/mapping_node/pose"], bag.messages["/mapping_node/odom"], strict=True
    ):
        np.testing.assert_allclose(matrix(pose.pose), update.T_map_base, atol=1e-12)
        np.testing.assert_allclose(matrix(odom.pose.pose), update.T_map_base, atol=1e-12)
        np.testing.assert_array_equal(odom.pose.covariance, update.pose_covariance.ravel())
        np.testing.assert_array_equal(odom.twist.covariance, update.twist_covariance.ravel())
        assert odom.child_frame_id == OPTICAL
    speeds = [odom.twist.twist.linear.z for odom in bag.messages["/mapping_node/odom"]]
    assert speeds == pytest.approx([0.0, 1.0, 1.0, 1.0])  # one meter a second along the optical axis
    (path,) = bag.messages["/mapping_node/path"]
    assert path.poses == bag.messages["/mapping_node/pose"]


@pytest.mark.parametrize("size", ["network", "input"])
@pytest.mark.parametrize("encoding", ["32FC1", "16UC1"])
def test_images_and_points_are_equal_to_the_prediction(tmp_path, encoding, size):
    config = from_mapping({"min_confidence": 2.0, "depth.encoding": encoding, "depth.resolution": size})
    (update,), reconstructor = map_room(1, config)
    update = noisy(update)
    bag = write_and_read(tmp_path / "bag", [update], reconstructor, config)
    prediction = update.prediction
    z = prediction.points_camera[..., 2]
    valid = (prediction.confidence >= 2.0) & (z > 0)
    (depth,), (info,) = (bag.messages[f"/mapping_node/depth/{of}"] for of in ("image", "camera_info"))
    assert depth.encoding == encoding
    assert (depth.height, depth.width) == (info.height, info.width)
    if size == "network":
        meters = np.where(valid, z, np.float32(np.nan))
        if encoding == "16UC1":
            meters = np.where(valid, np.rint(z * np.float32(1000)), 0)
        np.testing.assert_array_equal(image_of(depth), meters)
        np.testing.assert_array_equal(info.k.reshape(3, 3), update.intrinsics.matrix())
    else:
        assert (depth.height, depth.width) == (24, 32)
        assert info.k[0] == pytest.approx(2.0 * update.intrinsics.fx)
    (confidence,) = bag.messages["/mapping_node/confidence/image"]
    np.testing.assert_array_equal(image_of(confidence), prediction.confidence)
    points, rgb = cloud_of(bag.messages["/mapping_node/points"][0])
    np.testing.assert_array_equal(points, prediction.points_camera[valid])
    np.testing.assert_array_equal(rgb, prediction.rgb[valid])


def test_map_and_grid_are_those_at_the_end(tmp_path):
    config = from_mapping({"level_source": "floor"})
    updates, reconstructor = map_room(3, config)
    reconstructor.map.integrate(updates[-1], -1.0)  # with a floor
    bag = write_and_read(tmp_path / "bag", updates, reconstructor, config)
    points, rgb = cloud_of(bag.messages["/mapping_node/map_cloud"][0])
    expected = reconstructor.map.voxels.point_cloud()
    assert len(points) > 10
    np.testing.assert_array_equal(points, expected.points)
    np.testing.assert_array_equal(rgb, expected.rgb)
    grid, message = reconstructor.map.grid.to_grid(), bag.messages["/mapping_node/map"][0]
    assert (message.info.height, message.info.width) == grid.values.shape
    np.testing.assert_array_equal(message.data, grid.values.ravel())
    origin = message.info.origin
    assert (origin.position.x, origin.position.y) == (grid.origin_x, grid.origin_y)
    assert (origin.orientation.w, message.info.resolution) == (1.0, pytest.approx(grid.resolution))


# --- transforms ------------------------------------------------------------------------------------


def wheels(k: int) -> np.ndarray:
    return motion(turn=(0.0, 0.0, 0.1 * k), move=(0.9 * k, 0.0, 0.0))


MODES = {
    "camera": (HANDHELD, lambda _: SensorContext()),
    "camera with a tree": (
        Names(body="camera_link"),
        lambda _: SensorContext(T_base_camera=motion(move=(0.0, 0.03, 0.0)) @ T_BODY_OPTICAL),
    ),
    "camera on a mast": (  # rotates
        ROBOT,
        lambda k: SensorContext(T_base_camera=motion(turn=(0.0, 0.0, 0.2 * k)) @ MOUNT),
    ),
    "camera with body axes": (
        Names("default_cam", "default_cam_optical_frame", "default_cam"),
        lambda _: SensorContext(T_base_camera=T_BODY_OPTICAL),
    ),
    "odom_base": (ROBOT, lambda _: SensorContext(T_base_camera=MOUNT)),
    "odom_base with body axes": (
        Names("cam", "cam_optical_frame", "base_link"),
        lambda _: SensorContext(T_base_camera=MOUNT),
    ),
    "map_odom": (ROBOT, lambda k: SensorContext(T_base_camera=MOUNT, T_odom_base=wheels(k))),
}


@pytest.mark.parametrize("inverted", [False, True], ids=["", "inverted"])
@pytest.mark.parametrize("mode", MODES)
def test_transforms_are_one_tree_with_the_pose_of_the_camera(tmp_path, mode, inverted):
    names, around = MODES[mode]
    config = from_mapping(
        {
            "tf_mode": mode.split()[0],
            "invert_odom_tf": inverted,
            "camera_frame_convention": "body" if mode.endswith("axes") else "optical",
        }
    )
    updates, reconstructor = map_room(4, config, around)
    bag = write_and_read(tmp_path / "bag", updates, reconstructor, config, names)
    for update in updates:
        tree = tree_at(bag, update.frame.stamp_ns)
        assert len(roots(tree)) == 1
        assert names.optical in set(tree) | roots(tree)
        np.testing.assert_allclose(lookup(tree, "map", names.optical), update.T_map_camera, atol=1e-9)
        np.testing.assert_allclose(lookup(tree, "map", names.body), update.T_map_base, atol=1e-9)
        if mode.startswith("map_odom"):
            k = updates.index(update)
            np.testing.assert_allclose(lookup(tree, "odom", "base_link"), wheels(k), atol=1e-9)


def test_optical_axes_are_one_latched_static_transform(tmp_path):
    names, around = MODES["camera with body axes"]
    config = from_mapping({"camera_frame_convention": "body"})
    bag = write_and_read(tmp_path / "bag", *map_room(3, config, around), config, names)
    (axes,) = bag.transforms("/tf_static")
    assert (axes.header.frame_id, axes.child_frame_id) == ("default_cam", names.optical)
    np.testing.assert_allclose(matrix(axes.transform), T_BODY_OPTICAL, atol=1e-12)


@pytest.mark.parametrize("changed", [{"publish_tf": False}, {"tf_mode": "none"}], ids=str)
def test_a_configuration_without_tf_has_no_tf_topic(tmp_path, changed):
    config = from_mapping(changed)
    bag = write_and_read(tmp_path / "bag", *map_room(2, config), config)
    assert set(bag.connections) == set(TYPES) - {"/tf"}


def test_map_to_odom_needs_external_odometry(tmp_path):
    config = from_mapping({"tf_mode": "map_odom"})
    updates, reconstructor = map_room(
        3,
        config,
        lambda k: SensorContext(T_base_camera=MOUNT, T_odom_base=None if k == 1 else wheels(k)),
    )
    bag = write_and_read(tmp_path / "bag", updates, reconstructor, config, ROBOT)
    assert [len(message.transforms) for message in bag.messages["/tf"]] == [3, 1, 3]


# --- time ------------------------------------------------------------------------------------------


def test_log_times_are_the_stamps_in_order(tmp_path):
    bag = write_and_read(tmp_path / "bag", *map_room(5))
    for topic, log_ns in bag.log_ns.items():
        assert all(before < after for before, after in pairwise(log_ns))
        if topic != "/tf":
            assert log_ns == [stamp_ns(message) for message in bag.messages[topic]]


@pytest.mark.parametrize(("on_time_jump", "poses"), [("reset", 2), ("keep_map", 5)])
def test_a_jump_back_in_time_restarts_the_path_and_continues_the_log(tmp_path, on_time_jump, poses):
    config = from_mapping({"on_time_jump": on_time_jump})
    updates, reconstructor = map_room(5, config)
    again = [replace(u, frame=frame(stamp_ns=10**8 * (k + 1))) for k, u in enumerate(updates[:2])]
    bag = write_and_read(tmp_path / "bag", [*updates[:3], *again], reconstructor, config)
    assert len(bag.messages["/mapping_node/path"][0].poses) == poses
    assert bag.log_ns["/mapping_node/pose"] == [10**9, 2 * 10**9, 3 * 10**9, 3 * 10**9, 31 * 10**8]
    assert bag.messages["/mapping_node/odom"][3].twist.twist.linear.z == 0.0


def test_the_path_has_the_configured_number_of_newest_poses(tmp_path):
    config = from_mapping({"path_max_poses": 3})
    bag = write_and_read(tmp_path / "bag", *map_room(5, config), config)
    assert bag.messages["/mapping_node/path"][0].poses == bag.messages["/mapping_node/pose"][-3:]


# --- files -----------------------------------------------------------------------------------------


def content(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_equal_runs_write_equal_bytes_and_replace_the_former_bag(tmp_path):
    write_and_read(tmp_path / "bag", *map_room(2))
    write_and_read(tmp_path / "bag", *map_room(4))
    write_and_read(tmp_path / "other" / "bag", *map_room(4))
    assert set(content(tmp_path / "bag")) == {"bag.mcap", "metadata.yaml"}
    assert content(tmp_path / "bag") == content(tmp_path / "other" / "bag")


def test_a_bag_has_its_files_only_when_complete(tmp_path):
    updates, reconstructor = map_room(2)
    bag = OutputBag(tmp_path / "bag", Config(), HANDHELD)
    bag.add(updates[0])
    assert [path.name for path in (tmp_path / "bag").iterdir() if path.name[0] != "."] == []
    bag.close(reconstructor)
    assert set(content(tmp_path / "bag")) == {"bag.mcap", "metadata.yaml"}


def test_an_aborted_bag_leaves_no_files_and_cannot_be_written(tmp_path):
    updates, reconstructor = map_room(2)
    bag = OutputBag(tmp_path / "bag", Config(), HANDHELD)
    bag.add(updates[0])
    bag.abort()
    assert not list(tmp_path.iterdir())
    for use in (lambda: bag.add(updates[1]), lambda: bag.close(reconstructor)):
        with pytest.raises(OutputError, match=r"cannot write .*bag: it was aborted"):
            use()
    bag.abort()


def test_an_aborted_bag_keeps_the_former_bag(tmp_path):
    write_and_read(tmp_path / "bag", *map_room(2))
    before = content(tmp_path / "bag")
    bag = OutputBag(tmp_path / "bag", Config(), HANDHELD)
    bag.add(map_room(1)[0][0])
    bag.abort()
    assert content(tmp_path / "bag") == before


def test_abort_keeps_a_closed_bag(tmp_path):
    updates, reconstructor = map_room(2)
    bag = OutputBag(tmp_path / "bag", Config(), HANDHELD)
    bag.add(updates[0])
    bag.close(reconstructor)
    bag.abort()
    assert len(play_bag(tmp_path / "bag").messages["/mapping_node/pose"]) == 1
    with pytest.raises(OutputError, match="it is closed"):
        bag.add(updates[1])


@pytest.mark.parametrize("fails_at", ["a frame", "the end"])
def test_a_full_disk_leaves_no_files_of_the_bag_and_keeps_other_bags(little_room, fails_at):
    updates, reconstructor = map_room(2)
    write_and_read(little_room / "small", updates, reconstructor)
    finished = content(little_room / "small")
    bag = OutputBag(little_room / "bag", Config(), HANDHELD)
    bag.add(updates[0])
    large = noisy(updates[1], 240, 320)
    if fails_at == "the end":
        reconstructor.map.voxels.integrate(
            large.prediction.points_camera.reshape(-1, 3),
            large.prediction.rgb.reshape(-1, 3),
            large.prediction.confidence.ravel(),
            1,
        )
    problem = rf"cannot write {little_room / 'bag'}: (No space left|File too large)"
    with pytest.raises(OutputError, match=problem):
        bag.close(reconstructor) if fails_at == "the end" else bag.add(large)
    with pytest.raises(OutputError, match=problem):  # again, at every later call
        bag.close(reconstructor)
    assert [path.name for path in little_room.iterdir()] == ["small"]
    assert content(little_room / "small") == finished


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path):
    (tmp_path / "occupied").write_text("a file, not a folder")
    with pytest.raises(OutputError, match=rf"cannot write {tmp_path / 'occupied' / 'bag'}: "):
        OutputBag(tmp_path / "occupied" / "bag", Config(), HANDHELD)
