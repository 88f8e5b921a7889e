# SPDX-License-Identifier: Apache-2.0
"""Map with a simulated TurtleBot 3 waffle in Gazebo: ``ros2 launch ttt3r_ros turtlebot3.launch.py``.

Needs ``ros-$ROS_DISTRO-turtlebot3-gazebo``. Export TURTLEBOT3_MODEL=waffle first: it is the one with a camera.
Its wheels give odom -> base; the node gives map -> odom.
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
    "image_topic": ("/camera/image_raw", "Image topic."),
    "camera_info_topic": ("/camera/camera_info", "Calibration."),
    "tf_mode": ("map_odom", "The robot has odometry."),
    "base_frame": ("base_footprint", "Body of the robot."),
    "use_sim_time": ("true", "Follow the simulation."),
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
                launch_configurations={},
                actions=[
                    IncludeLaunchDescription(
                        PythonLaunchDescriptionSource(
                            PathJoinSubstitution(
                                [
                                    FindPackageShare("turtlebot3_gazebo"),
                                    "launch",
                                    "turtlebot3_house.launch.py",
                                ]
                            )
                        ),
                    ),
                ],
            ),
            IncludeLaunchDescription(mapping),
        ]
    )
