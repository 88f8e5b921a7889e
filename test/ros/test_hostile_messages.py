# SPDX-License-Identifier: Apache-2.0
"""No message ends the node: hostile messages of every subscribed type, then good images."""

from __future__ import annotations

import array
import os
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from fakes import HEIGHT, WIDTH, FakeBackend, image
from geometry_msgs.msg import PoseWithCovarianceStamped, TransformStamped
from graph import SECOND, map_images, wait_for_connection
from nav_msgs.msg import Odometry
from rclpy._rclpy_pybind11 import RCLError
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, Imu
from tf2_msgs.msg import TFMessage

from ttt3r_ros.ros import messages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

pytestmark = pytest.mark.ros

HOSTILE = [float("nan"), float("inf"), float("-inf"), 1e308, -1e300, 1e-300, 0.0]
STAMPS = [Time(sec=-(2**31)), Time(sec=2**31 - 1, nanosec=2**32 - 1), Time(sec=-1, nanosec=5)]
FRAMES = ["", "/", "map", "odom", "base_link", "no such frame", "x" * 5000]


def hostile_poses(pose: Callable[[], Any]) -> Iterator[None]:
    """Set each field of a pose or transform to each hostile value."""
    for value in HOSTILE:
        for name in "xyz":
            setattr(first_field(pose(), "position", "translation"), name, value)
            yield
        for names in ("x", "w", "xyzw"):
            rotation = first_field(pose(), "orientation", "rotation")
            for name in names:
                setattr(rotation, name, value)
            yield


def first_field(message: Any, *names: str) -> Any:
    return next(getattr(message, name) for name in names if hasattr(message, name))


def hostile_transforms() -> Iterator[TransformStamped]:
    for parent, child in (("odom", "base_link"), ("base_link", "camera_optical_frame"), ("map", "odom")):
        stamped = [TransformStamped()]

        def renew(stamped=stamped, parent=parent, child=child) -> Any:
            stamped[0] = TransformStamped(child_frame_id=child)
            stamped[0].header.frame_id = parent
            stamped[0].header.stamp = messages.make_stamp(SECOND)
            return stamped[0].transform

        for _ in hostile_poses(renew):
            yield stamped[0]
    for parent in FRAMES:
        for child in FRAMES:
            yield TransformStamped(child_frame_id=child)
            bad = TransformStamped(child_frame_id=child)
            bad.header.frame_id = parent
            bad.transform.translation.x = float("nan")
            yield bad


def hostile_messages() -> Iterator[tuple[str, type[Any], Any]]:
    """Return (topic, type, message); all but the images are harmless to the map if they are refused."""
    for stamped in hostile_transforms():
        yield "/tf", TFMessage, TFMessage(transforms=[stamped])
        yield "/tf_static", TFMessage, TFMessage(transforms=[stamped])
    for kind, topic in ((PoseWithCovarianceStamped, "initialpose"), (Odometry, "odometry")):
        for frame in FRAMES:
            message = [kind()]

            def renew(message=message, kind=kind, frame=frame) -> Any:
                message[0] = kind()
                message[0].header.frame_id = frame
                return message[0].pose.pose

            for _ in hostile_poses(renew):
                if kind is Odometry or frame in ("no such frame", "") or not is_pose(message[0]):
                    yield topic, kind, message[0]
    for value in HOSTILE:
        imu = Imu()
        imu.orientation.x = imu.orientation.w = value
        imu.linear_acceleration.z = value
        imu.angular_velocity.y = value
        yield "imu", Imu, imu
        info = CameraInfo(width=2 * WIDTH, height=2 * HEIGHT, distortion_model="plumb_bob")
        info.k = [value, 0.0, value, 0.0, value, 1.0, 0.0, 0.0, 1.0]
        info.d = [value] * 5
        yield "camera_info", CameraInfo, info
        for focal in (20.0, value):
            info = CameraInfo(width=2 * WIDTH, height=2 * HEIGHT, distortion_model="plumb_bob")
            info.k = [focal, 0.0, 16.0, 0.0, 20.0, 12.0, 0.0, 0.0, 1.0]
            info.d = [0.0, value, 0.0, 0.0, 0.0]
            info.p = [value] * 12
            yield "camera_info", CameraInfo, info
        depth = np.full((24, 32), value, np.float64).astype(np.float32)
        yield (
            "depth_registered/image_rect",
            Image,
            messages.image(depth, messages.make_header(SECOND, "x")),
        )
    for stamp in STAMPS:
        for topic, kind in (
            ("imu", Imu),
            ("odometry", Odometry),
            ("depth_registered/image_rect", Image),
        ):
            stamped_message = kind()
            stamped_message.header.stamp = stamp
            yield topic, kind, stamped_message
        yield "/clock", Clock, Clock(clock=stamp)
        yield "image", Image, Image(header=messages.make_header(SECOND, ""), encoding="rgb8")
        odd = Image(encoding="mono8", width=1, height=1, step=1, data=array.array("B", b"\0"))
        odd.header.stamp = stamp
        yield "image", Image, odd
    for width, height, step in ((2**32 - 1, 2**32 - 1, 2**32 - 1), (0, 5, 0), (5, 5, 2**31)):
        yield "image", Image, Image(encoding="bgr8", width=width, height=height, step=step)


