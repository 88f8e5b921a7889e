# SPDX-License-Identifier: Apache-2.0
"""Close loops with RTAB-Map on depth and odometry of this node: ``ros2 launch ttt3r_ros rtabmap.launch.py``.

Needs ``ros-$ROS_DISTRO-rtabmap-launch``. Color and depth have one size, stamp and camera. RTAB-Map publishes
map -> odom; this node maps in odom (its map_frame is odom) and publishes odom -> base only.
"""

from launch import LaunchDescription
from launch.substitutions import LaunchConfiguration

from ttt3r_ros.ros.launch_support.wrapping import NodeTopic, include_driver, mapping_launch

# Arguments of this file; those of mapping.launch.py apply too.
DEFAULTS = {
    "image_topic": ("/camera/image_raw", "Image topic."),
    "base_frame": ("base_link", "Robot frame."),
    "tf_mode": ("odom_base", "Publish odom -> base too."),
    "map_frame": ("odom", "RTAB-Map publishes map -> odom."),
    "params_file": ("rtabmap.yaml", "Parameters: depth at the size of the image."),
}


def generate_launch_description() -> LaunchDescription:
    arguments = {
        "visual_odometry": "false",
        "odom_topic": NodeTopic("odom"),
        "rgb_topic": NodeTopic("color/image"),
        "depth_topic": NodeTopic("depth/image"),
        "camera_info_topic": NodeTopic("color/camera_info"),
        "frame_id": LaunchConfiguration("base_frame"),
    }
    return mapping_launch(DEFAULTS, include_driver("rtabmap_launch", "rtabmap.launch.py", arguments))
