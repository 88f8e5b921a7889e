# SPDX-License-Identifier: Apache-2.0
"""Outputs of a node in this process with a fake backend, over DDS."""

from __future__ import annotations

import array

import numpy as np
import pytest
from fakes import DEPTH_M, FOCAL, HEIGHT, WIDTH, image
from graph import FRAME_ID, SECOND, map_images, wait_for_connection
from sensor_msgs.msg import CameraInfo, Image

from ttt3r_ros.io.export.point_cloud import read_ply
from ttt3r_ros.io.trajectory_files import read_tum
from ttt3r_ros.ros import messages
from ttt3r_ros.ros.qos import STREAM

pytestmark = pytest.mark.ros


def test_every_output_has_the_stamp_of_the_image_and_the_right_frame(start):
    _, peer = start()
    peer.subscribe_to_all()
    wait_for_connection(peer)
    stamp_ns = 1_700_000_000_123_456_789
    map_images(peer, 1, stamp_ns)
    names = ("pose", "odom", "path", "depth", "depth_info", "confidence", "points", "tf", "map")
    peer.spin_until(lambda: all(peer.received[name] for name in names), "one message of each output")
    for name in names:
        message = peer.received[name][-1]
        header = message.transforms[0].header if name == "tf" else message.header
        assert messages.stamp_to_ns(header.stamp) == stamp_ns, name
        expected = FRAME_ID if name in ("depth", "depth_info", "confidence", "points") else "map"
        assert header.frame_id == expected, name
    assert peer.received["tf"][-1].transforms[0].child_frame_id == FRAME_ID
    assert peer.received["odom"][-1].child_frame_id == FRAME_ID


def test_motion_along_the_optical_axis_is_motion_along_x_of_the_z_up_map(start):
    _, peer = start()
    peer.subscribe_to_all()
    wait_for_connection(peer)
    map_images(peer, 4)
    position = peer.received["pose"][-1].pose.position
    assert (position.x, position.y, position.z) == pytest.approx((3.0, 0.0, 0.0))
    orientation = peer.received["pose"][-1].pose.orientation
    rotation = messages.matrix_from_quaternion(
        (orientation.x, orientation.y, orientation.z, orientation.w)
    )[:3, :3]
    np.testing.assert_allclose(rotation @ [0, 0, 1], [1, 0, 0], atol=1e-9)  # the optical axis is x
    np.testing.assert_allclose(rotation @ [0, -1, 0], [0, 0, 1], atol=1e-9)  # up is z
    peer.spin_until(lambda: all(len(peer.received[name]) == 4 for name in ("tf", "odom")), "all outputs")
    assert peer.received["tf"][-1].transforms[0].transform.translation.x == pytest.approx(3.0)
    # One meter per tenth of a second, forward in the optical frame.
    assert peer.received["odom"][-1].twist.twist.linear.z == pytest.approx(10.0)


def test_the_path_has_the_newest_poses_and_is_published_with_the_map(start):
    _, peer = start(path_max_poses=3)
    peer.subscribe("pose", "path")
    wait_for_connection(peer)
    peer.wait_until_matched("path")
    map_images(peer, 5)
    newest_ns = SECOND + 4 * SECOND // 10

    def stamps_ns():
        return [messages.stamp_to_ns(message.header.stamp) for message in peer.received["path"]]

    peer.spin_until(lambda: newest_ns in stamps_ns(), "the path up to the newest pose")
    path = peer.received["path"][-1]
    assert path.poses == peer.received["pose"][-3:]
    assert path.header == path.poses[-1].header
    assert len(set(stamps_ns())) == len(stamps_ns()), "published again without a new pose"


def test_depth_is_meters_along_z_with_a_matching_camera_info(start):
    _, peer = start()
    peer.subscribe("pose", "depth", "depth_info", "confidence")
    wait_for_connection(peer)
    map_images(peer, 1)
    peer.spin_until(
        lambda: peer.received["depth"] and peer.received["depth_info"] and peer.received["confidence"],
        "depth",
    )
    depth, info = peer.received["depth"][-1], peer.received["depth_info"][-1]
    assert (depth.encoding, depth.width, depth.height) == ("32FC1", WIDTH, HEIGHT)
    assert isinstance(depth.data, array.array)
    np.testing.assert_allclose(np.frombuffer(depth.data, np.float32), DEPTH_M)
    assert (info.width, info.height, info.header) == (WIDTH, HEIGHT, depth.header)
    assert (info.k[0], info.k[4]) == pytest.approx((FOCAL, FOCAL))
    assert list(info.p[:3]) == list(info.k[:3])


