# SPDX-License-Identifier: Apache-2.0
"""Map with the color camera of an Intel RealSense: ``ros2 launch ttt3r_ros realsense.launch.py``.

Needs ``ros-$ROS_DISTRO-realsense2-camera``. Handheld: the node publishes map -> camera_link.
``use_depth:=true`` estimates the scale from the depth of the camera.
"""

from launch import LaunchDescription
from launch.substitutions import LaunchConfiguration

from ttt3r_ros.ros.launch_support.wrapping import depth_parameters, include_driver, mapping_launch

# Arguments of this file; those of mapping.launch.py apply too.
DEFAULTS = {
    "image_topic": ("/camera/camera/color/image_raw", "Image topic."),
    "camera_info_topic": ("/camera/camera/color/camera_info", "CameraInfo topic."),
    "depth_topic": ("/camera/camera/aligned_depth_to_color/image_raw", "Depth topic of the camera."),
    "use_depth": ("false", "Scale from the depth of the camera."),
}


def generate_launch_description() -> LaunchDescription:
    # The node expects depth registered to the color camera.
    arguments = {"align_depth.enable": LaunchConfiguration("use_depth")}
    return mapping_launch(
        DEFAULTS, depth_parameters(), include_driver("realsense2_camera", "rs_launch.py", arguments)
    )
