# SPDX-License-Identifier: Apache-2.0
"""The launch file run by the genuine launch packages: the installed node, real DDS, an orderly end."""

from __future__ import annotations

import shutil
import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
import rclpy
import yaml
from geometry_msgs.msg import PoseStamped
from launch_file import run
from launch_testing.asserts import assertExitCodes
from rcl_interfaces.srv import GetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import parameter_value_to_python
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage

from ttt3r_ros.io.room import ProceduralRoom
from ttt3r_ros.ros import compat
from ttt3r_ros.ros.messages import depth_from_image
from ttt3r_ros.ros.qos import STREAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.ros
LIMIT_S = 60.0  # ten times what a slow machine needs to load torch and the network


class Observer:
    """A camera and a listener beside the launched node."""

    def __init__(self, context: rclpy.context.Context) -> None:
        self.node = rclpy.create_node("observer", context=context)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.node)
        self.launch_over = threading.Event()
        self.got: dict[str, list[Any]] = defaultdict(list)

    def listen(self, kind: type, topic: str) -> list[Any]:
        self.node.create_subscription(kind, topic, self.got[topic].append, 50)
        return self.got[topic]

    def spin_until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            assert not self.launch_over.is_set(), f"the launch ended before {what}"
            assert time.monotonic() < deadline, f"not within {LIMIT_S:.0f} s: {what}"
            self.executor.spin_once(timeout_sec=0.05)

    def show(self, room: ProceduralRoom, topic: str, outputs: list[list[Any]]) -> None:
        """Publish the room's images, each after the outputs of the one before."""
        camera = self.node.create_publisher(Image, topic, STREAM)
        self.spin_until(camera.get_subscription_count, f"a subscriber to {topic}")
        for number, frame in enumerate(room.frames(), start=1):
            stamp = compat.ns_to_stamp(frame.stamp_ns)
            camera.publish(compat.rgb_to_image(frame.rgb, stamp, "camera_optical_frame"))
            self.spin_until(
                lambda n=number: all(len(got) >= n for got in outputs), f"outputs of image {number}"
            )

    def parameters(self, node: str, *names: str) -> list[Any]:
        client = self.node.create_client(GetParameters, f"{node}/get_parameters")
        self.spin_until(client.service_is_ready, f"the parameters of {node}")
        future = client.call_async(GetParameters.Request(names=names))
        self.spin_until(future.done, f"parameter values of {node}")
        return [parameter_value_to_python(value) for value in future.result().values]


@pytest.fixture
def observer(domain_id: int) -> Iterator[Observer]:
    context = rclpy.context.Context()
    rclpy.init(args=[], context=context, domain_id=domain_id)
    observer = Observer(context)
    yield observer
    observer.executor.shutdown()
    observer.node.destroy_node()
    context.try_shutdown()


def test_three_images_become_poses_transforms_and_depth_and_the_node_ends_well(observer, tmp_path):
    poses = observer.listen(PoseStamped, "/mapping_node/pose")
    depths = observer.listen(Image, "/mapping_node/depth/image")
    transforms = observer.listen(TFMessage, "/tf")
    room = ProceduralRoom(frames=3, width=320, height=240)

    exits = run(
        lambda: observer.show(room, "/front/image", [poses, depths, transforms]),
        observer.launch_over.set,
        image_topic="/front/image",
        image_qos="reliable",
        output_directory=str(tmp_path),
    )

    assertExitCodes(exits)
    assert [name.rsplit("-", 1)[0] for name in exits.process_names()] == ["mapping_node"]
    stamps = [room.stamp_ns(index) for index in range(3)]
    assert [compat.stamp_to_ns(pose.header.stamp) for pose in poses] == stamps
    assert [compat.stamp_to_ns(message.transforms[0].header.stamp) for message in transforms] == stamps
    assert {pose.header.frame_id for pose in poses} == {"map"}
    assert depth_from_image(depths[-1]).shape == (56, 80)


def test_file_and_typed_arguments_reach_a_node_in_a_namespace(observer, tmp_path):
    file = tmp_path / "robot.yaml"
    values = {"reset_interval": 7, "map_frame": "world", "image_qos": "reliable"}
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}))
    poses = observer.listen(PoseStamped, "/robot1/mapping_node/pose")
    room = ProceduralRoom(frames=1, width=320, height=240)
    seen: list[Any] = []

    def look() -> None:
        names = ("reset_interval", "map_frame", "image_transport", "use_sim_time")
        seen.extend(observer.parameters("/robot1/mapping_node", *names))
        observer.show(room, "/front/image", [poses])

    exits = run(
        look,
        observer.launch_over.set,
        namespace="robot1",
        image_topic="/front/image",
        params_file=str(file),
        map_frame="site",
    )

    assertExitCodes(exits)
    assert seen == [7, "site", "raw", False]
    assert poses[0].header.frame_id == "site"


@pytest.mark.skipif(shutil.which("ros2") is None, reason="the command ros2 is not installed")
def test_a_node_that_cannot_start_ends_a_launch_with_a_bag(observer, tmp_path):
    exits = run(
        lambda: observer.launch_over.wait(LIMIT_S),
        observer.launch_over.set,
        model_path=str(tmp_path / "absent.pth"),
        bag=str(tmp_path / "walk"),
    )
    assert observer.launch_over.is_set()
    codes = {
        exits[name].process_name.rsplit("-", 1)[0]: exits[name].returncode
        for name in exits.process_names()
    }
    assert codes["mapping_node"] == 1