def test_pixels_of_low_confidence_are_nan_in_depth_and_absent_from_the_cloud(start):
    _, peer = start(min_confidence=5.0)
    peer.subscribe("pose", "depth", "points")
    wait_for_connection(peer)
    map_images(peer, 1)
    peer.spin_until(lambda: peer.received["depth"] and peer.received["points"], "depth and points")
    assert np.isnan(np.frombuffer(peer.received["depth"][-1].data, np.float32)).all()
    assert peer.received["points"][-1].width == 0


def test_a_given_calibration_is_scaled_to_the_depth_image(start):
    node, peer = start()
    peer.subscribe("pose", "depth_info")
    wait_for_connection(peer)
    peer.spin_until(peer.camera_infos.get_subscription_count, "a subscriber of camera_info")
    info = CameraInfo(width=2 * WIDTH, height=2 * HEIGHT, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k = [60.0, 0.0, 15.5, 0.0, 62.0, 11.5, 0.0, 0.0, 1.0]
    peer.camera_infos.publish(info)
    peer.spin_until(lambda: node.mapping.subscribers[0].is_calibrated, "the calibration")
    map_images(peer, 1)
    peer.spin_until(lambda: peer.received["depth_info"], "camera info")
    k = peer.received["depth_info"][-1].k
    # Half the size; the center of the first pixel moves from 0 to -0.25.
    assert list(k) == pytest.approx([30.0, 0.0, 7.5, 0.0, 31.0, 5.5, 0.0, 0.0, 1.0])


def test_nothing_is_computed_for_a_topic_without_subscriber(start, monkeypatch):
    built: list[str] = []
    for name in ("depth_image", "confidence_image", "frame_cloud", "odometry", "depth_camera_info"):
        original = getattr(messages, name)
        monkeypatch.setattr(messages, name, lambda *a, n=name, f=original: (built.append(n), f(*a))[1])
    _, peer = start()
    peer.subscribe("pose", "depth")
    wait_for_connection(peer)
    peer.wait_until_matched("depth")
    map_images(peer, 3)
    peer.spin_until(lambda: peer.received["depth"], "a depth image")
    assert set(built) == {"depth_image"}


def test_the_map_reaches_a_late_subscriber(start):
    _, peer = start()
    peer.subscribe("pose")
    wait_for_connection(peer)
    map_images(peer, 2)
    peer.subscribe_to_map()
    peer.spin_until(lambda: peer.received["map"], "the map")
    cloud = peer.received["map"][-1]
    points = np.frombuffer(cloud.data, np.float32).reshape(-1, cloud.point_step // 4)[:, :3]
    # Walls two meters ahead of x = 0 and x = 1.
    assert sorted({round(float(x), 3) for x in points[:, 0]}) == [2.0, 3.0]


def test_compressed_images_are_mapped_too(start):
    _, peer = start(image_transport="compressed")
    peer.subscribe("pose")
    peer.wait_for_outputs("pose")
    peer.spin_until(peer.compressed.get_subscription_count, "a subscriber to compressed images")
    peer.compressed.publish(messages.jpeg_image(image(1), messages.make_header(SECOND, FRAME_ID)))
    peer.spin_until(lambda: peer.received["pose"], "a pose")


def test_after_reset_a_new_map_starts_at_the_origin(start):
    node, peer = start()
    peer.subscribe("pose", "path")
    wait_for_connection(peer)
    map_images(peer, 3)
    response = peer.call("reset")
    assert response.success
    assert (
        len(node.mapping.bodies[0].reconstructor.map.voxels),
        len(node.mapping.bodies[0].reconstructor.trajectory),
    ) == (0, 0)
    peer.received["path"].clear()
    map_images(peer, 1, 10 * SECOND)
    assert peer.received["pose"][-1].pose.position.x == pytest.approx(0.0)
    peer.spin_until(lambda: peer.received["path"], "a path")
    assert [stamped.pose.position.x for stamped in peer.received["path"][-1].poses] == [
        pytest.approx(0.0)
    ]


def test_map_and_trajectory_are_saved_in_the_output_directory(start, tmp_path):
    _, peer = start()
    peer.subscribe("pose")
    wait_for_connection(peer)
    map_images(peer, 3)
    for service, name in (("save_map", "map.ply"), ("save_trajectory", "trajectory.txt")):
        response = peer.call(service)
        assert response.success
        assert str(tmp_path / name) in response.message
    points, colors = read_ply(tmp_path / "map.ply")
    assert len(points) == len(colors) > 0
    poses = read_tum(tmp_path / "trajectory.txt")
    assert [stamp for stamp, _ in poses] == [SECOND, 11 * SECOND // 10, 12 * SECOND // 10]
    assert [T[0, 3] for _, T in poses] == pytest.approx([0.0, 1.0, 2.0])


def test_an_unwritable_folder_fails_the_service_and_mapping_continues(start, tmp_path):
    file = tmp_path / "file"
    file.touch()
    _, peer = start(output_directory=str(file / "below"))
    peer.subscribe("pose")
    wait_for_connection(peer)
    map_images(peer, 1)
    response = peer.call("save_map")
    assert not response.success
    assert str(file) in response.message
    map_images(peer, 1, 5 * SECOND)


@pytest.mark.parametrize("rectify", [True, False])
def test_distorted_images_are_rectified_unless_the_parameter_disables_it(start, rectify):
    node, peer = start(rectify=rectify)
    peer.subscribe("pose", "depth_info")
    wait_for_connection(peer)
    peer.spin_until(peer.camera_infos.get_subscription_count, "a subscriber of camera_info")
    info = CameraInfo(width=2 * WIDTH, height=2 * HEIGHT, distortion_model="plumb_bob")
    info.d, info.k = [-0.2, 0.0, 0.0, 0.0, 0.0], [30.0, 0.0, 15.5, 0.0, 30.0, 11.5, 0.0, 0.0, 1.0]
    peer.camera_infos.publish(info)
    peer.spin_until(lambda: node.mapping.subscribers[0].is_calibrated, "the calibration")
    map_images(peer, 1)
    peer.spin_until(lambda: peer.received["depth_info"], "camera info")
    assert any(peer.received["depth_info"][-1].d) is not rectify


@pytest.mark.parametrize(
    ("topic", "images_rectified", "is_rectified"),
    [
        ("/camera/image_rect_color", "auto", True),
        ("/camera/image_rect_color", "off", False),
        ("/camera/image_raw", "auto", False),
        ("/camera/image_raw", "on", True),
    ],
)
def test_P_of_camera_info_applies_to_remapped_rectified_images(
    start, topic, images_rectified, is_rectified
):
    node, peer = start(images_rectified=images_rectified, remappings={"image": topic})
    assert node.mapping.subscribers[0].subscription.topic_name == topic
    images = peer.node.create_publisher(Image, topic, STREAM)
    peer.subscribe("depth_info")
    peer.wait_for_outputs()
    peer.spin_until(images.get_subscription_count, "a subscriber of the images")
    peer.spin_until(peer.camera_infos.get_subscription_count, "a subscriber of camera_info")
    info = CameraInfo(width=2 * WIDTH, height=2 * HEIGHT, distortion_model="plumb_bob")
    info.d, info.k = [-0.2, 0.0, 0.0, 0.0, 0.0], [30.0, 0.0, 15.5, 0.0, 30.0, 11.5, 0.0, 0.0, 1.0]
    info.p = [26.0, 0.0, 15.5, -5.0, 0.0, 26.0, 11.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    peer.camera_infos.publish(info)
    peer.spin_until(lambda: node.mapping.subscribers[0].is_calibrated, "the calibration")
    images.publish(messages.image(image(0), messages.make_header(SECOND, "camera")))
    peer.spin_until(lambda: peer.received["depth_info"], "camera info")
    focal_px = peer.received["depth_info"][-1].k[0]  # at half the size
    assert (focal_px == pytest.approx(13.0)) == is_rectified


def test_depth_can_have_the_size_of_the_image_and_be_in_millimeters(start):
    _, peer = start(**{"depth.encoding": "16UC1", "depth.resolution": "input"})
    peer.subscribe("pose", "depth", "depth_info")
    wait_for_connection(peer)
    map_images(peer, 1)
    peer.spin_until(lambda: peer.received["depth"] and peer.received["depth_info"], "depth")
    depth, info = peer.received["depth"][-1], peer.received["depth_info"][-1]
    assert (depth.encoding, depth.width, depth.height) == ("16UC1", 2 * WIDTH, 2 * HEIGHT)
    assert (info.width, info.height) == (2 * WIDTH, 2 * HEIGHT)
    assert info.k[0] == pytest.approx(2 * FOCAL)
    values = np.frombuffer(depth.data, np.uint16)
    assert np.median(values) == 1000 * DEPTH_M


def test_the_covariance_of_odometry_grows_along_the_path(start):
    _, peer = start()
    peer.subscribe("pose", "odom")
    wait_for_connection(peer)
    map_images(peer, 6)
    peer.spin_until(lambda: len(peer.received["odom"]) == 6, "odometry")
    variances = [message.pose.covariance[0] for message in peer.received["odom"]]
    assert variances == sorted(variances)
    assert 0 < variances[0] < variances[-1] < 10.0
    assert 0 < peer.received["odom"][-1].twist.covariance[0] < 1e3
