# SPDX-License-Identifier: Apache-2.0
"""Map a bag of the TUM RGB-D dataset: ``ros2 launch ttt3r_ros tum_bag.launch.py bag:=/path/to/bag``.

A ROS 1 bag is converted first: ``pip install rosbags; rosbags-convert --src fr1_desk.bag --dst fr1_desk``.
Map and trajectory are saved in ``output_directory`` at the end.
"""

from launch import LaunchDescription

from ttt3r_ros.ros.launch_support.wrapping import mapping_launch

# Arguments of this file; those of mapping.launch.py apply too.
DEFAULTS = {
    "image_topic": ("/camera/rgb/image_color", "Image topic."),
    "camera_info_topic": ("/camera/rgb/camera_info", "CameraInfo topic."),
    "queue_policy": ("keep_all", "Map every image."),
    "save_at_end": ("true", "Save map and trajectory at the end of the bag."),
    # /tf of the bag contains ground truth, world -> kinect, so world would be the root of the camera's tree.
    "bag_images_only": ("true", "Play images and calibration only."),
}


def generate_launch_description() -> LaunchDescription:
    return mapping_launch(DEFAULTS)
