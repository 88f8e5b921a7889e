# SPDX-License-Identifier: Apache-2.0
"""Map with the color camera of a Luxonis OAK-D: ``ros2 launch ttt3r_ros oakd.launch.py``.

Needs ``ros-$ROS_DISTRO-depthai-ros-driver``. ``use_depth:=true`` estimates the scale from the depth of the
camera, which the driver registers to the color camera by default.
"""

from launch import LaunchDescription

from ttt3r_ros.ros.launch_support.wrapping import depth_parameters, include_driver, mapping_launch

# Arguments of this file; those of mapping.launch.py apply too.
DEFAULTS = {
    "image_topic": ("/oak/rgb/image_raw", "Image topic."),
    "camera_info_topic": ("/oak/rgb/camera_info", "CameraInfo topic."),
    "depth_topic": ("/oak/stereo/image_raw", "Depth topic of the camera."),
    "use_depth": ("false", "Scale from the depth of the camera."),
}


def generate_launch_description() -> LaunchDescription:
    camera = include_driver("depthai_ros_driver", "camera.launch.py")
    return mapping_launch(DEFAULTS, depth_parameters(), camera)
