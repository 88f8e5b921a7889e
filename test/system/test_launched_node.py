# SPDX-License-Identifier: Apache-2.0
"""The launch file run by the genuine launch packages: the installed node, real DDS, an orderly end."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from bag_recording import images, record
from geometry_msgs.msg import PoseStamped
from launch_file import run
from launch_testing.asserts import assertExitCodes
from observer import LIMIT_S
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage

from ttt3r_ros.model.checkpoints.networks import PACKAGE_WEIGHTS, load_network
from ttt3r_ros.ros import messages
from ttt3r_ros.ros.image_messages import depth_from_image
from ttt3r_ros.synthetic.room import ProceduralRoom

pytestmark = pytest.mark.ros


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
    assert [messages.stamp_to_ns(pose.header.stamp) for pose in poses] == stamps
    assert [messages.stamp_to_ns(message.transforms[0].header.stamp) for message in transforms] == stamps
    assert {pose.header.frame_id for pose in poses} == {"map"}
    assert depth_from_image(depths[-1]).shape == tuple(
        load_network(PACKAGE_WEIGHTS).network.config.img_size
    )


def test_file_and_typed_arguments_reach_a_node_in_a_namespace(observer, tmp_path):
    file = tmp_path / "robot.yaml"
    values = {"reset_interval": 7, "map_frame": "world", "image_qos": "reliable"}
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}))
    poses = observer.listen(PoseStamped, "/robot1/mapping_node/pose")
    room = ProceduralRoom(frames=1, width=320, height=240)
    seen: list[Any] = []

    def read_and_publish() -> None:
        names = ("reset_interval", "map_frame", "image_transport", "use_sim_time")
        seen.extend(observer.parameters("/robot1/mapping_node", *names))
        observer.show(room, "/front/image", [poses])

    exits = run(
        read_and_publish,
        observer.launch_over.set,
        namespace="robot1",
        image_topic="/front/image",
        params_file=str(file),
        map_frame="site",
    )

    assertExitCodes(exits)
    assert seen == [7, "site", "raw", False]
    assert poses[0].header.frame_id == "site"


def test_a_node_that_cannot_start_ends_a_launch_with_a_bag(observer, ros2, tmp_path):
    run(
        lambda: observer.launch_over.wait(LIMIT_S),
        observer.launch_over.set,
        model_path=str(tmp_path / "absent.pth"),
        bag=str(record(tmp_path / "walk", images("/camera/image_raw"))),
        status=1,
    )
    assert observer.launch_over.is_set()
