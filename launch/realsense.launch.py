# SPDX-License-Identifier: Apache-2.0
"""Map with the color camera of an Intel RealSense: ``ros2 launch ttt3r_ros realsense.launch.py``.

Needs ``ros-$ROS_DISTRO-realsense2-camera``. Handheld: the map moves the camera's own tree (camera_link).
``use_depth:=true`` takes the scale from the camera's depth.
"""

from launch import LaunchDescription
from launch.substitutions import LaunchConfiguration

from ttt3r_ros.ros.launch_support.wrapping import depth_parameters, include_driver, mapping_launch

# Defaults that differ from those of mapping.launch.py, whose arguments all apply here as well.
DEFAULTS = {
    "image_topic": ("/camera/camera/color/image_raw", "Image topic."),
    "camera_info_topic": ("/camera/camera/color/camera_info", "Calibration."),
    "depth_topic": ("/camera/camera/aligned_depth_to_color/image_raw", "Its own depth."),
    "use_depth": ("false", "Scale from its own depth."),
}


def generate_launch_description() -> LaunchDescription:
    # Depth is to be seen from the color camera.
    arguments = {"align_depth.enable": LaunchConfiguration("use_depth")}
    return mapping_launch(
        DEFAULTS, depth_parameters(), include_driver("realsense2_camera", "rs_launch.py", arguments)
    )
