# SPDX-License-Identifier: Apache-2.0
"""Map a bag of the EuRoC dataset: ``ros2 launch ttt3r_ros euroc_bag.launch.py bag:=/path/to/bag``.

A ROS 1 bag is converted first: ``pip install rosbags; rosbags-convert --src V1_01_easy.bag --dst V1_01_easy``.
Map and trajectory are saved in ``output_directory`` at the end.
"""

from launch import LaunchDescription

from ttt3r_ros.ros.launch_support.wrapping import mapping_launch

# Arguments of this file; those of mapping.launch.py apply too.
DEFAULTS = {
    "image_topic": ("/cam0/image_raw", "Image topic."),
    "camera_info_topic": ("/cam0/camera_info", "CameraInfo topic."),
    "queue_policy": ("keep_all", "Map every image."),
    "save_at_end": ("true", "Save map and trajectory at the end of the bag."),
    "bag_images_only": ("true", "Play images and calibration only."),
    "camera_frame": ("cam0_optical_frame", "Camera frame, because the frame in the bag is not on /tf."),
}


def generate_launch_description() -> LaunchDescription:
    return mapping_launch(DEFAULTS)
