# SPDX-License-Identifier: Apache-2.0
"""What the launch files share. They alone import this: nothing else needs the launch packages."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description import LaunchDescription  # launch alone could be the folder of that name
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launch.action import Action


def share_directory(package: str = "ttt3r_ros") -> Path:
    """Return the installed share folder of a package."""
    return Path(get_package_share_directory(package))


def mapping_launch(defaults: Mapping[str, tuple[str, str]], *beside: Action) -> LaunchDescription:
    """Return mapping.launch.py with other defaults (name -> default, description), and what runs beside the node.

    A default of ``params_file`` is a file in config/robots.
    """
    return LaunchDescription(
        [
            *(_argument(name, *default) for name, default in defaults.items()),
            *beside,
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(share_directory() / "launch" / "mapping.launch.py"))
            ),
        ]
    )


def robot_parameters(name: str) -> str:
    """Return the path of a parameter file in config/robots."""
    return str(share_directory() / "config" / "robots" / name)


def _argument(name: str, default: str, description: str) -> DeclareLaunchArgument:
    value = robot_parameters(default) if name == "params_file" else default
    return DeclareLaunchArgument(name, default_value=value, description=description)


def depth_parameters() -> DeclareLaunchArgument:
    """With ``use_depth``: the parameters of a camera that measures depth, unless others are typed."""
    return DeclareLaunchArgument(
        "params_file",
        default_value=robot_parameters("depth_camera.yaml"),
        description="With use_depth: scale from measured depth.",
        condition=IfCondition(LaunchConfiguration("use_depth")),
    )


def include_driver(
    package: str, file: str, arguments: Mapping[str, Any] | None = None, *before: Action
) -> GroupAction:
    """Include a launch file of another package with these arguments alone; ``before`` acts on its environment.

    In a scope of its own: its arguments and ours share names such as params_file and publish_tf.
    """
    source = PathJoinSubstitution([FindPackageShare(package), "launch", file])
    return GroupAction(
        [*before, IncludeLaunchDescription(PythonLaunchDescriptionSource(source))],
        forwarding=False,
        launch_configurations=dict(arguments or {}),
    )


def temporary_file(name: str, text: str) -> Path:
    """Write a file that a launched program reads; it stays, as its reader may start late."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="ttt3r_ros_", suffix=f"_{name}", delete=False, encoding="utf-8"
    ) as file:
        file.write(text)
    return Path(file.name)
