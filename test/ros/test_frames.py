# SPDX-License-Identifier: Apache-2.0
"""The tree on /tf in every mode: one parent each, no jumps in odom -> base, mounts and gravity honoured."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from fakes import FakeBackend, image
from geometry_msgs.msg import PoseWithCovarianceStamped
from graph import FRAME_ID, SECOND, map_images, wait_for_connection
from motions import MOUNT, motion
from sensor_msgs.msg import Imu
from tf2_msgs.msg import TFMessage

from ttt3r_ros.geometry import T_BODY_OPTICAL, se3_inverse, so3_exp
from ttt3r_ros.ros import messages
from ttt3r_ros.ros.qos import LATCHED

pytestmark = pytest.mark.ros


class TurningBackend(FakeBackend):
    """Walks as its parent does and turns a little with each image."""

    reset_interval = 3

    def step(self, rgb, state):
        prediction, after = super().step(rgb, state)
        prediction.T_segment_camera[:3, :3] = so3_exp(np.array([0.0, 0.1 * state.seen, 0.0]))
        return prediction, after


def robot(start, backend=None, **parameters):
    """Start the node as part of a robot whose mount is on /tf_static."""
    node, peer = start(backend, **parameters)
    peer.subscribe_to_all()
    wait_for_connection(peer)
    mast = motion(move=(0.2, 0.0, 0.5))
    peer.send_static(("base_link", "mast", mast), ("mast", FRAME_ID, se3_inverse(mast) @ MOUNT))
    peer.spin_until(
        lambda: node.mapping.sensors.transforms.root_of(FRAME_ID) == "base_link", "the mount"
    )
    return node, peer


def matrix(stamped) -> np.ndarray:
    return messages.matrix_from_transform(stamped.transform)


def links(peer, parent, child):
    return [s for s in peer.transforms() if (s.header.frame_id, s.child_frame_id) == (parent, child)]


def parents(peer) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for stamped in peer.transforms():
        found.setdefault(stamped.child_frame_id, set()).add(stamped.header.frame_id)
    return found


def test_without_odometry_odom_to_base_is_continuous_across_ten_state_resets_and_ten_services(start):
    _, peer = robot(start, TurningBackend(), tf_mode="odom_base")
    for part in range(3):
        map_images(peer, 11, (1 + 2 * part) * SECOND)
    for index in range(10):
        assert peer.call("reset").success
        map_images(peer, 2, (10 + index) * SECOND)
    peer.spin_until(lambda: len(links(peer, "odom", "base_link")) == 53, "all of odom -> base")
    path = [matrix(stamped) for stamped in links(peer, "odom", "base_link")]
    steps = [se3_inverse(a) @ b for a, b in pairwise(path)]
    # The camera moves one meter per image, plus its lever arm's share; a reset does not move it.
    assert max(np.linalg.norm(step[:3, 3]) for step in steps) < 1.1
    assert parents(peer) == {"base_link": {"odom"}, "odom": {"map"}}


def test_the_corrections_of_a_reset_are_in_map_to_odom(start):
    _, peer = robot(start, tf_mode="odom_base")
    map_images(peer, 3)
    peer.call("reset")
    map_images(peer, 1, 10 * SECOND)
    peer.spin_until(lambda: len(links(peer, "odom", "base_link")) == 4, "odom -> base")
    T_odom_base = matrix(links(peer, "odom", "base_link")[-1])
    peer.spin_until(lambda: links(peer, "map", "odom"), "map -> odom")
    peer.spin_until(
        lambda: np.allclose(matrix(links(peer, "map", "odom")[-1]) @ T_odom_base, np.eye(4), atol=1e-6),
        "the base at the map's origin",
    )


def test_the_base_starts_level_at_the_origin_under_a_camera_that_points_down(start):
    _, peer = robot(start, tf_mode="odom_base")
    map_images(peer, 2)
    peer.spin_until(lambda: len(links(peer, "odom", "base_link")) == 2, "odom -> base")
    peer.spin_until(lambda: peer.received["odom"], "odometry")
    first, second = (matrix(stamped) for stamped in links(peer, "odom", "base_link"))
    np.testing.assert_allclose(first, np.eye(4), atol=1e-6)
    # One meter along an optical axis that points 20 degrees down.
    ahead, down = np.cos(np.radians(20.0)), -np.sin(np.radians(20.0))
    np.testing.assert_allclose(second[:3, 3], [ahead, 0.0, down], atol=1e-6)
    assert peer.received["odom"][-1].header.frame_id == "odom"
    assert peer.received["odom"][-1].child_frame_id == "base_link"


def test_with_external_odometry_only_map_to_odom_is_published(start):
    _, peer = robot(start, tf_mode="map_odom")
    T_theirs = [motion(move=(5.0 + 0.9 * index, 1.0, 0.0)) for index in range(3)]
    for index, T in enumerate(T_theirs):
        peer.send_transform("odom", "base_link", T, SECOND + index * SECOND // 10)
    buffer = peer.nodes[0].mapping.sensors.transforms
    peer.spin_until(lambda: buffer.parents_of("base_link"), "their odometry")
    map_images(peer, 3)
    peer.spin_until(lambda: links(peer, "map", "odom"), "map -> odom")
    assert parents_of_ours(peer) == {("map", "odom")}
    # Pose of the base through the external odometry.
    pose = messages.matrix_from_pose(peer.received["pose"][-1].pose)
    peer.spin_until(
        lambda: np.allclose(matrix(links(peer, "map", "odom")[-1]) @ T_theirs[-1], pose, atol=1e-6),
        "agreement",
    )


def parents_of_ours(peer):
    return {
        (s.header.frame_id, s.child_frame_id)
        for s in peer.transforms()
        if s.child_frame_id != "base_link" or s.header.frame_id != "odom"
    }


def test_a_camera_with_a_tree_of_its_own_gets_its_root_placed(start):
    node, peer = start()
    peer.subscribe_to_all()
    wait_for_connection(peer)
    T_link_optical = motion(move=(0.0, 0.015, 0.0)) @ T_BODY_OPTICAL
    peer.send_static(("camera_link", FRAME_ID, T_link_optical))
    peer.spin_until(
        lambda: node.mapping.sensors.transforms.root_of(FRAME_ID) == "camera_link", "the tree"
    )
    map_images(peer, 3)
    peer.spin_until(lambda: len(links(peer, "map", "camera_link")) == 3, "the transforms")
    assert parents(peer) == {"camera_link": {"map"}}
    np.testing.assert_allclose(
        matrix(links(peer, "map", "camera_link")[-1])[:3, 3], [2.0, 0.0, 0.0], atol=1e-6
    )


@pytest.mark.parametrize("parameters", [{"tf_mode": "none"}, {"publish_tf": False}])
def test_tf_mode_none_publishes_no_transform_and_publish_tf_false_neither(start, parameters):
    _, peer = start(**parameters)
    peer.subscribe_to_all()
    wait_for_connection(peer)
    map_images(peer, 2)
    peer.spin_until(lambda: peer.count("processed") == 2, "the end")
    assert not peer.received["tf"]


def test_inverted_transforms_hang_below_an_existing_tree(start):
    _, peer = robot(start, tf_mode="odom_base", invert_odom_tf=True)
    map_images(peer, 3)
    peer.spin_until(lambda: len(links(peer, "base_link", "odom")) == 3, "the transforms")
    peer.spin_until(lambda: links(peer, "odom", "map"), "the map below odom")
    assert parents(peer) == {"odom": {"base_link"}, "map": {"odom"}}


def test_map_to_odom_is_sent_at_twenty_hertz_or_more_and_dated_ahead(start):
    _, peer = robot(start, tf_mode="odom_base", transform_tolerance=0.5)
    map_images(peer, 1)
    peer.spin_until(lambda: len(links(peer, "map", "odom")) > 25, "one second of map -> odom", 20.0)
    stamps = [messages.stamp_to_ns(s.header.stamp) for s in links(peer, "map", "odom")]
    assert stamps == sorted(stamps)
    assert (stamps[-1] - stamps[0]) / (len(stamps) - 1) < SECOND / 20
    assert stamps[0] >= SECOND + SECOND // 2  # the image's stamp and the tolerance
    # What moves is dated by its image and sent once.
    assert [messages.stamp_to_ns(s.header.stamp) for s in links(peer, "odom", "base_link")] == [SECOND]


def test_a_robot_whose_mount_is_unknown_is_a_warning_until_it_arrives(start, capfd):
    node, peer = start(tf_mode="odom_base", transform_timeout=0.0)
    peer.subscribe_to_all()
    wait_for_connection(peer)
    peer.publish(image(0), SECOND)
    peer.spin_until(lambda: peer.count("skipped") == 1, "the skip")
    assert "no transform base_link -> camera_optical_frame" in capfd.readouterr().err
    peer.send_static(("base_link", FRAME_ID, MOUNT))
    peer.spin_until(
        lambda: node.mapping.sensors.transforms.root_of(FRAME_ID) == "base_link", "the mount"
    )
    map_images(peer, 1, 2 * SECOND)


def test_a_driver_whose_frame_is_not_optical_gets_an_optical_frame(start):
    _, peer = start(camera_frame_convention="body")
    peer.subscribe_to_all()
    peer.subscribe_to("static", TFMessage, "/tf_static", LATCHED)
    wait_for_connection(peer)
    for index in range(2):
        peer.publish(image(index), SECOND + index * SECOND // 10, frame_id="default_cam")
        peer.spin_until(lambda index=index: len(peer.received["pose"]) == index + 1, "a pose")
    peer.spin_until(lambda: peer.received["static"] and peer.received["depth"], "the axes")
    (axes,) = peer.received["static"][-1].transforms
    assert (axes.header.frame_id, axes.child_frame_id) == ("default_cam", "default_cam_optical_frame")
    np.testing.assert_allclose(matrix(axes), T_BODY_OPTICAL, atol=1e-9)
    assert peer.received["depth"][-1].header.frame_id == "default_cam_optical_frame"
    peer.spin_until(lambda: len(links(peer, "map", "default_cam")) == 2, "the camera")
    np.testing.assert_allclose(
        matrix(links(peer, "map", "default_cam")[-1]), motion(move=(1.0, 0.0, 0.0)), atol=1e-6
    )


@pytest.mark.parametrize("with_orientation", [False, True])
def test_an_imu_levels_the_map_of_a_tilted_camera(start, with_orientation):
    node, peer = start(level_source="imu")
    peer.subscribe_to_all()
    wait_for_connection(peer)
    imus = peer.node.create_publisher(Imu, "imu", 10)
    peer.send_static((FRAME_ID, "imu_link", se3_inverse(T_BODY_OPTICAL)))
    # A camera that is held 30 degrees nose down: its imu feels gravity tilted as much.
    R_level_imu = so3_exp(np.array([0.0, np.radians(30.0), 0.0]))
    up = R_level_imu.T @ [0.0, 0.0, 1.0]
    imu = Imu()
    imu.header.frame_id = "imu_link"
    imu.header.stamp = messages.make_stamp(SECOND)
    force = up * 9.81
    imu.linear_acceleration.x, imu.linear_acceleration.y, imu.linear_acceleration.z = force.tolist()
    if with_orientation:
        turned = np.eye(4)
        turned[:3, :3] = R_level_imu
        imu.orientation = messages.pose(turned).orientation
    else:
        imu.orientation_covariance[0] = -1.0
    peer.spin_until(imus.get_subscription_count, "a subscriber to the imu")
    imus.publish(imu)
    peer.spin_until(lambda: node.mapping.sensors._gravity.up() is not None, "gravity")
    peer.spin_until(lambda: node.mapping.sensors.transforms.parents_of("imu_link"), "the imu's mount")
    map_images(peer, 2)
    # One meter along an optical axis that points 30 degrees down.
    T_last = messages.matrix_from_pose(peer.received["pose"][-1].pose)
    T_first = messages.matrix_from_pose(peer.received["pose"][0].pose)
    moved = T_last[:3, 3] - T_first[:3, 3]
    np.testing.assert_allclose(moved, [np.cos(np.radians(30)), 0.0, -0.5], atol=1e-6)


def test_a_pose_given_by_hand_moves_the_map(start):
    _, peer = robot(start, tf_mode="odom_base")
    map_images(peer, 2)
    given = PoseWithCovarianceStamped()
    given.header.frame_id = "map"
    given.pose.pose = messages.pose(motion(turn=(0.0, 0.0, 1.0), move=(7.0, 8.0, 0.0)))
    poses = peer.node.create_publisher(PoseWithCovarianceStamped, "initialpose", 1)
    peer.spin_until(poses.get_subscription_count, "a subscriber to the pose")
    peer.spin_until(lambda: len(links(peer, "odom", "base_link")) == 2, "odom -> base")
    peer.spin_until(lambda: links(peer, "map", "odom"), "map -> odom")
    before = matrix(links(peer, "odom", "base_link")[-1])
    poses.publish(given)

    def arrived() -> bool:
        T_map_base = matrix(links(peer, "map", "odom")[-1]) @ before
        return bool(np.allclose(T_map_base, messages.matrix_from_pose(given.pose.pose), atol=1e-6))

    peer.spin_until(arrived, "the new map -> odom")
    map_images(peer, 1, 5 * SECOND)
    moved = np.linalg.norm(matrix(links(peer, "odom", "base_link")[-1])[:3, 3] - before[:3, 3])
    assert moved < 1.2


def test_a_second_parent_on_tf_is_reported(start, capfd):
    _, peer = robot(start, tf_mode="odom_base")
    map_images(peer, 1)
    peer.send_transform("somebody_elses_odom", "base_link", np.eye(4), SECOND)
    buffer = peer.nodes[0].mapping.sensors.transforms
    peer.spin_until(lambda: "somebody_elses_odom" in buffer.parents_of("base_link"), "the other parent")
    seen: list[str] = []

    def reported() -> bool:
        map_images(peer, 1, 2 * SECOND + len(seen) * SECOND // 100)
        seen.append(capfd.readouterr().err)
        return "two parents on /tf" in "".join(seen)

    peer.spin_until(reported, "the report")
