# SPDX-License-Identifier: Apache-2.0
"""Map with a GStreamer source, such as an RTSP camera: ``ros2 launch ttt3r_ros gscam.launch.py url:=rtsp://192.168.0.10/stream``.

Needs ``ros-$ROS_DISTRO-gscam``. Give the pipeline for another source.
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

# Defaults that differ from those of mapping.launch.py, whose arguments all apply here as well.
DEFAULTS = {
    "image_topic": ("/camera/image_raw", "Image topic."),
    "camera_info_topic": ("/camera/camera_info", "Calibration."),
    "url": ("rtsp://192.168.0.10/stream", "Stream of the camera."),
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
                package="gscam",
                executable="gscam_node",
                parameters=[
                    {
                        "gscam_config": [
                            "rtspsrc latency=0 location=",
                            LaunchConfiguration("url"),
                            " ! decodebin ! videoconvert",
                        ],
                        "frame_id": "camera_optical_frame",
                    }
                ],
                output="screen",
            ),
            IncludeLaunchDescription(mapping),
        ]
    )
