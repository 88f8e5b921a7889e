# SPDX-License-Identifier: Apache-2.0
"""The network on another machine than the camera.

``ros2 launch ttt3r_ros offboard.launch.py image_topic:=/camera/image_raw``. Run this on the machine with the GPU; the
robot publishes compressed images. Both share a ROS_DOMAIN_ID; across a
network that does not carry multicast, name a Fast DDS discovery server, or take Zenoh (docs/robots.md).
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, SetEnvironmentVariable
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

# Defaults that differ from those of mapping.launch.py, whose arguments all apply here as well.
DEFAULTS = {
    "image_transport": ("compressed", "Raw images rarely fit through a radio."),
    "discovery_server": ("", "HOST:11811 of a Fast DDS discovery server; empty: multicast."),
}


def generate_launch_description() -> LaunchDescription:
    share = Path(get_package_share_directory("ttt3r_ros"))
    mapping = PythonLaunchDescriptionSource(str(share / "launch" / "mapping.launch.py"))
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=text)
                for name, (default, text) in DEFAULTS.items()
            ),
            SetEnvironmentVariable("ROS_DISCOVERY_SERVER", LaunchConfiguration("discovery_server")),
            IncludeLaunchDescription(mapping),
        ]
    )
