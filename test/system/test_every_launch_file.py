# SPDX-License-Identifier: Apache-2.0
"""Every launch file read by the genuine launch packages; stand-ins for drivers that are not installed.

The launch file of a stand-in starts a program called as the package, with the arguments that have reached it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from launch_file import FOLDER, Evaluated, description, evaluate, node_with

from ttt3r_ros.ros import parameters

if TYPE_CHECKING:
    from ttt3r_ros.config import Config

pytestmark = pytest.mark.ros
FILES = sorted(path.name.removesuffix(".launch.py") for path in FOLDER.glob("*.launch.py"))
DRIVERS = {
    "realsense2_camera": "rs_launch.py",
    "zed_wrapper": "zed_camera.launch.py",
    "depthai_ros_driver": "camera.launch.py",
    "turtlebot3_gazebo": "turtlebot3_house.launch.py",
    "turtlebot4_gz_bringup": "turtlebot4_gz.launch.py",
    "nav2_bringup": "navigation_launch.py",
    "rtabmap_launch": "rtabmap.launch.py",
}
PROGRAMS = {
    "usb_cam": "usb_cam_node_exe",
    "gscam": "gscam_node",
    "nvblox_ros": "nvblox_node",
    "nav2_lifecycle_manager": "lifecycle_manager",
}
DRIVER = """
import os

from launch import LaunchDescription
from launch.actions import ExecuteProcess, OpaqueFunction


def start(context):
    seen = dict(context.launch_configurations)
    if "{package}" == "turtlebot3_gazebo":
        seen["TURTLEBOT3_MODEL"] = os.environ["TURTLEBOT3_MODEL"]
    words = [f"{{name}}:={{value}}" for name, value in sorted(seen.items())]
    return [ExecuteProcess(cmd=["{package}", *words])]


def generate_launch_description():
    return LaunchDescription([OpaqueFunction(function=start)])
