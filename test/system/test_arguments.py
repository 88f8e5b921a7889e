# SPDX-License-Identifier: Apache-2.0
"""What the launch file makes of its arguments, judged by launch and rcl themselves; nothing is started."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from bag_recording import images, record
from launch_file import (
    PREFIX,
    Evaluated,
    ExecuteProcess,
    RegisterEventHandler,
    arguments,
    declared,
    evaluate,
    node_with,
    program,
)

from ttt3r_ros.config import Config, settings
from ttt3r_ros.errors import Ttt3rError
from ttt3r_ros.ros import parameters
from ttt3r_ros.ros.middleware import PROFILE

pytestmark = pytest.mark.ros
OWN_ARGUMENTS = {
    "image_topic",
    "camera_info_topic",
    "depth_topic",
    "namespace",
    "tf_in_namespace",
    "params_file",
    "use_sim_time",
    "bag",
    "save_at_end",
    "bag_images_only",
    "grid_topic",
    "rviz",
    "log_level",
}


def started_with(domain_id: int, **typed: str) -> tuple[Config, bool]:
    """Return the settings and use_sim_time that a node launched with these arguments sees."""
    with node_with(evaluate(**typed).arguments("mapping_node"), domain_id) as node:
        return parameters.declare(node), node.get_parameter("use_sim_time").value


def write_parameters(path: Path, **values: object) -> str:
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}))
    return str(path)


def test_every_argument_has_a_description():
    assert [name for name, argument in declared().items() if not argument.description.strip()] == []


def test_the_documented_arguments_exist():
    assert set(declared()) >= OWN_ARGUMENTS | {
        "model_path",
        "device",
        "image_transport",
        "map_frame",
        "publish_tf",
        "cameras",
        "rig",
        "scale.source",
        "depth.resolution",
    }


def test_arguments_that_are_settings_carry_the_help_of_the_setting():
    known = {entry.name: entry for entry in settings()}
    forwarded = {name: argument for name, argument in declared().items() if name not in OWN_ARGUMENTS}
    assert forwarded
    assert [
        name for name, argument in forwarded.items() if known[name].help not in argument.description
    ] == []


def test_a_word_that_is_no_choice_is_refused_by_launch():
    with pytest.raises(RuntimeError, match=r"image_qos.*'reliable'"):
        evaluate(image_qos="fast")


def test_the_installation_holds_what_the_launch_file_names():
    share = PREFIX / "share" / "ttt3r_ros"
    needed = ["package.xml", "launch/mapping.launch.py", "config/ttt3r.yaml", "config/ttt3r.rviz"]
    assert [name for name in needed if not (share / name).is_file()] == []
    assert shutil.which("mapping_node", path=PREFIX / "lib" / "ttt3r_ros")


def test_without_arguments_only_the_node_starts_and_has_the_defaults(domain_id):
    assert evaluate().programs() == ["mapping_node"]
    assert started_with(domain_id) == (Config(), False)


def test_the_params_file_beats_the_defaults_and_a_typed_argument_beats_both(domain_id, tmp_path):
    file = write_parameters(
        tmp_path / "robot.yaml", reset_interval=7, map_frame="world", publish_tf=False
    )
    config, _ = started_with(domain_id, params_file=file, map_frame="site")
    assert (config.reset_interval, config.map_frame, config.publish_tf) == (7, "site", False)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("reset_interval", "0", 0),
        ("publish_tf", "false", False),
        ("map_frame", "007", "007"),
        ("camera_frame", "true", "true"),
        ("model_path", "~/weights.pth", "~/weights.pth"),
        ("output_directory", "/data/it's", "/data/it's"),
    ],
)
def test_a_typed_argument_arrives_in_the_type_of_its_setting(domain_id, tmp_path, name, text, value):
    config, _ = started_with(domain_id, **{name: text})
    assert getattr(config, name) == value
    assert type(getattr(config, name)) is type(value)


@pytest.mark.parametrize("text", ["[front, left]", '["front", "left"]'])
def test_several_cameras_and_settings_of_a_group_can_be_typed(domain_id, text):
    typed = {"cameras": text, "rig": "true", "scale.source": "odometry", "depth.resolution": "input"}
    config, _ = started_with(domain_id, **typed)
    assert (config.cameras, config.rig) == (("front", "left"), True)
    assert (config.scale.source, config.depth.resolution) == ("odometry", "input")


def test_measured_depth_comes_from_its_topic(domain_id):
    launched = evaluate(depth_topic="/camera/depth")
    with node_with(launched.arguments("mapping_node"), domain_id) as node:
        assert node.resolve_topic_name("depth_registered/image_rect") == "/camera/depth"


def test_a_params_file_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"params_file.*absent\.yaml"):
        evaluate(params_file=str(tmp_path / "absent.yaml"))


def bag_with(path: Path, *topics: str) -> str:
    return str(record(path, [message for topic in topics for message in images(topic)]))


@pytest.mark.parametrize(
    ("in_file", "typed", "with_bag", "expected"),
    [
        (None, {}, False, False),
        (None, {"use_sim_time": "true"}, False, True),
        (True, {}, False, True),
        (True, {"use_sim_time": "false"}, False, False),
        (False, {}, True, True),
        (None, {"use_sim_time": "false"}, True, True),
    ],
)
def test_a_bag_turns_sim_time_on_and_otherwise_typed_beats_file(
    domain_id, tmp_path, in_file, typed, with_bag, expected
):
    if with_bag:
        typed = {**typed, "bag": bag_with(tmp_path / "it's a bag", "/camera/image_raw")}
    values = {} if in_file is None else {"use_sim_time": in_file}
    file = write_parameters(tmp_path / "robot.yaml", map_frame="world", **values)
    config, use_sim_time = started_with(domain_id, params_file=file, **typed)
    assert use_sim_time is expected
    assert config.map_frame == "world"


def player_of(launched: Evaluated) -> list[str]:
    """Return the command line of the program that starts when the node has answered."""
    from launch.events.process import ProcessExited

    handlers = [a.event_handler for a in launched.actions if isinstance(a, RegisterEventHandler)]
    _, wait = (a for a in launched.actions if isinstance(a, ExecuteProcess))
    ended = {"name": "", "cmd": [], "cwd": None, "env": None, "pid": 1, "returncode": 0}
    event = ProcessExited(action=wait, **ended)
    (handler,) = (handler for handler in handlers if handler.matches(event))
    (player,) = handler.handle(event, launched.context)
    return [program(player), *arguments(player, launched.context)]


def test_a_bag_is_played_with_its_clock_once_the_node_answers(tmp_path):
    bag = bag_with(tmp_path / "it's a bag", "/camera/image_raw")
    launched = evaluate(bag=bag, namespace="robot1")
    assert launched.programs() == ["mapping_node", sys.executable]
    assert launched.arguments(sys.executable)[-2:] == ["/robot1/mapping_node", "reset"]
    words = player_of(launched)
    assert words[:6] == ["ros2", "bag", "play", bag, "--clock", "100"]
    assert words[words.index("--wait-for-all-acked") + 1] == "0"
    assert float(words[words.index("--delay") + 1]) > 3.0, (
        "the period in which Fast DDS announces itself"
    )
    assert "--topics" not in words


@pytest.mark.parametrize(
    ("typed", "topics"),
    [
        ({}, ["/camera/image_raw", "/camera/image_raw/compressed", "/camera/camera_info"]),
        (
            {"namespace": "robot1", "image_topic": "front/image", "camera_info_topic": "/info"},
            ["/robot1/front/image", "/robot1/front/image/compressed", "/info"],
        ),
        ({"cameras": "[left]"}, ["/left/image", "/left/image/compressed", "/left/camera_info"]),
    ],
)
def test_the_player_offers_images_reliably_with_any_recorded_qos(tmp_path, typed, topics):
    bag = bag_with(tmp_path / "walk", topics[0])
    words = player_of(evaluate(bag=bag, bag_images_only="true", **typed))
    offered = yaml.safe_load(Path(words[words.index("--qos-profile-overrides-path") + 1]).read_text())
    assert set(topics) <= set(offered)
    for profile in offered.values():
        assert profile == {"history": "keep_all", "reliability": "reliable", "durability": "volatile"}
    assert words[words.index("--topics") + 1 :] == list(offered)


def test_cameras_in_the_params_file_are_offered_reliably_as_well(tmp_path):
    file = write_parameters(tmp_path / "robot.yaml", cameras=["front"])
    bag = bag_with(tmp_path / "walk", "/front/image")
    words = player_of(evaluate(bag=bag, params_file=file))
    offered = yaml.safe_load(Path(words[words.index("--qos-profile-overrides-path") + 1]).read_text())
    assert "/front/image" in offered


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ({"bag": "absent"}, "absent"),
        ({"image_topic": "/front/image"}, "/front/image"),
        ({"image_transport": "compressed"}, "image_transport:=raw"),
        ({"cameras": "[left]"}, "/left/image"),
        ({"namespace": "robot1", "image_topic": "camera/image_raw"}, "/robot1/camera/image_raw"),
        ({"save_at_end": "true", "output_directory": "/dev/null/maps"}, "/dev/null/maps"),
    ],
)
def test_bag_topics_and_folder_are_checked_before_anything_is_played(tmp_path, typed, reason):
    bag = bag_with(tmp_path / "walk", "/camera/image_raw")
    with pytest.raises(Ttt3rError) as found:
        evaluate(**{"bag": bag, **typed})
    assert reason in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("step", ["the node", "reset", "the player", "saving"])
def test_a_failed_step_fails_the_launch(tmp_path, step):
    from launch.events.process import ProcessExited

    bag = bag_with(tmp_path / "walk", "/camera/image_raw")
    launched = evaluate(bag=bag, save_at_end="true")
    handlers = [a.event_handler for a in launched.actions if isinstance(a, RegisterEventHandler)]
    node, reset = (a for a in launched.actions if isinstance(a, ExecuteProcess))

    def end(action: ExecuteProcess, status: int) -> list[ExecuteProcess]:
        ended = {"name": "", "cmd": [], "cwd": None, "env": None, "pid": 1, "returncode": status}
        event = ProcessExited(action=action, **ended)
        (handler,) = (handler for handler in handlers if handler.matches(event))
        return handler.handle(event, launched.context)

    (player,) = end(reset, 0)
    (saving,) = end(player, 0)
    assert arguments(saving, launched.context)[-2:] == ["save_map", "save_trajectory"]
    failing = {"the node": node, "reset": reset, "the player": player, "saving": saving}[step]
    with pytest.raises(RuntimeError, match="status 3"):
        end(failing, 3)
    (shutdown,) = end(saving, 0)
    assert type(shutdown).__name__ == "Shutdown"


@pytest.mark.parametrize(
    ("namespace", "prefix"), [("", ""), ("robot1", "/robot1"), ("/fleet/robot1", "/fleet/robot1")]
)
def test_the_namespace_moves_the_topics_of_the_node_but_not_the_camera(domain_id, namespace, prefix):
    launched = evaluate(namespace=namespace, image_topic="/front/image", camera_info_topic="/front/info")
    with node_with(launched.arguments("mapping_node"), domain_id) as node:
        assert node.get_fully_qualified_name() == f"{prefix}/mapping_node"
        assert node.resolve_topic_name("~/pose") == f"{prefix}/mapping_node/pose"
        assert node.resolve_topic_name("image") == "/front/image"
        assert node.resolve_topic_name("image/compressed") == "/front/image/compressed"
        assert node.resolve_topic_name("camera_info") == "/front/info"


def test_tf_of_the_namespace_is_used_on_request(domain_id):
    for typed, topic in (({}, "/tf"), ({"tf_in_namespace": "true"}, "/robot1/tf")):
        launched = evaluate(namespace="robot1", rviz="true", **typed)
        for name in ("mapping_node", "rviz2"):
            words = launched.arguments(name)
            with node_with(words[words.index("--ros-args") :], domain_id) as node:
                assert node.resolve_topic_name("/tf") == topic
                assert node.resolve_topic_name("/tf_static") == f"{topic}_static"


def test_a_relative_image_topic_follows_the_namespace(domain_id):
    launched = evaluate(namespace="robot1", image_topic="front/image")
    with node_with(launched.arguments("mapping_node"), domain_id) as node:
        assert node.resolve_topic_name("image") == "/robot1/front/image"


@pytest.mark.parametrize("typed", [{}, {"bag": ""}, {"use_sim_time": "true"}])
def test_rviz_opens_with_the_installed_view_on_the_same_clock(domain_id, tmp_path, typed):
    if "bag" in typed:
        typed = {"bag": bag_with(tmp_path / "walk", "/camera/image_raw")}
    launched = evaluate(rviz="true", **typed)
    assert launched.programs().count("rviz2") == 1
    words = launched.arguments("rviz2")
    assert Path(words[words.index("-d") + 1]).is_file()
    with node_with(words[words.index("--ros-args") :], domain_id) as node:
        assert node.get_parameter("use_sim_time").value is bool(typed)


def test_the_log_level_reaches_the_node():
    words = evaluate(log_level="warn").arguments("mapping_node")
    assert words[words.index("--log-level") + 1] == "warn"


@pytest.mark.parametrize("name", ["FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"])
def test_everything_launched_has_the_fast_dds_profile(name):
    evaluate()
    assert Path(os.environ[name]).read_text() == PROFILE.read_text()


@pytest.mark.parametrize("name", ["FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"])
def test_a_fast_dds_profile_of_the_users_own_wins(name):
    os.environ[name] = "/etc/robot/dds.xml"
    evaluate()
    assert os.environ[name] == "/etc/robot/dds.xml"
