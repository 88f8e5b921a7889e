# SPDX-License-Identifier: Apache-2.0
"""Map with any webcam: ``ros2 launch ttt3r_ros usb_cam.launch.py``.

Needs ``ros-$ROS_DISTRO-usb-cam``. Its frame default_cam is a body frame (camera_frame_convention).
"""

from launch import LaunchDescription
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from ttt3r_ros.ros.launch_support.wrapping import mapping_launch

# Arguments of this file; those of mapping.launch.py apply too.
DEFAULTS = {
    "image_topic": ("/image_raw", "Image topic."),
    "camera_info_topic": ("/camera_info", "CameraInfo topic."),
    "camera_frame_convention": ("body", "Axes of default_cam: x forward."),
    "video_device": ("/dev/video0", "Device of the camera."),
}


def generate_launch_description() -> LaunchDescription:
    camera = Node(
        package="usb_cam",
        executable="usb_cam_node_exe",
        parameters=[{"video_device": LaunchConfiguration("video_device")}],
        output="screen",
    )
    return mapping_launch(DEFAULTS, camera)
