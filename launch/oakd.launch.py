# SPDX-License-Identifier: Apache-2.0
"""Map with the color camera of a Luxonis OAK-D: ``ros2 launch ttt3r_ros oakd.launch.py``.

Needs ``ros-$ROS_DISTRO-depthai-ros-driver``. ``use_depth:=true`` takes the scale from the camera's depth, which the
driver aligns with the color camera unless told otherwise.
"""

from launch import LaunchDescription

from ttt3r_ros.ros.launch_support.wrapping import depth_parameters, include_driver, mapping_launch

# Defaults that differ from those of mapping.launch.py, whose arguments all apply here as well.
DEFAULTS = {
    "image_topic": ("/oak/rgb/image_raw", "Image topic."),
    "camera_info_topic": ("/oak/rgb/camera_info", "Calibration."),
    "depth_topic": ("/oak/stereo/image_raw", "Its own depth."),
    "use_depth": ("false", "Scale from its own depth."),
}


def generate_launch_description() -> LaunchDescription:
    camera = include_driver("depthai_ros_driver", "camera.launch.py")
    return mapping_launch(DEFAULTS, depth_parameters(), camera)
