# SPDX-License-Identifier: Apache-2.0
"""Every launch file read by the genuine launch packages; empty stand-ins for drivers that are not installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from launch import LaunchContext
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from launch_file import ExecuteProcess, _walk, arguments, program

pytestmark = pytest.mark.ros
FILES = sorted((Path(__file__).resolve().parents[2] / "launch").glob("*.launch.py"))
DRIVERS = {
    "realsense2_camera": "rs_launch.py",
    "zed_wrapper": "zed_camera.launch.py",
    "depthai_ros_driver": "camera.launch.py",
    "turtlebot3_gazebo": "turtlebot3_house.launch.py",
    "turtlebot4_gz_bringup": "turtlebot4_gz.launch.py",
    "nav2_bringup": "navigation_launch.py",
    "rtabmap_launch": "rtabmap.launch.py",
    "usb_cam": "",
    "gscam": "",
    "nvblox_ros": "",
}
EMPTY = (
    "import launch\n\n\ndef generate_launch_description():\n    return launch.LaunchDescription([])\n"
)


@pytest.fixture
def drivers(tmp_path, monkeypatch):
    """Packages of the same names whose launch files start nothing."""
    import os

    for package, name in DRIVERS.items():
        marker = tmp_path / "share" / "ament_index" / "resource_index" / "packages" / package
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
        launch = tmp_path / "share" / package / "launch"
        launch.mkdir(parents=True)
        if name:
            (launch / name).write_text(EMPTY)
        for executable in ("usb_cam_node_exe", "gscam_node", "nvblox_node"):
            program_file = tmp_path / "lib" / package / executable
            program_file.parent.mkdir(parents=True, exist_ok=True)
            program_file.write_text("#!/bin/sh\n")
            program_file.chmod(0o755)
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path}:{os.environ.get('AMENT_PREFIX_PATH', '')}")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_starts_the_node_with_described_arguments_and_includes_that_resolve(path, drivers):
    description = get_launch_description_from_python_launch_file(str(path))
    assert all(argument.description.strip() for argument in description.get_launch_arguments())
    context = LaunchContext()
    actions = [
        action for action in _walk(description.entities, context) if isinstance(action, ExecuteProcess)
    ]
    (node,) = (action for action in actions if program(action) == "mapping_node")
    command = " ".join(arguments(node, context))
    overlays = {
        "nav2": "wheeled",
        "turtlebot3": "wheeled",
        "turtlebot4": "wheeled",
        "rtabmap": "rtabmap",
    }
    overlay = overlays.get(path.name.removesuffix(".launch.py"), "")
    assert f"{overlay}.yaml" in command, "the driver's own params_file must not become ours"
