# SPDX-License-Identifier: Apache-2.0
"""Run the node on another machine than the camera.

``ros2 launch ttt3r_ros offboard.launch.py image_topic:=/camera/image_raw``. Start this on the machine with the GPU. The
robot publishes compressed images with the same ROS_DOMAIN_ID. On a network without multicast use a Fast DDS discovery
server or Zenoh (docs/robots.md).
"""

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration

from ttt3r_ros.ros.launch_support.wrapping import mapping_launch

# Arguments of this file; those of mapping.launch.py apply too.
DEFAULTS = {
    "image_transport": ("compressed", "Compressed images, because raw images need too much bandwidth."),
    "discovery_server": (
        "",
        "HOST:11811 of a Fast DDS discovery server. Empty: ROS_DISCOVERY_SERVER.",
    ),
}


def generate_launch_description() -> LaunchDescription:
    return mapping_launch(DEFAULTS, OpaqueFunction(function=discovery))


def discovery(context: LaunchContext) -> list[Action]:
    server = LaunchConfiguration("discovery_server").perform(context)
    return [SetEnvironmentVariable("ROS_DISCOVERY_SERVER", server)] if server else []
