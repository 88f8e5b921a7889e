# SPDX-License-Identifier: Apache-2.0
"""Map with one camera: ``ros2 launch ttt3r_ros mapping.launch.py image_topic:=/camera/image_raw``.

``ros2 launch ttt3r_ros mapping.launch.py -s`` lists every argument.
"""

from __future__ import annotations

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import Action, LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessExit
from launch.substitutions import LaunchConfiguration, TextSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

import ttt3r_ros
from ttt3r_ros.config import Setting, settings

# Settings that are worth a launch argument of their own; all others are set in the params_file.
FORWARDED = (
    "model_path",
    "device",
    "autostart",
    "image_transport",
    "image_qos",
    "queue_policy",
    "tf_mode",
    "publish_tf",
    "map_frame",
    "odom_frame",
    "base_frame",
    "camera_frame",
    "camera_frame_convention",
    "reset_interval",
    "output_directory",
)
RVIZ_TOPICS = ("map_cloud", "map", "points", "path", "odom", "depth/image")
FAST_DDS_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def generate_launch_description() -> LaunchDescription:
    share = Path(get_package_share_directory("ttt3r_ros"))
    return LaunchDescription(
        [
            *arguments(share),
            *(forwarded_argument(entry) for entry in forwarded()),
            *fast_dds_profile(),
            OpaqueFunction(function=mapping),
            OpaqueFunction(function=rviz, args=[share]),
        ]
    )


def fast_dds_profile() -> list[Action]:
    # The node would do this for itself; the bag player, which sends the images, would not.
    if any(os.environ.get(name) for name in FAST_DDS_VARIABLES):
        return []
    profile = Path(ttt3r_ros.__file__).parent / "ros" / "fastdds_profile.xml"
    return [SetEnvironmentVariable(name, str(profile)) for name in FAST_DDS_VARIABLES]


def arguments(share: Path) -> list[DeclareLaunchArgument]:
    texts = {
        "image_topic": (
            "/camera/image_raw",
            "Image topic; /compressed is appended for compressed transport.",
        ),
        "camera_info_topic": ("/camera/camera_info", "Calibration, if there is one."),
        "namespace": ("", "Namespace of the node."),
        "params_file": (str(share / "config" / "ttt3r.yaml"), "YAML file with parameters."),
        "use_sim_time": ("", "Follow /clock; on by itself with a bag. Left out: as in params_file."),
        "bag": ("", "Bag to play as soon as the node is ready; empty plays none."),
        "save_at_end": (
            "false",
            "With a bag: save map and trajectory when it has ended, then shut down.",
        ),
        "grid_topic": ("", "Where the occupancy grid goes; empty: ~/map. Nav2 expects /map."),
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
        entry.name,
        default_value="",
        description=f"{entry.help} Left out: as in params_file.",
        choices=["", *entry.choices, *(word.upper() for word in entry.choices)]
        if entry.choices
        else None,
    )


def mapping(context: LaunchContext) -> list[Action]:
    node = mapping_node(context)
    player = OpaqueFunction(function=bag_player, args=[node])
    return [node, player] if argument(context, "bag") else [node]


def mapping_node(context: LaunchContext) -> Node:
    image_topic = LaunchConfiguration("image_topic")
    # Nothing would ever start the bag of a node that has died; a live robot keeps its other nodes.
    on_exit = [Shutdown(reason="mapping_node has ended")] if argument(context, "bag") else None
    return Node(
        package="ttt3r_ros",
        executable="mapping_node",
        name="mapping_node",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        parameters=[str(params_file(context)), typed(context)],
        remappings=[
            ("image", image_topic),
            ("image/compressed", [image_topic, "/compressed"]),
            ("camera_info", LaunchConfiguration("camera_info_topic")),
            *grid_remapping(context),
        ],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        on_exit=on_exit,
    )


def params_file(context: LaunchContext) -> Path:
    path = Path(argument(context, "params_file")).expanduser()
    if not path.is_file():  # launch itself would only warn and map with the defaults
        msg = f"params_file is {path}; expected a YAML file"
        raise FileNotFoundError(msg)
    return path


def typed(context: LaunchContext) -> dict[str, ParameterValue]:
    """Return the parameters that were really typed on the command line; they stand after the file and win."""
    kinds: dict[str, type] = {entry.name: entry.kind for entry in forwarded()}
    values = {name: argument(context, name) for name in kinds} | {"use_sim_time": sim_time(context)}
    return {name: parameter(value, kinds.get(name, bool)) for name, value in values.items() if value}


def parameter(text: str, kind: type) -> ParameterValue:
    # A plain str would be compared with the type, a substitution is converted to it.
    return ParameterValue(TextSubstitution(text=text), value_type=kind)


def grid_remapping(context: LaunchContext) -> list[tuple[str, str]]:
    topic = argument(context, "grid_topic")
    return [("~/map", topic)] if topic else []


def bag_player(context: LaunchContext, node: Node) -> list[Action]:
    # The node answers once its weights are loaded and it takes images; before, the first seconds would be lost.
    wait = service_call(node, "reset")
    play = ["ros2", "bag", "play", "--clock", "100", LaunchConfiguration("bag")]
    player = ExecuteProcess(cmd=play, output="screen")
    steps = [wait, player]
    if argument(context, "save_at_end").lower() == "true":
        steps += [service_call(node, "save_map"), service_call(node, "save_trajectory")]
        steps += [Shutdown(reason="the bag has ended and its results are saved")]
    return one_after_the_other(steps)


def service_call(node: Node, service: str) -> ExecuteProcess:
    name = f"{node.node_name}/{service}"
    return ExecuteProcess(cmd=["ros2", "service", "call", name, "std_srvs/srv/Trigger"], output="screen")


def one_after_the_other(steps: list[Action]) -> list[Action]:
    handlers = [
        RegisterEventHandler(OnProcessExit(target_action=before, on_exit=[after]))
        for before, after in zip(steps, steps[1:])  # noqa: B905, RUF007 - Humble has Python 3.10
    ]
    return [*handlers, steps[0]]


def rviz(context: LaunchContext, share: Path) -> list[Action]:
    return [
        Node(
            package="rviz2",
            executable="rviz2",
            name="rviz2",
            arguments=["-d", str(share / "config" / "ttt3r.rviz"), *fixed_frame(context)],
            remappings=in_namespace(context),
            parameters=[{"use_sim_time": parameter(sim_time(context) or "false", bool)}],
            condition=IfCondition(LaunchConfiguration("rviz")),
        )
    ]


def fixed_frame(context: LaunchContext) -> list[str]:
    frame = argument(context, "map_frame")
    return ["-f", frame] if frame else []


def in_namespace(context: LaunchContext) -> list[tuple[str, str]]:
    """Lead the topics of the RViz configuration to the node's."""
    namespace = argument(context, "namespace").strip("/")
    topics = [f"/mapping_node/{name}" for name in RVIZ_TOPICS]
    return [(topic, f"/{namespace}{topic}") for topic in topics] if namespace else []


def sim_time(context: LaunchContext) -> str:
    return "true" if argument(context, "bag") else argument(context, "use_sim_time")


def argument(context: LaunchContext, name: str) -> str:
    return str(LaunchConfiguration(name).perform(context))
