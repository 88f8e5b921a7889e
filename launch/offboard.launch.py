# SPDX-License-Identifier: Apache-2.0
"""The network on another machine than the camera.

``ros2 launch ttt3r_ros offboard.launch.py image_topic:=/camera/image_raw``. Run this on the machine with the GPU; the
robot publishes compressed images. Both share a ROS_DOMAIN_ID; across a
network that does not carry multicast, name a Fast DDS discovery server, or take Zenoh (docs/robots.md).
"""

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration

from ttt3r_ros.ros.launch_support.wrapping import mapping_launch

# Defaults that differ from those of mapping.launch.py, whose arguments all apply here as well.
DEFAULTS = {
    "image_transport": ("compressed", "Raw images rarely fit through a radio."),
    "discovery_server": (
        "",
        "HOST:11811 of a Fast DDS discovery server; empty: as ROS_DISCOVERY_SERVER says.",
    ),
}


def generate_launch_description() -> LaunchDescription:
    return mapping_launch(DEFAULTS, OpaqueFunction(function=discovery))


def discovery(context: LaunchContext) -> list[Action]:
    server = LaunchConfiguration("discovery_server").perform(context)
    return [SetEnvironmentVariable("ROS_DISCOVERY_SERVER", server)] if server else []