def is_pose(message: Any) -> bool:
    try:
        messages.matrix_from_pose(message.pose.pose)
    except ValueError:
        return False
    return True


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize("tf_mode", ["map_odom", "odom_base"])
def test_hostile_messages_of_every_type_do_not_end_the_node(start, context, tf_mode):
    backend = FakeBackend()
    source = "depth" if tf_mode == "map_odom" else "odometry"
    node, peer = start(
        backend,
        tf_mode=tf_mode,
        transform_timeout=0.0,
        use_sim_time=True,
        **{"scale.source": source},
    )
    subscribed = {subscription.topic_name for subscription in node.subscriptions}
    peer.subscribe("pose")
    peer.subscribe_to_diagnostics()
    wait_for_connection(peer)
    publishers: dict[str, Any] = {"image": peer.images, "/tf": peer.tf, "/tf_static": peer.static_tf}
    sent: set[str] = set()
    for topic, kind, message in hostile_messages():
        name = peer.node.resolve_topic_name(topic)
        if name not in subscribed:
            continue
        if topic not in publishers:
            publishers[topic] = peer.node.create_publisher(kind, topic, 50)
            publisher = publishers[topic]
            peer.spin_until(publisher.get_subscription_count, f"a subscriber of {topic}")
        publishers[topic].publish(message)
        damaged = bytearray(serialize_message(message))
        for data in (damaged[: len(damaged) // 2], damaged[:4] + os.urandom(64)):
            with suppress(RCLError):  # the publisher can refuse it, too
                publishers[topic].publish(bytes(data))
        sent.add(name)
        peer.executor.spin_once(timeout_sec=0.0)
        peer.executor.spin_once(timeout_sec=0.0)
    assert subscribed - sent <= {"/parameter_events"}, "every subscribed topic had hostile messages"
    # A good transform tree, then good images: everything works as before.
    before_ns = messages.stamp_to_ns(node.get_clock().now().to_msg())
    assert before_ns >= 0
    T = np.eye(4)
    T[:3, 3] = 0.1, 0.2, 0.3
    T[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    peer.send_static(("base_link", "camera_optical_frame", T))
    buffer = node.mapping.sensors.transforms
    peer.spin_until(
        lambda: np.allclose(buffer.lookup("base_link", "camera_optical_frame", None), T), "the mount"
    )
    for index in range(3):
        peer.send_transform("odom", "base_link", np.eye(4), (5 + index) * SECOND)
    peer.spin_until(lambda: is_known(buffer, 7 * SECOND), "the odometry")
    counts = node.mapping.statistics
    for index in range(3):  # after the hostile stamps three images must agree on the time
        finished = outcomes(counts.counts)
        peer.publish(image(index), 5 * SECOND + index)
        peer.spin_until(
            lambda finished=finished: outcomes(counts.counts) > finished, "the end of an image"
        )
    map_images(peer, 2, 6 * SECOND)
    assert context.ok()
    assert node.failure is None
    _, poses = node.mapping.bodies[0].reconstructor.trajectory.poses()
    assert len(poses) >= 2
    assert np.isfinite(poses).all()
    assert np.abs(poses).max() < 1e3


def outcomes(counts: Any) -> int:
    return int(counts.refused + counts.skipped + counts.processed)


def is_known(buffer: Any, stamp_ns: int) -> bool:
    from ttt3r_ros.transforms.tree import TransformError

    try:
        buffer.lookup("odom", "base_link", stamp_ns)
    except TransformError:
        return False
    return True


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e308, 1e-300, -1e300, 1e7])
@pytest.mark.parametrize("field", ["fx", "fy", "cx", "d"])
def test_a_hostile_calibration_is_ignored_and_images_are_mapped(start, field, value):
    node, peer = start()
    peer.subscribe("pose", "depth_info")
    wait_for_connection(peer)
    peer.spin_until(peer.camera_infos.get_subscription_count, "a subscriber of camera_info")
    k = [20.0, 0.0, 16.0, 0.0, 20.0, 12.0, 0.0, 0.0, 1.0]
    info = CameraInfo(width=2 * WIDTH, height=2 * HEIGHT, distortion_model="plumb_bob", d=[0.0] * 5)
    if field == "d":
        info.d[1] = value
    else:
        k[{"fx": 0, "cx": 2, "fy": 4}[field]] = value
    info.k = k
    subscriber = node.mapping.subscribers[0]
    peer.camera_infos.publish(info)
    peer.spin_until(lambda: subscriber._first_image._is_released, "the calibration")
    map_images(peer, 2)
    peer.spin_until(lambda: peer.received["depth_info"], "the calibration of the depth")
    assert np.isfinite(peer.received["depth_info"][-1].k).all()
    assert 1.0 < peer.received["depth_info"][-1].k[0] < 100.0
