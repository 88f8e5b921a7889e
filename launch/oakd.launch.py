# SPDX-License-Identifier: Apache-2.0
"""Map with the colour camera of a Luxonis OAK-D: ``ros2 launch ttt3r_ros oakd.launch.py``.

Needs ``ros-$ROS_DISTRO-depthai-ros-driver``.
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

# Defaults that differ from those of mapping.launch.py, whose arguments all apply here as well.
DEFAULTS = {
    "image_topic": ("/oak/rgb/image_raw", "Image topic."),
    "camera_info_topic": ("/oak/rgb/camera_info", "Calibration."),
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
            # In a scope of its own: its arguments and ours share names such as params_file and publish_tf.
            GroupAction(
                forwarding=False,
                launch_configurations={},
                actions=[
                    IncludeLaunchDescription(
                        PythonLaunchDescriptionSource(
                            PathJoinSubstitution(
                                [FindPackageShare("depthai_ros_driver"), "launch", "camera.launch.py"]
                            )
                        ),
                    ),
                ],
            ),
            IncludeLaunchDescription(mapping),
        ]
    )
