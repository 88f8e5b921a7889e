# SPDX-License-Identifier: Apache-2.0
"""ROS parameters from the configuration classes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

from ttt3r_ros.config import Config, Setting, from_mapping, settings
from ttt3r_ros.errors import ConfigError

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.parameter import Parameter

_LARGEST_INTEGER = 2**63 - 1
_LARGEST_FLOAT = 1.7e308
_CAMERA_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def declare(node: Node) -> Config:
    """Declare every setting as a parameter, read-only unless live; return the configuration at the start.

    Raises:
        ConfigError: a value is out of range or has a wrong type; the message names parameter, value and range.
    """
    config = from_mapping({entry.name: _declare(node, entry) for entry in settings()})
    _validate_camera_names(config.cameras)
    return config


def apply_changes(config: Config, parameters: list[Parameter]) -> Config:
    """Return the configuration with new values of live parameters; ignore others (use_sim_time).

    Raises:
        ConfigError: a value is invalid, or a parameter is read-only while the node runs.
    """
    entries = {entry.name: entry for entry in settings()}
    own = [parameter for parameter in parameters if parameter.name in entries]
    for parameter in own:
        if not entries[parameter.name].live:
            msg = f"{parameter.name} is read-only while the node runs; set it at the start"
            raise ConfigError(msg)
    config = from_mapping({parameter.name: parameter.value for parameter in own}, config)
    low, high = config.grid.min_height, config.grid.max_height
    if low >= high:
        msg = f"grid.min_height is {low}; expected less than grid.max_height, {high}"
        raise ConfigError(msg)
    return config


def descriptor(entry: Setting) -> ParameterDescriptor:
    """Return the descriptor of a setting: description, range, choices."""
    result = ParameterDescriptor(description=entry.help, read_only=not entry.live)
    result.dynamic_typing = entry.is_switch  # rcl reads an unquoted on or off as a bool
    if entry.choices:
        result.additional_constraints = "one of: " + ", ".join(entry.choices)
    if entry.kind is int and (entry.ge, entry.le) != (None, None):
        low = -_LARGEST_INTEGER if entry.ge is None else int(entry.ge)
        high = _LARGEST_INTEGER if entry.le is None else int(entry.le)
        result.integer_range = [IntegerRange(from_value=low, to_value=high)]
    if entry.kind is float and (entry.ge, entry.le) != (None, None):
        low_float = -_LARGEST_FLOAT if entry.ge is None else entry.ge
        high_float = _LARGEST_FLOAT if entry.le is None else entry.le
        result.floating_point_range = [FloatingPointRange(from_value=low_float, to_value=high_float)]
    return result


def _declare(node: Node, entry: Setting) -> object:
    try:
        default = list(entry.default) or [""] if isinstance(entry.default, tuple) else entry.default
        return node.declare_parameter(entry.name, default, descriptor(entry)).value
    except (InvalidParameterTypeException, InvalidParameterValueException) as error:
        msg = f"parameter {entry.name}: {error}"
        raise ConfigError(msg) from error


def _validate_camera_names(names: tuple[str, ...]) -> None:
    """Raise `ConfigError` on a name that cannot be part of topic and file names, or occurs twice."""
    for name in names:
        if not _CAMERA_NAME.fullmatch(name):
            msg = (
                f"cameras has {name!r}; expected ASCII letters, digits and underscores, not a digit first:"
                " the name becomes part of topic and file names"
            )
            raise ConfigError(msg)
        if names.count(name) > 1:
            msg = f"cameras has {name!r} {names.count(name)} times; expected different names"
            raise ConfigError(msg)
