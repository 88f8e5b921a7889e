# SPDX-License-Identifier: Apache-2.0
"""Close loops with RTAB-Map on depth and odometry of this node: ``ros2 launch ttt3r_ros rtabmap.launch.py``.

Needs ``ros-$ROS_DISTRO-rtabmap-launch`` and a rectified image topic. RTAB-Map owns the map and publishes map -> odom;
this node maps in odom (its map_frame is odom) and publishes odom -> base alone.
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
    "image_topic": ("/camera/image_raw", "Rectified image topic."),
    "base_frame": ("base_link", "Body of the robot."),
    "tf_mode": ("odom_base", "This node is the odometry."),
    "map_frame": ("odom", "RTAB-Map owns the map."),
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
                default_value=str(share / "config" / "robots" / "rtabmap.yaml"),
                description="Depth at the size of the image.",
            ),
            # In a scope of its own: its arguments and ours share names such as params_file and publish_tf.
            GroupAction(
                forwarding=False,
                launch_configurations={
                    "base_frame": LaunchConfiguration("base_frame"),
                    "image_topic": LaunchConfiguration("image_topic"),
                },
                actions=[
                    IncludeLaunchDescription(
                        PythonLaunchDescriptionSource(
                            PathJoinSubstitution(
                                [FindPackageShare("rtabmap_launch"), "launch", "rtabmap.launch.py"]
                            )
                        ),
                        launch_arguments={
                            "visual_odometry": "false",
                            "odom_topic": "/mapping_node/odom",
                            "rgb_topic": LaunchConfiguration("image_topic"),
                            "depth_topic": "/mapping_node/depth/image",
                            "camera_info_topic": "/mapping_node/depth/camera_info",
                            "frame_id": LaunchConfiguration("base_frame"),
                        }.items(),
                    ),
                ],
            ),
            IncludeLaunchDescription(mapping),
        ]
    )
