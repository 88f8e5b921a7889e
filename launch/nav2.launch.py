# SPDX-License-Identifier: Apache-2.0
"""Map and navigate with one camera: ``ros2 launch ttt3r_ros nav2.launch.py``.

Needs ``ros-$ROS_DISTRO-nav2-bringup`` and a robot that publishes odom -> base and images. Nav2 starts beside the node
and uses its grid on /map and its cloud.
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

# Defaults that differ from those of mapping.launch.py, whose arguments all apply here as well.
DEFAULTS = {
    "nav2_sim_time": ("false", "Let Nav2 follow /clock."),
    "tf_mode": ("map_odom", "The robot has odometry."),
    "grid_topic": ("/map", "Where Nav2 looks for the grid."),
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
                default_value=str(share / "config" / "robots" / "wheeled.yaml"),
                description="Scale from the wheels.",
            ),
            # In a scope of its own: its arguments and ours share names such as params_file and publish_tf.
            GroupAction(
                forwarding=False,
                launch_configurations={"nav2_sim_time": LaunchConfiguration("nav2_sim_time")},
                actions=[
                    IncludeLaunchDescription(
                        PythonLaunchDescriptionSource(
                            PathJoinSubstitution(
                                [FindPackageShare("nav2_bringup"), "launch", "navigation_launch.py"]
                            )
                        ),
                        launch_arguments={
                            "params_file": str(share / "config" / "nav2.yaml"),
                            "use_sim_time": LaunchConfiguration("nav2_sim_time"),
                        }.items(),
                    ),
                ],
            ),
            IncludeLaunchDescription(mapping),
        ]
    )
