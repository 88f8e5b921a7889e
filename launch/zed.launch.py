# SPDX-License-Identifier: Apache-2.0
"""Map with the left camera of a Stereolabs ZED: ``ros2 launch ttt3r_ros zed.launch.py``.

Needs ``zed_wrapper``, with its odometry and map transforms disabled.
"""

from launch import LaunchDescription
from launch.substitutions import LaunchConfiguration

from ttt3r_ros.ros.launch_support.wrapping import include_driver, mapping_launch

# Arguments of this file; those of mapping.launch.py apply too.
DEFAULTS = {
    "image_topic": ("/zed/zed_node/rgb/color/rect/image", "Image topic."),
    "camera_info_topic": ("/zed/zed_node/rgb/color/rect/camera_info", "CameraInfo topic."),
    "camera_model": ("zed2i", "Model of the camera."),
}


def generate_launch_description() -> LaunchDescription:
    arguments = {
        "camera_model": LaunchConfiguration("camera_model"),
        "publish_tf": "false",
        "publish_map_tf": "false",
    }
    return mapping_launch(DEFAULTS, include_driver("zed_wrapper", "zed_camera.launch.py", arguments))
