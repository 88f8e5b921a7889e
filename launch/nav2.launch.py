# SPDX-License-Identifier: Apache-2.0
"""Map and navigate with one camera: ``ros2 launch ttt3r_ros nav2.launch.py``.

Needs ``ros-$ROS_DISTRO-nav2-bringup`` and a robot that publishes odom -> base and images. Nav2 uses the grid
and the point cloud of the node. A lifecycle manager of Nav2 starts the node.
"""

from pathlib import Path

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from ttt3r_ros.ros.launch_support.parameter_overlay import overlay
from ttt3r_ros.ros.launch_support.wrapping import (
    include_driver,
    mapping_launch,
    namespace_prefix,
    share_directory,
    temporary_file,
)

# Arguments of this file; those of mapping.launch.py apply too.
DEFAULTS = {
    "nav2_params_file": (
        "",
        "Parameters of the robot, overridden by config/nav2.yaml. Empty: the example of nav2_bringup.",
    ),
    "nav2_sim_time": ("false", "use_sim_time of Nav2."),
    "tf_mode": ("map_odom", "Use the odometry of the robot."),
    "grid_topic": ("map", "Topic of the occupancy grid."),
    "autostart": ("false", "The lifecycle manager starts the node."),
    "params_file": ("wheeled.yaml", "Parameters: scale from wheel odometry."),
}


def generate_launch_description() -> LaunchDescription:
    return mapping_launch(DEFAULTS, OpaqueFunction(function=navigation), lifecycle_manager())


def navigation(context: LaunchContext) -> list[Action]:
    own = LaunchConfiguration("nav2_params_file").perform(context)
    base = (
        Path(own).expanduser()
        if own
        else share_directory("nav2_bringup") / "params" / "nav2_params.yaml"
    )
    prefix = namespace_prefix(context)
    text = overlay(base, share_directory() / "config" / "nav2.yaml")
    text = text.replace(" /mapping_node/", f" {prefix}/mapping_node/")
    parameters = temporary_file("nav2.yaml", text)
    arguments = {
        "params_file": str(parameters),
        "use_sim_time": LaunchConfiguration("nav2_sim_time"),
        **({"namespace": prefix[1:]} if prefix else {}),
    }
    return [include_driver("nav2_bringup", "navigation_launch.py", arguments)]


def lifecycle_manager() -> Node:
    return Node(
        package="nav2_lifecycle_manager",
        executable="lifecycle_manager",
        name="lifecycle_manager_mapping",
        namespace=LaunchConfiguration("namespace", default=""),
        output="screen",
        parameters=[
            {
                "autostart": True,
                "bond_timeout": 0.0,  # rclpy nodes have no bond
                "node_names": ["mapping_node"],
                "use_sim_time": ParameterValue(LaunchConfiguration("nav2_sim_time"), value_type=bool),
            }
        ],
    )
