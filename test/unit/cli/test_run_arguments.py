# SPDX-License-Identifier: Apache-2.0
"""Settings from the arguments of `ttt3r_ros run`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import pytest

from ttt3r_ros.cli import run
from ttt3r_ros.cli.arguments import parse_config
from ttt3r_ros.config import Config, changed_settings, parameters_yaml
from ttt3r_ros.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def arguments(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    run.add_parser(parser.add_subparsers())
    return parser.parse_args(["run", "source", *map(str, words)])


def test_without_options_the_settings_are_the_defaults():
    assert parse_config(arguments()) == Config()


def test_every_kind_of_setting_can_be_set():
    config = parse_config(
        arguments(
            "--set", "map.voxel_size=0.1", "reset_interval=7", "rectify=false", "level_source=floor"
        )
    )
    assert changed_settings(config) == {
        "map.voxel_size": 0.1, "reset_interval": 7, "rectify": False, "level_source": "floor",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("assignment", "reason"),
    [
        ("map.voxel_size", "expected NAME=VALUE"),
        ("voxel=1", "unknown setting voxel"),
        ("map.voxel_size=small", "map.voxel_size is 'small'; expected float"),
        ("map.voxel_size=-1", "map.voxel_size is -1.0; expected 0.001 to 10.0"),
        ("rectify=perhaps", "rectify is 'perhaps'; expected bool"),
        ("tf_mode=upside_down", "expected one of map_odom"),
        ("cameras=front,left", "cameras is ('front', 'left')"),
        ("rig=true", "rig is True"),
        ("level_source=imu", "level_source is imu"),
        ("scale.source=odometry", "tf_mode=map_odom"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(assignment, reason):
    with pytest.raises(ConfigError) as refused:
        parse_config(arguments("--set", assignment))
    assert reason in str(refused.value)


def test_the_parameter_file_of_the_node_is_read_and_options_win_over_it(tmp_path):
    file = tmp_path / "ttt3r.yaml"
    file.write_text(parameters_yaml())
    assert parse_config(arguments("--config", file)) == Config()
    file.write_text(
        "/**:\n  ros__parameters:\n    use_sim_time: true\n    map: {voxel_size: 0.2}\n    device: cpu\n"
        "other_node:\n  ros__parameters: {x: 1}\n"
        "mapping_node:\n  ros__parameters:\n    reset_interval: 9\n"
    )
    config = parse_config(arguments("--config", file, "--set", "reset_interval=8", "--device", "auto"))
    assert changed_settings(config) == {"map.voxel_size": 0.2, "reset_interval": 8}


@pytest.mark.parametrize("text", ["[", "just words", "other:\n  x: 1\n", "/**:\n  x: 1\n"])
def test_the_error_on_an_invalid_parameter_file_contains_its_name(tmp_path: Path, text: str):
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"wrong\.yaml"):
        parse_config(arguments("--config", file))


def test_a_parameter_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"absent\.yaml"):
        parse_config(arguments("--config", tmp_path / "absent.yaml"))
