# SPDX-License-Identifier: Apache-2.0
"""Map with one camera: ``ros2 launch ttt3r_ros mapping.launch.py image_topic:=/camera/image_raw``.

``ros2 launch ttt3r_ros mapping.launch.py -s`` lists every argument.
"""

from __future__ import annotations

from pathlib import Path
from typing import List  # noqa: UP035 - launch_ros of Humble does not accept list[str]

import yaml
from launch import Action, LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    OpaqueFunction,
    SetEnvironmentVariable,
)
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, TextSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from ttt3r_ros.config import Setting, settings
from ttt3r_ros.ros.launch_support.bag_playback import BagPlayback
from ttt3r_ros.ros.launch_support.wrapping import namespace_prefix, share_directory
from ttt3r_ros.ros.middleware import missing_profile_variables

# Settings with a launch argument; all others are set in params_file.
FORWARDED = (
    "model_path",
    "device",
    "autostart",
    "cameras",
    "rig",
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
    "pose_source",
    "output_directory",
    "depth.resolution",
    "scale.source",
)
RVIZ_TOPICS = ("map_cloud", "map", "points", "path", "odom", "depth/image", "color/image")


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            *arguments(),
            *(setting_argument(entry) for entry in forwarded_settings()),
            *fast_dds_profile(),
            OpaqueFunction(function=mapping),
            OpaqueFunction(function=rviz),
        ]
    )


def fast_dds_profile() -> list[Action]:
    # The node sets the profile itself; the bag player, which sends the images, does not.
    return [SetEnvironmentVariable(name, path) for name, path in missing_profile_variables().items()]


def arguments() -> list[DeclareLaunchArgument]:
    texts = {
        "image_topic": (
            "/camera/image_raw",
            "Image topic. Compressed transport appends /compressed.",
        ),
        "camera_info_topic": ("/camera/camera_info", "CameraInfo topic (optional)."),
        "depth_topic": ("depth_registered/image_rect", "Depth topic, with scale.source:=depth."),
        "namespace": ("", "Namespace of the node."),
        "tf_in_namespace": ("false", "Use tf and tf_static of the namespace, not /tf and /tf_static."),
        "params_file": (str(share_directory() / "config" / "ttt3r.yaml"), "YAML file of parameters."),
        "use_sim_time": ("", "Use the time of /clock. Always on with a bag. Empty: as in params_file."),
        "bag": ("", "Bag to play when the node is ready. Empty: none."),
        "save_at_end": (
            "false",
            "With a bag: save map and trajectory at its end, then shut down.",
        ),
        "bag_images_only": (
            "false",
            "With a bag: play images and calibration only, for example without its /tf.",
        ),
        "grid_topic": ("", "Topic of the occupancy grid. Empty: ~/map. Nav2 expects /map."),
        "rviz": ("false", "Open RViz with the configuration of the package."),
        "log_level": ("info", "Log level: debug, info, warn, error or fatal."),
    }
    return [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in texts.items()
    ]


def forwarded_settings() -> list[Setting]:
    return [entry for entry in settings() if entry.name in FORWARDED]


def setting_argument(entry: Setting) -> DeclareLaunchArgument:
    return DeclareLaunchArgument(
        entry.name,
        default_value="",
        description=f"{entry.description} Empty: as in params_file.",
        choices=["", *entry.choices, *(word.upper() for word in entry.choices)]
        if entry.choices
        else None,
    )


def mapping(context: LaunchContext) -> list[Action]:
    node = mapping_node(context)
    if not argument(context, "bag"):
        return [node]
    playback = bag_playback(context)
    # The name of the node is known when it has started.
    player = OpaqueFunction(function=lambda _: playback.actions(node, node.node_name))
    return [*playback.check(), node, player]


def mapping_node(context: LaunchContext) -> Node:
    image_topic = LaunchConfiguration("image_topic")
    return Node(
        package="ttt3r_ros",
        executable="mapping_node",
        name="mapping_node",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        parameters=[str(params_file(context)), command_line_parameters(context)],
        remappings=[
            ("image", image_topic),
            ("image/compressed", [image_topic, "/compressed"]),
            ("camera_info", LaunchConfiguration("camera_info_topic")),
            ("depth_registered/image_rect", LaunchConfiguration("depth_topic")),
            *grid_remapping(context),
            *tf_remappings(context),
        ],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
    )


def params_file(context: LaunchContext) -> Path:
    path = Path(argument(context, "params_file")).expanduser()
    if not path.is_file():  # launch would only warn and start the node with the defaults
        msg = f"params_file is {path}; expected a YAML file"
        raise FileNotFoundError(msg)
    return path


