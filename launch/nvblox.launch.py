# SPDX-License-Identifier: Apache-2.0
"""Build a TSDF with nvblox on depth of this node: ``ros2 launch ttt3r_ros nvblox.launch.py``.

Needs ``isaac_ros_nvblox``. nvblox subscribes to depth, color, camera info and transforms; its global frame is odom.
"""

from launch import LaunchDescription
from launch_ros.actions import Node

from ttt3r_ros.ros.launch_support.wrapping import NodeTopic, mapping_launch

# Arguments of this file; those of mapping.launch.py apply too.
DEFAULTS = {
    "tf_mode": ("odom_base", "Publish odom -> base too."),
}


def generate_launch_description() -> LaunchDescription:
    nvblox = Node(
        package="nvblox_ros",
        executable="nvblox_node",
        output="screen",
        parameters=[{"global_frame": "odom", "use_color": True, "num_cameras": 1}],
        remappings=[
            ("camera_0/depth/image", NodeTopic("depth/image")),
            ("camera_0/depth/camera_info", NodeTopic("depth/camera_info")),
            ("camera_0/color/image", NodeTopic("color/image")),
            ("camera_0/color/camera_info", NodeTopic("color/camera_info")),
        ],
    )
    return mapping_launch(DEFAULTS, nvblox)
