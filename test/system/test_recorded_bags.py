# SPDX-License-Identifier: Apache-2.0
"""Bags played by the launch files: every image is mapped, and the saved poses are the true ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from launch_file import run
from launch_testing.asserts import assertExitCodes
from rclpy.qos import QoSDurabilityPolicy, QoSReliabilityPolicy
from rclpy.serialization import serialize_message
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage

from ttt3r_ros.io.trajectory_files import read_tum
from ttt3r_ros.ros import messages
from ttt3r_ros.synthetic.room import ProceduralRoom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from observer import Observer

pytestmark = pytest.mark.ros
IMAGES = 300
PERIOD_NS = 4_000_000  # faster than the network: most images are still under way when the player ends
START_NS = 1_000_000_000
STAMPS_NS = [START_NS + index * PERIOD_NS for index in range(IMAGES)]
LIMIT_S = 180.0
CAMERA = "openni_rgb_optical_frame"
FOREVER = QosTime(sec=2147483647, nsec=4294967295)


def images() -> Iterator[Image]:
    """One rendered view, shifted from image to image: only the arrival of images is tested."""
    (frame,) = ProceduralRoom(frames=1, width=160, height=120).frames()
    for index, stamp_ns in enumerate(STAMPS_NS):
        rgb = np.ascontiguousarray(np.roll(frame.rgb, index, axis=1))
        yield messages.image(rgb, messages.make_header(stamp_ns, f"/{CAMERA}"))


def true_path() -> Iterator[TFMessage]:
    """What the bags of TUM hold: the world moves the sensor, the sensor carries the camera."""
    for index, stamp_ns in enumerate(STAMPS_NS):
        T_world_kinect, T_kinect_camera = np.eye(4), np.eye(4)
        T_world_kinect[:3, 3] = 1.3 + 0.1 * index, 0.6, 1.6
        T_kinect_camera[:3, 3] = 0.0, -0.02, 0.0
        yield TFMessage(
            transforms=[
                messages.transform_stamped(
                    T_world_kinect, messages.make_header(stamp_ns, "/world"), "/kinect"
                ),
                messages.transform_stamped(
                    T_kinect_camera, messages.make_header(stamp_ns, "/kinect"), f"/{CAMERA}"
                ),
            ]
        )


def calibrations() -> Iterator[CameraInfo]:
    for stamp_ns in STAMPS_NS:
        k = [130.0, 0.0, 80.0, 0.0, 130.0, 60.0, 0.0, 0.0, 1.0]
        yield CameraInfo(header=messages.make_header(stamp_ns, CAMERA), width=160, height=120, k=k)


def recorded(path: Path, reliability: QosReliability, **topics: Iterator[Any]) -> str:
    """Write a rosbag2 of topics (slashes written __), whose images were offered with a reliability."""
    store = get_typestore(Stores.ROS2_JAZZY)
    with Writer(path, version=8) as writer:
        for name, stream in topics.items():
            recording = list(stream)
            package, kind = type(recording[0]).__module__.split(".")[0], type(recording[0]).__name__
            offered = QosReliability.RELIABLE if kind == "TFMessage" else reliability
            qos = Qos(
                *(QosHistory.KEEP_LAST, 5, offered, QosDurability.VOLATILE, FOREVER, FOREVER),
                *(QosLiveliness.AUTOMATIC, FOREVER, False),
            )
            connection = writer.add_connection(
                name.replace("__", "/"),
                f"{package}/msg/{kind}",
                typestore=store,
                offered_qos_profiles=[qos],
            )
            for message, stamp_ns in zip(recording, STAMPS_NS, strict=True):
                writer.write(connection, stamp_ns, serialize_message(message))
    return str(path)


def launched(observer: Observer, file: str, folder: Path, **typed: str) -> list[Any]:
    """Run a launch file until it has shut down by itself; return the poses that it saved."""
    exits = run(
        lambda: observer.spin_until_over(LIMIT_S),
        observer.launch_over.set,
        file,
        output_directory=str(folder / "results"),
        **typed,
    )
    assertExitCodes(exits)
    assert (folder / "results" / "map.ply").is_file()
    return list(read_tum(folder / "results" / "trajectory.txt"))


def test_of_a_tum_bag_recorded_best_effort_every_image_has_a_pose_of_the_camera(
    observer,
    ros2,
    tmp_path,
):
    bag = recorded(
        tmp_path / "fr1",
        QosReliability.BEST_EFFORT,
        __camera__rgb__image_color=images(),
        __camera__rgb__camera_info=calibrations(),
        __tf=true_path(),
    )
    transforms = observer.listen(TFMessage, "/tf")
    poses = observer.listen(PoseStamped, "/mapping_node/pose")
    saved = launched(observer, "tum_bag", tmp_path, bag=bag)
    assert [stamp_ns for stamp_ns, _ in saved] == STAMPS_NS
    assert np.allclose(saved[0][1][:3, 3], 0.0), "the map begins where the camera was, not the world"
    links = {(t.header.frame_id, t.child_frame_id) for m in transforms for t in m.transforms}
    assert links == {("map", CAMERA)}, "the true path of the bag is not played"
    of_the_camera = dict(saved)
    assert poses
    for pose in poses:
        T = of_the_camera[messages.stamp_to_ns(pose.header.stamp)]
        assert np.allclose(messages.matrix_from_pose(pose.pose), T, atol=1e-5)


def test_of_a_replayed_bag_every_image_has_a_pose(observer, ros2, tmp_path):
    bag = recorded(tmp_path / "walk", QosReliability.RELIABLE, __camera__image_raw=images())
    saved = launched(observer, "replay", tmp_path, bag=bag)
    assert [stamp_ns for stamp_ns, _ in saved] == STAMPS_NS


def test_a_bag_offers_the_recorded_qos_unless_it_is_overridden(tmp_path):
    """The stand-in is no easier than the real player."""
    import ros2_stand_in
    from rosbags.highlevel import AnyReader

    bag = recorded(tmp_path / "walk", QosReliability.BEST_EFFORT, __camera__image_raw=images())
    with AnyReader([Path(bag)]) as reader:
        (connection,) = reader.connections
        offered = ros2_stand_in.quality(connection, None)
        over = ros2_stand_in.quality(
            connection, {"history": "keep_all", "reliability": "reliable", "durability": "volatile"}
        )
    assert offered.reliability == QoSReliabilityPolicy.BEST_EFFORT
    assert over.reliability == QoSReliabilityPolicy.RELIABLE
    assert over.durability == QoSDurabilityPolicy.VOLATILE