def command_line_parameters(context: LaunchContext) -> dict[str, ParameterValue]:
    """Return the parameters given as launch arguments. They follow the parameter file and override it."""
    kinds: dict[str, type] = {entry.name: entry.kind for entry in forwarded_settings()}
    values = {name: argument(context, name) for name in kinds} | {"use_sim_time": sim_time(context)}
    return {name: parameter(value, kinds.get(name, bool)) for name, value in values.items() if value}


def parameter(text: str, kind: type) -> ParameterValue:
    # launch converts a substitution to value_type, but rejects a str of another type.
    value_type = List[str] if kind is tuple else kind  # noqa: UP006
    return ParameterValue(TextSubstitution(text=text), value_type=value_type)


def grid_remapping(context: LaunchContext) -> list[tuple[str, str]]:
    topic = argument(context, "grid_topic")
    return [("~/map", topic)] if topic else []


def bag_playback(context: LaunchContext) -> BagPlayback:
    names = cameras(context)
    image, info = argument(context, "image_topic"), argument(context, "camera_info_topic")
    return BagPlayback(
        bag=Path(argument(context, "bag")).expanduser(),
        image_topics=full_names(context, [f"{name}/image" for name in names] or [image]),
        info_topics=full_names(context, [f"{name}/camera_info" for name in names] or [info]),
        transport=str(setting_value(context, "image_transport")).lower(),
        images_only=is_true(context, "bag_images_only"),
        save_at_end=is_true(context, "save_at_end"),
        output_directory=str(setting_value(context, "output_directory")),
    )


def full_names(context: LaunchContext, topics: list[str]) -> list[str]:
    prefix = f"{namespace_prefix(context)}/"
    return [name if name.startswith("/") else prefix + name for name in topics]


def cameras(context: LaunchContext) -> list[str]:
    """Return the names of several cameras, from the launch argument or the parameter file."""
    names = setting_value(context, "cameras")
    listed = names if isinstance(names, (list, tuple)) else [names]
    return [str(name) for name in listed if name]


def setting_value(context: LaunchContext, name: str) -> object:
    """Return the value of a forwarded setting: the launch argument, the parameter file or the default."""
    (entry,) = (entry for entry in forwarded_settings() if entry.name == name)
    if argument(context, name):
        text = argument(context, name)
        return yaml.safe_load(text) if entry.kind is tuple else text
    sections = yaml.safe_load(params_file(context).read_text(encoding="utf-8")) or {}
    values = [(section or {}).get("ros__parameters", {}).get(name) for section in sections.values()]
    return next((value for value in values if value), entry.default)


def tf_remappings(context: LaunchContext) -> list[tuple[str, str]]:
    """Remap the absolute topics of tf2 to the namespace, as Nav2 does."""
    prefix = namespace_prefix(context)
    topics = ("/tf", "/tf_static") if is_true(context, "tf_in_namespace") and prefix else ()
    return [(topic, f"{prefix}{topic}") for topic in topics]


def rviz(context: LaunchContext) -> list[Action]:
    return [
        Node(
            package="rviz2",
            executable="rviz2",
            name="rviz2",
            arguments=[
                "-d",
                str(share_directory() / "config" / "ttt3r.rviz"),
                *fixed_frame_option(context),
            ],
            remappings=rviz_remappings(context),
            parameters=[{"use_sim_time": parameter(sim_time(context) or "false", bool)}],
            condition=IfCondition(LaunchConfiguration("rviz")),
        )
    ]


def fixed_frame_option(context: LaunchContext) -> list[str]:
    frame = argument(context, "map_frame")
    return ["-f", frame] if frame else []


def rviz_remappings(context: LaunchContext) -> list[tuple[str, str]]:
    """Remap the topics of the RViz configuration to the namespace of the node."""
    prefix = namespace_prefix(context)
    topics = [*(f"/mapping_node/{name}" for name in RVIZ_TOPICS), "/initialpose"]
    remapped = [(topic, f"{prefix}{topic}") for topic in topics] if prefix else []
    return [*remapped, *tf_remappings(context)]


def sim_time(context: LaunchContext) -> str:
    return "true" if argument(context, "bag") else argument(context, "use_sim_time")


def argument(context: LaunchContext, name: str) -> str:
    return str(LaunchConfiguration(name).perform(context))


def is_true(context: LaunchContext, name: str) -> bool:
    return argument(context, name).lower() == "true"
