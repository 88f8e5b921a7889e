# SPDX-License-Identifier: Apache-2.0
"""Outputs of an offline run by name, and the settings that one recording supports."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from ttt3r_ros.errors import ConfigError
from ttt3r_ros.io.run_folder import DEFAULT_OUTPUTS, OUTPUTS
from ttt3r_ros.transforms.frame_names import require_valid_frames

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ttt3r_ros.config import Config

_GROUPS = {"all": OUTPUTS, "default": DEFAULT_OUTPUTS}
_MODULES = {"glb": "trimesh", "report": "matplotlib", "bag": "rosbags"}
_REQUIRED_OUTPUTS = {"colmap": {"rgb"}, "nerfstudio": {"rgb", "map"}}


class UnknownOutputError(ConfigError):
    """No output has this name."""


def resolve_outputs(names: Iterable[str]) -> tuple[str, ...]:
    """Return outputs in their usual order, with those that they refer to; ``all`` and ``default`` are groups.

    Raises:
        UnknownOutputError: there is no such output.
        ConfigError: a module that an output needs is not installed.
    """
    chosen = {output for name in names for output in _GROUPS.get(name, (name,))}
    unknown = sorted(chosen - set(OUTPUTS))
    if unknown:
        msg = f"unknown output {', '.join(unknown)}: expected {', '.join(OUTPUTS)}, default or all"
        raise UnknownOutputError(msg)
    for output, required in _REQUIRED_OUTPUTS.items():
        chosen |= required if output in chosen else set()
    for output, module in _MODULES.items():
        if output in chosen and importlib.util.find_spec(module) is None:
            msg = f"the output {output} needs the module {module}: pip install 'ttt3r_ros[run]'"
            raise ConfigError(msg)
    return tuple(name for name in OUTPUTS if name in chosen)


def require_offline_settings(config: Config) -> None:
    """Check that the settings are those of one camera and its recording.

    Raises:
        ConfigError: a setting needs several cameras or a running robot.
    """
    for name, value in (("cameras", config.cameras), ("rig", config.rig)):
        if value:
            msg = f"{name} is {value}: a recording is mapped with one camera; name its image topic"
            raise ConfigError(msg)
    require_valid_frames(config)
    if config.level_source == "imu":
        msg = "level_source is imu: offline runs read images and transforms only; the node subscribes to an IMU"
        raise ConfigError(msg)
    if config.scale.source == "odometry" and config.tf_mode != "map_odom":
        msg = (
            "scale.source is odometry: offline runs read odometry from the transforms of the bag; "
            "set tf_mode=map_odom"
        )
        raise ConfigError(msg)
