# SPDX-License-Identifier: Apache-2.0
"""Start parameters of the node: types, names without effect, files for another node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter

from ttt3r_ros.errors import ConfigError
from ttt3r_ros.ros import parameters
from ttt3r_ros.ros.parameter_overrides import matches_node, parameter_files, warn_unused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import rclpy

pytestmark = pytest.mark.ros
Warnings = list[str]


@pytest.fixture
def start_with(
    context: rclpy.context.Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], tuple[Node, Warnings]]]:
    nodes = []

    def start(text: str) -> tuple[Node, Warnings]:
        file = tmp_path / "parameters.yaml"
        file.write_text(text)
        arguments = ["--ros-args", "--params-file", str(file)]
        node = Node("mapping_node", context=context, cli_args=arguments, namespace="/robot")
        nodes.append(node)
        warnings: Warnings = []
        logger = node.get_logger()
        monkeypatch.setattr(logger, "warning", warnings.append)
        monkeypatch.setattr(node, "get_logger", lambda: logger)
        return node, warnings

    yield start
    for node in nodes:
        node.destroy_node()


def section(text: str, key: str = "/**") -> str:
    return f"{key}:\n  ros__parameters:\n    {text}\n"


def test_numbers_of_the_other_type_and_an_empty_list_are_accepted(start_with: Any) -> None:
    node, _ = start_with(
        section("{cameras: [], map: {voxel_size: 1, max_voxels: 5000.0}, threads: 2.0}")
    )
    config = parameters.declare(node)
    assert (config.cameras, config.map.voxel_size, config.map.max_voxels) == ((), 1.0, 5000)
    assert node.get_parameter("map.voxel_size").type_ == Parameter.Type.DOUBLE
    assert node.get_parameter("threads").type_ == Parameter.Type.INTEGER


def test_a_live_double_accepts_an_integer(start_with: Any) -> None:
    node, _ = start_with("{}")
    parameters.declare(node)
    (result,) = node.set_parameters([Parameter("map.max_range", value=7)])
    assert result.successful
    assert node.get_parameter("map.max_range").value == 7.0


@pytest.mark.parametrize(
    "text", ["threads: 2.5", "map: {voxel_size: wide}", "device: 0", "cameras: [1, 2]"]
)
def test_a_value_of_another_type_is_refused(start_with: Any, text: str) -> None:
    node, _ = start_with(section(f"{{{text}}}"))
    with pytest.raises(ConfigError, match="expected"):
        parameters.declare(node)


def test_unknown_parameters_are_reported_with_a_suggestion(start_with: Any) -> None:
    node, warnings = start_with(
        section("{voxel_size: 0.1, use_sim_time: false, map: {voxel_size: 0.1}}")
    )
    parameters.declare(node)
    warn_unused(node, [])
    assert len(warnings) == 1
    assert "voxel_size (did you mean map.voxel_size?)" in warnings[0]


@pytest.mark.parametrize(
    ("key", "count"),
    [
        ("ttt3r_node", 1),
        ("/other/mapping_node", 1),
        ("mapping_node", 1),
        ("/robot/mapping_node", 0),
        ("/**", 0),
    ],
)
def test_a_file_for_another_node_is_reported(
    start_with: Any, tmp_path: Path, key: str, count: int
) -> None:
    node, warnings = start_with(section("device: cpu", key))
    parameters.declare(node)
    warn_unused(node, ["--params-file", str(tmp_path / "parameters.yaml")])
    assert len(warnings) == count
    assert all(key in text and "/robot/mapping_node" in text for text in warnings)


def test_keys_match_by_the_rules_of_rcl() -> None:
    name = "/robot/arm/mapping_node"
    matching = ("/**", "/**/mapping_node", "/robot/**", "/*/arm/mapping_node", name, name[1:])
    assert [key for key in matching if not matches_node(key, name)] == []
    others = ("/*", "/*/mapping_node", "mapping_node", "/robot/arm", "/robot/arm/mapping_nod")
    assert [key for key in others if matches_node(key, name)] == []


def test_parameter_files_of_a_command_line() -> None:
    words = ["node", "--ros-args", "--params-file", "a.yaml", "-p", "x:=1", "--params-file", "b.yaml"]
    assert [str(path) for path in parameter_files(words)] == ["a.yaml", "b.yaml"]
