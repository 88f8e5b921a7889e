# SPDX-License-Identifier: Apache-2.0
"""Map with several cameras on one robot: ``ros2 launch ttt3r_ros multi_camera.launch.py``.

The names of the cameras and whether they are one rig are in config/robots/multi_camera.yaml; copy it and give
your own as ``params_file``. Camera front is expected on front/image and front/camera_info.
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

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
            DeclareLaunchArgument(
                "params_file",
                default_value=str(share / "config" / "robots" / "multi_camera.yaml"),
                description="Names of the cameras.",
            ),
            IncludeLaunchDescription(mapping),
        ]
    )
