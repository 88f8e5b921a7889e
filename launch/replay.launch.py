# SPDX-License-Identifier: Apache-2.0
"""Map a recorded bag from its first image to its last: ``ros2 launch ttt3r_ros replay.launch.py bag:=/path/to/bag``.

Nothing is dropped: the player waits when the network is slower. At the end map and trajectory are saved in
``output_directory`` and everything shuts down. Give ``image_topic`` if it is not /camera/image_raw.
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

# Defaults that differ from those of mapping.launch.py, whose arguments all apply here as well.
DEFAULTS = {
    "queue_policy": ("every", "Map every image."),
    "save_at_end": ("true", "Save map and trajectory."),
}


def generate_launch_description() -> LaunchDescription:
    share = Path(get_package_share_directory("ttt3r_ros"))
    mapping = PythonLaunchDescriptionSource(str(share / "launch" / "mapping.launch.py"))
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=text)
                for name, (default, text) in DEFAULTS.items()
            ),
            IncludeLaunchDescription(mapping),
        ]
    )
