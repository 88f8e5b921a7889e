# SPDX-License-Identifier: Apache-2.0
"""ROS parameters from the configuration classes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.parameter import Parameter

from ttt3r_ros.config import Config, Setting, from_mapping, settings
from ttt3r_ros.errors import ConfigError
from ttt3r_ros.transforms.frame_names import require_valid_frames

if TYPE_CHECKING:
    from rclpy.node import Node

    from ttt3r_ros.settings import Value

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
    require_valid_frames(config)
    if hasattr(node, "add_pre_set_parameters_callback"):  # not in Humble
        node.add_pre_set_parameters_callback(_with_declared_types)
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
    result.type = Parameter.Type.from_parameter_value(_plain_value(entry.default)).value
    # An integer may stand for a double, and rcl reads an unquoted on or off as a bool.
    result.dynamic_typing = entry.is_switch or entry.kind in (int, float)
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
    any_type = ParameterDescriptor(dynamic_typing=True)
    given = node.declare_parameter(entry.name, _plain_value(entry.default), any_type).value
    value = entry.validate(given)
    plain = _plain_value(value)
    if type(plain) is not type(given) or plain != given:
        node.set_parameters([Parameter(entry.name, value=plain)])
    node.set_descriptor(entry.name, descriptor(entry))
    return value


def _plain_value(value: Value) -> Any:
    """Return a value in a type of ROS, which has no empty list without a type."""
    return list(value) or [""] if isinstance(value, tuple) else value


def _with_declared_types(parameters: list[Parameter]) -> list[Parameter]:
    """Return parameters with valid values in the types of their settings; others as they are."""
    entries = {entry.name: entry for entry in settings()}

    def convert(parameter: Parameter) -> Parameter:
        try:
            value = _plain_value(entries[parameter.name].validate(parameter.value))
        except (KeyError, ConfigError):  # `apply_changes` has the reason
            return parameter
        return Parameter(parameter.name, value=value)

    return [convert(parameter) for parameter in parameters]


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
