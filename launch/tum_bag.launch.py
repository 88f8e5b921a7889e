# SPDX-License-Identifier: Apache-2.0
"""Map a bag of the TUM RGB-D dataset: ``ros2 launch ttt3r_ros tum_bag.launch.py bag:=/path/to/bag``.

A ROS 1 bag is converted first: ``pip install rosbags; rosbags-convert --src fr1_desk.bag --dst fr1_desk``.
Map and trajectory are in ``output_directory`` when it has ended.
"""

from launch import LaunchDescription

from ttt3r_ros.ros.launch_support.wrapping import mapping_launch

# Defaults that differ from those of mapping.launch.py, whose arguments all apply here as well.
DEFAULTS = {
    "image_topic": ("/camera/rgb/image_color", "Image topic."),
    "camera_info_topic": ("/camera/rgb/camera_info", "Calibration."),
    "queue_policy": ("keep_all", "Map every image."),
    "save_at_end": ("true", "Save map and trajectory."),
    # The bag's own /tf holds the true path, world -> kinect: the root of the camera's tree would be the world.
    "bag_images_only": ("true", "Play nothing else."),
}


def generate_launch_description() -> LaunchDescription:
    return mapping_launch(DEFAULTS)
