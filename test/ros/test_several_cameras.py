# SPDX-License-Identifier: Apache-2.0
"""Several cameras in one node: each with its own state and outputs, or on one rig."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import FakeBackend, image
from geometry_msgs.msg import PoseStamped
from graph import SECOND
from nav_msgs.msg import OccupancyGrid
from sensor_msgs.msg import Image, PointCloud2
from tf2_msgs.msg import TFMessage

from ttt3r_ros.geometry import T_BODY_OPTICAL
from ttt3r_ros.ros import messages
from ttt3r_ros.ros.qos import LATCHED, STREAM

pytestmark = pytest.mark.ros


class Cameras:
    """Publishers of two cameras and subscriptions to their outputs."""

    def __init__(self, peer, *outputs) -> None:
        self.peer = peer
        self.publishers = {
            name: peer.node.create_publisher(Image, f"{name}/image", STREAM)
            for name in ("front", "left")
        }
        for kind, topic, name in outputs:
            peer.subscribe_to(name, kind, f"/mapping_node/{topic}")
        peer.subscribe_to("tf", TFMessage, "/tf")
        peer.subscribe_to_diagnostics()
        for publisher in self.publishers.values():
            peer.spin_until(publisher.get_subscription_count, "subscribers")

    def publish(self, name: str, mark: int, stamp_ns: int) -> None:
        message = messages.image(image(mark), messages.make_header(stamp_ns, f"{name}_optical_frame"))
        self.publishers[name].publish(message)


def test_each_camera_has_its_own_state_outputs_and_map_frame(start):
    backend = FakeBackend()
    _, peer = start(backend, cameras=["front", "left"])
    cameras = Cameras(
        peer,
        (PoseStamped, "front/pose", "front"),
        (PoseStamped, "left/pose", "left"),
        (PointCloud2, "left/points", "points"),
    )
    for index in range(3):
        cameras.publish("front", index, SECOND + index * SECOND // 10)
        peer.spin_until(lambda index=index: len(peer.received["front"]) == index + 1, "a pose of front")
    cameras.publish("left", 7, 2 * SECOND)
    peer.spin_until(lambda: peer.received["left"] and peer.received["points"], "results of left")
    assert peer.received["front"][-1].pose.position.x == pytest.approx(2.0)
    assert peer.received["left"][-1].pose.position.x == pytest.approx(0.0)
    assert peer.received["left"][-1].header.frame_id == "left/map"
    assert peer.received["points"][-1].header.frame_id == "left_optical_frame"
    peer.spin_until(
        lambda: (
            {(s.header.frame_id, s.child_frame_id) for s in peer.transforms()}
            == {("front/map", "front_optical_frame"), ("left/map", "left_optical_frame")}
        ),
        "one tree for each camera",
    )


def test_images_of_several_cameras_are_one_batch(start):
    batches: list[int] = []

    class CountingBackend(FakeBackend):
        def step_batch(self, images, states):
            batches.append(len(images))
            return super().step_batch(images, states)

    node, peer = start(CountingBackend(), cameras=["front", "left"])
    cameras = Cameras(peer, (PoseStamped, "front/pose", "front"), (PoseStamped, "left/pose", "left"))
    with node.mapping.stepping:  # blocks the worker until all images are received
        cameras.publish("front", 1, SECOND)
        cameras.publish("left", 2, SECOND)
        cameras.publish("front", 3, 2 * SECOND)
        peer.spin_until(lambda: node.mapping.statistics.counts.received == 3, "all images")
    peer.spin_until(lambda: peer.received["left"] and len(peer.received["front"]) >= 1, "poses of both")
    assert 2 in batches


def test_a_rig_shares_one_state_and_its_baseline_gives_the_scale(start):
    backend = FakeBackend()  # moves one meter per image
    node, peer = start(backend, cameras=["front", "left"], rig=True, tf_mode="odom_base")
    cameras = Cameras(peer, (PoseStamped, "pose", "pose"), (PointCloud2, "left/points", "left_points"))
    front, left = T_BODY_OPTICAL.copy(), T_BODY_OPTICAL.copy()
    left[:3, 3] = [0.5, 0.0, 0.0]  # half a meter ahead
    peer.send_static(
        ("base_link", "front_optical_frame", front), ("base_link", "left_optical_frame", left)
    )
    buffer = node.mapping.sensors.transforms
    peer.spin_until(lambda: buffer.root_of("left_optical_frame") == "base_link", "the mounts")
    for index in range(6):
        for name in ("front", "left"):
            cameras.publish(name, 1, SECOND + index * SECOND // 10)
            count = 2 * index + (2 if name == "left" else 1)
            peer.spin_until(lambda count=count: peer.count("processed") == count, f"image {count}")
    assert [seen for _, seen in backend.shown] == list(range(12)), "one state for all cameras"
    assert float(peer.diagnostics()["scale"]) == pytest.approx(0.5, rel=0.01)
    assert peer.diagnostics()["scale_source"] == "baseline"
    peer.spin_until(lambda: peer.received["left_points"] and len(peer.received["pose"]) == 6, "outputs")
    # Between two images of front the network moves two meters; the true motion is one meter.
    x = [message.pose.position.x for message in peer.received["pose"]]
    assert x[-1] - x[-2] == pytest.approx(1.0, rel=0.05)


def test_the_grid_reaches_a_late_subscriber(start):
    node, peer = start(**{"grid.min_height": -5.0, "grid.max_height": 5.0}, tf_mode="none")
    node.mapping.bodies[0].reconstructor.leveling.floor_z = 0.0
    peer.subscribe("pose")
    peer.wait_for_subscriber()
    peer.wait_for_outputs("pose")
    peer.publish(image(1), SECOND)
    peer.spin_until(lambda: peer.received["pose"], "a pose")
    peer.subscribe_to("grid", OccupancyGrid, "/mapping_node/map", LATCHED)
    peer.spin_until(lambda: peer.received["grid"], "the grid")
    grid = peer.received["grid"][-1]
    values = np.array(grid.data).reshape(grid.info.height, grid.info.width)
    assert set(np.unique(values)) == {-1, 0, 100}
    # The wall of the fake is two meters ahead.
    column = int((2.0 - grid.info.origin.position.x) / grid.info.resolution + 0.01)
    row = int((0.0 - grid.info.origin.position.y) / grid.info.resolution + 0.01)
    assert 100 in values[row, column - 1 : column + 2]
    assert values[row, column - 20] == 0
