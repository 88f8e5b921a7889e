# SPDX-License-Identifier: Apache-2.0
"""Build a TSDF with nvblox on depth of this node: ``ros2 launch ttt3r_ros nvblox.launch.py``.

Needs ``isaac_ros_nvblox``. nvblox takes depth, camera info and the transforms; its global frame is odom.
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

# Defaults that differ from those of mapping.launch.py, whose arguments all apply here as well.
DEFAULTS = {
    "tf_mode": ("odom_base", "This node is the odometry."),
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
            Node(
                package="nvblox_ros",
                executable="nvblox_node",
                output="screen",
                parameters=[{"global_frame": "odom", "use_color": False, "num_cameras": 1}],
                remappings=[
                    ("camera_0/depth/image", "/mapping_node/depth/image"),
                    ("camera_0/depth/camera_info", "/mapping_node/depth/camera_info"),
                ],
            ),
            IncludeLaunchDescription(mapping),
        ]
    )
