# SPDX-License-Identifier: Apache-2.0
"""Map with the left camera of a Stereolabs ZED: ``ros2 launch ttt3r_ros zed.launch.py``.

Needs ``zed_wrapper``, whose own odometry and map transforms are switched off here.
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
    "image_topic": ("/zed/zed_node/rgb/color/rect/image", "Image topic."),
    "camera_info_topic": ("/zed/zed_node/rgb/color/rect/camera_info", "Calibration."),
    "camera_model": ("zed2i", "Model of the camera."),
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
                launch_configurations={"camera_model": LaunchConfiguration("camera_model")},
                actions=[
                    IncludeLaunchDescription(
                        PythonLaunchDescriptionSource(
                            PathJoinSubstitution(
                                [FindPackageShare("zed_wrapper"), "launch", "zed_camera.launch.py"]
                            )
                        ),
                        launch_arguments={
                            "camera_model": LaunchConfiguration("camera_model"),
                            "publish_tf": "false",
                            "publish_map_tf": "false",
                        }.items(),
                    ),
                ],
            ),
            IncludeLaunchDescription(mapping),
        ]
    )
