# SPDX-License-Identifier: Apache-2.0
"""Map with one camera: ``ros2 launch ttt3r_ros mapping.launch.py image_topic:=/camera/image_raw``.

``ros2 launch ttt3r_ros mapping.launch.py -s`` lists every argument.
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, PythonExpression
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

import ttt3r_ros
from launch import LaunchContext, LaunchDescription
from ttt3r_ros.config import Setting, settings

# Settings that are worth a launch argument of their own; all others are set in the params_file.
FORWARDED = (
    "model_path",
    "device",
    "image_transport",
    "image_qos",
    "map_frame",
    "camera_frame",
    "publish_tf",
    "reset_interval",
    "output_directory",
)
FAST_DDS_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def generate_launch_description() -> LaunchDescription:
    share = Path(get_package_share_directory("ttt3r_ros"))
    profile = Path(ttt3r_ros.__file__).parent / "ros" / "fastdds_profile.xml"
    with_bag = PythonExpression(["'", LaunchConfiguration("bag"), "' != ''"])
    return LaunchDescription(
        [
            *arguments(share),
            *(forwarded_argument(entry) for entry in forwarded()),
            *(
                SetEnvironmentVariable(name, EnvironmentVariable(name, default_value=str(profile)))
                for name in FAST_DDS_VARIABLES
            ),
            OpaqueFunction(function=mapping_node),
            Node(
                package="rviz2",
                executable="rviz2",
                name="rviz2",
                arguments=["-d", str(share / "config" / "ttt3r.rviz")],
                parameters=[{"use_sim_time": ParameterValue(sim_time(), value_type=bool)}],
                condition=IfCondition(LaunchConfiguration("rviz")),
            ),
            ExecuteProcess(
                cmd=["ros2", "bag", "play", "--clock", "100", LaunchConfiguration("bag")],
                output="screen",
                condition=IfCondition(with_bag),
            ),
        ]
    )


def arguments(share: Path) -> list[DeclareLaunchArgument]:
    texts = {
        "image_topic": (
            "/camera/image_raw",
            "Image topic; /compressed is appended for compressed transport.",
        ),
        "camera_info_topic": ("/camera/camera_info", "Calibration, if there is one."),
        "namespace": ("", "Namespace of the node."),
        "params_file": (str(share / "config" / "ttt3r.yaml"), "YAML file with parameters."),
        "use_sim_time": ("false", "Follow /clock; on by itself when a bag is given."),
        "bag": ("", "Bag to play beside the node; empty plays none."),
        "rviz": ("false", "Open RViz with the package's configuration."),
        "log_level": ("info", "debug, info, warn, error or fatal."),
    }
    return [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in texts.items()
    ]


def forwarded() -> list[Setting]:
    return [entry for entry in settings() if entry.name in FORWARDED]


def forwarded_argument(entry: Setting) -> DeclareLaunchArgument:
    return DeclareLaunchArgument(
        entry.name, default_value="", description=f"{entry.help} Empty: as in params_file."
    )


def mapping_node(context: LaunchContext) -> list[Node]:
    # What stands later wins: the file, then only what was really typed on the command line.
    typed = {
        entry.name: ParameterValue(LaunchConfiguration(entry.name), value_type=entry.kind)
        for entry in forwarded()
        if LaunchConfiguration(entry.name).perform(context)
    }
    image_topic = LaunchConfiguration("image_topic")
    return [
        Node(
            package="ttt3r_ros",
            executable="mapping_node",
            name="mapping_node",
            namespace=LaunchConfiguration("namespace"),
            output="screen",
            parameters=[
                LaunchConfiguration("params_file"),
                typed,
                {"use_sim_time": ParameterValue(sim_time(), value_type=bool)},
            ],
            remappings=[
                ("image", image_topic),
                ("image/compressed", [image_topic, "/compressed"]),
                ("camera_info", LaunchConfiguration("camera_info_topic")),
            ],
            arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        )
    ]


def sim_time() -> PythonExpression:
    bag, asked = LaunchConfiguration("bag"), LaunchConfiguration("use_sim_time")
    return PythonExpression(["'true' if '", bag, "' != '' else '", asked, "'"])