"""
NAV2_EXAMPLE = {
    "controller_server": {"ros__parameters": {"controller_plugins": ["FollowPath"]}},
    "local_costmap": {
        "local_costmap": {
            "ros__parameters": {
                "plugins": ["voxel_layer", "inflation_layer"],
                "robot_radius": 0.22,
                "inflation_layer": {"inflation_radius": 0.55},
            }
        }
    },
}


@pytest.fixture
def drivers(tmp_path, monkeypatch):
    for package in (*DRIVERS, *PROGRAMS):
        marker = tmp_path / "share" / "ament_index" / "resource_index" / "packages" / package
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
    for package, name in DRIVERS.items():
        launch = tmp_path / "share" / package / "launch"
        launch.mkdir(parents=True)
        (launch / name).write_text(DRIVER.format(package=package))
    for package, executable in PROGRAMS.items():
        program_file = tmp_path / "lib" / package / executable
        program_file.parent.mkdir(parents=True, exist_ok=True)
        program_file.write_text("#!/bin/sh\n")
        program_file.chmod(0o755)
    params = tmp_path / "share" / "nav2_bringup" / "params"
    params.mkdir()
    (params / "nav2_params.yaml").write_text(yaml.safe_dump(NAV2_EXAMPLE))
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path}:{os.environ.get('AMENT_PREFIX_PATH', '')}")


def config_of(launched: Evaluated, domain_id: int) -> Config:
    with node_with(launched.arguments("mapping_node"), domain_id) as node:
        return parameters.declare(node)


def driver_arguments(launched: Evaluated, package: str) -> dict[str, str]:
    """Return the arguments that have reached the launch file of a driver."""
    return dict(word.split(":=", 1) for word in launched.arguments(package))


@pytest.mark.parametrize("file", FILES)
def test_it_starts_the_node_with_described_arguments_and_includes_that_resolve(file, drivers):
    arguments = description(file).get_launch_arguments()
    assert all(argument.description.strip() for argument in arguments)
    launched = evaluate(file)
    overlays = {
        "nav2": "wheeled",
        "turtlebot3": "wheeled",
        "turtlebot4": "wheeled",
        "rtabmap": "rtabmap",
        "multi_camera": "multi_camera",
    }
    command = " ".join(launched.arguments("mapping_node"))
    assert f"{overlays.get(file, 'ttt3r')}.yaml" in command, (
        "the driver's own params_file must not become ours"
    )


def test_a_driver_sees_its_own_arguments_alone(drivers):
    launched = evaluate("zed", map_frame="site", camera_model="zedx")
    assert driver_arguments(launched, "zed_wrapper") == {
        "camera_model": "zedx",
        "publish_map_tf": "false",
        "publish_tf": "false",
    }


# --- cameras that measure depth ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "topic"),
    [
        ("realsense", "/camera/camera/aligned_depth_to_color/image_raw"),
        ("oakd", "/oak/stereo/image_raw"),
    ],
)
def test_the_scale_may_come_from_the_cameras_own_depth(file, topic, drivers, domain_id):
    launched = evaluate(file, use_depth="true")
    assert config_of(launched, domain_id).scale.source == "depth"
    with node_with(launched.arguments("mapping_node"), domain_id) as node:
        assert node.resolve_topic_name("depth_registered/image_rect") == topic
    assert config_of(evaluate(file), domain_id).scale.source == "network"


def test_the_realsense_aligns_its_depth_only_where_it_is_used(drivers):
    found = [
        driver_arguments(evaluate("realsense", use_depth=word), "realsense2_camera")
        for word in ("true", "false")
    ]
    assert found == [{"align_depth.enable": "true"}, {"align_depth.enable": "false"}]


def test_a_typed_params_file_wins_over_that_of_the_depth(drivers, domain_id, tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": {"map_frame": "site"}}}))
    config = config_of(evaluate("realsense", use_depth="true", params_file=str(file)), domain_id)
    assert (config.map_frame, config.scale.source) == ("site", "network")


# --- robots -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "frame"),
    [
        ("turtlebot3", "camera_rgb_optical_frame"),
        ("turtlebot4", "oakd_rgb_camera_optical_frame"),
    ],
)
def test_a_simulated_camera_is_known_by_its_optical_frame(file, frame, drivers, domain_id):
    config = config_of(evaluate(file), domain_id)
    assert (config.camera_frame, config.camera_frame_convention) == (frame, "optical")
    assert config.scale.source == "odometry"


@pytest.mark.parametrize(("set_before", "seen"), [(None, "waffle"), ("waffle_pi", "waffle_pi")])
def test_the_turtlebot3_is_a_waffle_unless_it_is_set(set_before, seen, drivers):
    os.environ.pop("TURTLEBOT3_MODEL", None)
    if set_before:
        os.environ["TURTLEBOT3_MODEL"] = set_before
    assert driver_arguments(evaluate("turtlebot3"), "turtlebot3_gazebo") == {"TURTLEBOT3_MODEL": seen}


# --- Nav2 -------------------------------------------------------------------------------------------


def nav2_parameters(launched: Evaluated) -> dict[str, dict]:
    return yaml.safe_load(Path(driver_arguments(launched, "nav2_bringup")["params_file"]).read_text())


def test_nav2_has_its_own_parameters_and_ours_over_them(drivers):
    given = nav2_parameters(evaluate("nav2"))
    assert given["controller_server"] == NAV2_EXAMPLE["controller_server"]
    costmap = given["local_costmap"]["local_costmap"]["ros__parameters"]
    assert costmap["plugins"] == ["obstacle_layer", "inflation_layer"]
    assert costmap["obstacle_layer"]["camera"]["topic"] == "/mapping_node/points"
    assert (costmap["robot_radius"], costmap["inflation_layer"]["inflation_radius"]) == (0.22, 0.55)


def test_nav2_can_read_them(drivers, domain_id):
    file = driver_arguments(evaluate("nav2"), "nav2_bringup")["params_file"]
    words = ["--ros-args", "--params-file", file, "-r", "__node:=local_costmap"]
    with node_with([*words, "-r", "__ns:=/local_costmap"], domain_id) as node:
        node.declare_parameter("plugins", [""])
        node.declare_parameter("obstacle_layer.camera.clearing", False)
        assert node.get_parameter("plugins").value == ["obstacle_layer", "inflation_layer"]
        assert node.get_parameter("obstacle_layer.camera.clearing").value is True


def test_parameters_of_ones_own_robot_take_the_place_of_the_example(drivers, tmp_path):
    file = tmp_path / "robot.yaml"
    file.write_text(yaml.safe_dump({"planner_server": {"ros__parameters": {"rate": 1.0}}}))
    given = nav2_parameters(evaluate("nav2", nav2_params_file=str(file)))
    assert "controller_server" not in given
    assert given["planner_server"] == {"ros__parameters": {"rate": 1.0}}
    assert "global_costmap" in given


def test_a_lifecycle_manager_of_nav2_starts_the_node(drivers, domain_id):
    launched = evaluate("nav2", namespace="robot1", nav2_sim_time="true")
    assert config_of(launched, domain_id).autostart is False
    with node_with(launched.arguments("lifecycle_manager"), domain_id) as node:
        assert node.get_fully_qualified_name() == "/robot1/lifecycle_manager_mapping"
        for name, default in (("autostart", False), ("bond_timeout", 4.0), ("node_names", [""])):
            node.declare_parameter(name, default)
        assert node.get_parameter("autostart").value is True
        assert node.get_parameter("bond_timeout").value == 0.0
        assert node.get_parameter("node_names").value == ["mapping_node"]
        assert node.get_parameter("use_sim_time").value is True


def test_partners_use_the_topics_of_the_namespace(drivers):
    given = driver_arguments(evaluate("rtabmap", namespace="robot1"), "rtabmap_launch")
    assert given["depth_topic"] == "/robot1/mapping_node/depth/image"
    assert given["rgb_topic"] == "/robot1/mapping_node/color/image"
    words = " ".join(evaluate("nvblox", namespace="/robot1").arguments("nvblox_node"))
    assert "camera_0/color/image:=/robot1/mapping_node/color/image" in words
    launched = evaluate("nav2", namespace="robot1")
    assert driver_arguments(launched, "nav2_bringup")["namespace"] == "robot1"
    costmap = nav2_parameters(launched)["local_costmap"]["local_costmap"]["ros__parameters"]
    assert costmap["obstacle_layer"]["camera"]["topic"] == "/robot1/mapping_node/points"


# --- off board --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("set_before", "typed", "seen"),
    [
        (None, "", None),
        ("10.0.0.1:11811", "", "10.0.0.1:11811"),
        (None, "10.0.0.2:11811", "10.0.0.2:11811"),
        ("10.0.0.1:11811", "10.0.0.2:11811", "10.0.0.2:11811"),
    ],
)
def test_a_discovery_server_is_set_only_where_one_is_typed(set_before, typed, seen):
    os.environ.pop("ROS_DISCOVERY_SERVER", None)
    if set_before:
        os.environ["ROS_DISCOVERY_SERVER"] = set_before
    evaluate("offboard", **({"discovery_server": typed} if typed else {}))
    assert os.environ.get("ROS_DISCOVERY_SERVER") == seen
