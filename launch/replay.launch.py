# SPDX-License-Identifier: Apache-2.0
"""Map a recorded bag from its first image to its last: ``ros2 launch ttt3r_ros replay.launch.py bag:=/path/to/bag``.

Nothing is dropped: what the network cannot keep up with waits. When the last image is mapped, map and trajectory are
saved in ``output_directory`` and everything shuts down. Give ``image_topic`` if it is not /camera/image_raw.
"""

from launch import LaunchDescription

from ttt3r_ros.ros.launch_support.wrapping import mapping_launch

# Defaults that differ from those of mapping.launch.py, whose arguments all apply here as well.
DEFAULTS = {
    "queue_policy": ("keep_all", "Map every image."),
    "save_at_end": ("true", "Save map and trajectory."),
}


def generate_launch_description() -> LaunchDescription:
    return mapping_launch(DEFAULTS)
