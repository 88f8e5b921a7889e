# SPDX-License-Identifier: Apache-2.0
"""Map a bag of the EuRoC dataset: ``ros2 launch ttt3r_ros euroc_bag.launch.py bag:=/path/to/bag``.

A ROS 1 bag is converted first: ``pip install rosbags; rosbags-convert --src V1_01_easy.bag --dst V1_01_easy``.
Map and trajectory are in ``output_directory`` when it has ended.
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

# Defaults that differ from those of mapping.launch.py, whose arguments all apply here as well.
DEFAULTS = {
    "image_topic": ("/cam0/image_raw", "Image topic."),
    "camera_info_topic": ("/cam0/camera_info", "Calibration."),
    "queue_policy": ("every", "Map every image."),
    "save_at_end": ("true", "Save map and trajectory."),
    "camera_frame": ("cam0_optical_frame", "The bag names a frame that is not on /tf."),
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
            IncludeLaunchDescription(mapping),
        ]
    )
