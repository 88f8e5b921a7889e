# SPDX-License-Identifier: Apache-2.0
"""Build a TSDF with nvblox on depth of this node: ``ros2 launch ttt3r_ros nvblox.launch.py``.

Needs ``isaac_ros_nvblox``. nvblox takes depth, camera info and the transforms; its global frame is odom.
"""

from launch import LaunchDescription
from launch_ros.actions import Node

from ttt3r_ros.ros.launch_support.wrapping import mapping_launch

# Defaults that differ from those of mapping.launch.py, whose arguments all apply here as well.
DEFAULTS = {
    "tf_mode": ("odom_base", "This node is the odometry."),
}


def generate_launch_description() -> LaunchDescription:
    nvblox = Node(
        package="nvblox_ros",
        executable="nvblox_node",
        output="screen",
        parameters=[{"global_frame": "odom", "use_color": False, "num_cameras": 1}],
        remappings=[
            ("camera_0/depth/image", "/mapping_node/depth/image"),
            ("camera_0/depth/camera_info", "/mapping_node/depth/camera_info"),
        ],
    )
    return mapping_launch(DEFAULTS, nvblox)
