# SPDX-License-Identifier: Apache-2.0
"""Map with several cameras on one robot: ``ros2 launch ttt3r_ros multi_camera.launch.py``.

The names of the cameras and whether they are one rig are in config/robots/multi_camera.yaml; give your own as
``cameras:="[front, left]" rig:=true``, or as ``params_file``. Camera front is expected on front/image and
front/camera_info.
"""

from launch import LaunchDescription

from ttt3r_ros.ros.launch_support.wrapping import mapping_launch

# Defaults that differ from those of mapping.launch.py, whose arguments all apply here as well.
DEFAULTS = {
    "tf_mode": ("odom_base", "This node is the odometry."),
    "params_file": ("multi_camera.yaml", "Names of the cameras."),
}


def generate_launch_description() -> LaunchDescription:
    return mapping_launch(DEFAULTS)
