# SPDX-License-Identifier: Apache-2.0
"""Functions for the launch files. Nothing else may import this module, because it needs the launch packages."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description import (
    LaunchDescription,  # `launch` itself could be this repository's folder
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitution import Substitution
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launch.action import Action
    from launch.launch_context import LaunchContext


class NodeTopic(Substitution):
    """Full name of a topic of the mapping node, in the namespace of the launch."""

    def __init__(self, topic: str) -> None:
        super().__init__()
        self._topic = topic

    def perform(self, context: LaunchContext) -> str:
        """Return the name."""
        return f"{namespace_prefix(context)}/mapping_node/{self._topic}"


def namespace_prefix(context: LaunchContext) -> str:
    """Return the namespace of the launch with a leading slash; empty without one."""
    namespace = LaunchConfiguration("namespace", default="").perform(context).strip("/")
    return f"/{namespace}" if namespace else ""


def share_directory(package: str = "ttt3r_ros") -> Path:
    """Return the installed share folder of a package."""
    return Path(get_package_share_directory(package))


def mapping_launch(defaults: Mapping[str, tuple[str, str]], *actions: Action) -> LaunchDescription:
    """Return mapping.launch.py with other defaults (name -> default, description) and further actions.

    A default of ``params_file`` is a file in config/robots.
    """
    return LaunchDescription(
        [
            *(_argument(name, *default) for name, default in defaults.items()),
            *actions,
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
    """Return the argument params_file that with ``use_depth`` defaults to the parameters of a depth camera."""
    return DeclareLaunchArgument(
        "params_file",
        default_value=robot_parameters("depth_camera.yaml"),
        description="Parameter file (use_depth: scale from depth).",
        condition=IfCondition(LaunchConfiguration("use_depth")),
    )


def include_driver(
    package: str, file: str, arguments: Mapping[str, Any] | None = None, *before: Action
) -> GroupAction:
    """Include a launch file of another package with only these arguments, after the actions ``before``.

    In its own scope, because arguments such as params_file and publish_tf exist on both sides.
    """
    source = PathJoinSubstitution([FindPackageShare(package), "launch", file])
    return GroupAction(
        [*before, IncludeLaunchDescription(PythonLaunchDescriptionSource(source))],
        forwarding=False,
        launch_configurations=dict(arguments or {}),
    )


def temporary_file(name: str, text: str) -> Path:
    """Write a file for a launched program. It is not deleted, because the program may start later."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="ttt3r_ros_", suffix=f"_{name}", delete=False, encoding="utf-8"
    ) as file:
        file.write(text)
    return Path(file.name)
