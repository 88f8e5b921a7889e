# SPDX-License-Identifier: Apache-2.0
"""Map all images of a bag: ``ros2 launch ttt3r_ros replay.launch.py bag:=/path/to/bag``.

No image is dropped: the player waits for the network. After the last image map and trajectory are saved in
``output_directory`` and the launch ends. Set ``image_topic`` if it is not /camera/image_raw.
"""

from launch import LaunchDescription

from ttt3r_ros.ros.launch_support.wrapping import mapping_launch

# Arguments of this file; those of mapping.launch.py apply too.
DEFAULTS = {
    "queue_policy": ("keep_all", "Map every image."),
    "save_at_end": ("true", "Save map and trajectory at the end of the bag."),
}


def generate_launch_description() -> LaunchDescription:
    return mapping_launch(DEFAULTS)
