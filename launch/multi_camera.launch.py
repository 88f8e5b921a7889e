# SPDX-License-Identifier: Apache-2.0
"""Map with several cameras on one robot: ``ros2 launch ttt3r_ros multi_camera.launch.py``.

The names of the cameras and the parameter rig are in config/robots/multi_camera.yaml. Override them with
``cameras:="[front, left]" rig:=true`` or with ``params_file``. Camera front has the topics front/image and
front/camera_info.
"""

from launch import LaunchDescription

from ttt3r_ros.ros.launch_support.wrapping import mapping_launch

# Arguments of this file; those of mapping.launch.py apply too.
DEFAULTS = {
    "tf_mode": ("odom_base", "Publish odom -> base too."),
    "params_file": ("multi_camera.yaml", "Parameters: names of the cameras, rig."),
}


def generate_launch_description() -> LaunchDescription:
    return mapping_launch(DEFAULTS)
