# SPDX-License-Identifier: Apache-2.0
"""Reading of the node's parameter files (``/**: ros__parameters: ...``) without ROS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ttt3r_ros.errors import ConfigError, SourceError, short_text
from ttt3r_ros.text_files import read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NODES = ("/**", "mapping_node", "/mapping_node", "/**/mapping_node")
_RCLPY_PARAMETERS = ("use_sim_time", "qos_overrides")  # not settings of this package


def read_parameter_file(path: Path) -> dict[str, Any]:
    """Return the settings of a parameter file by their dotted names, for `ttt3r_ros.config.from_mapping`.

    Raises:
        ConfigError: the file cannot be read, or is not a parameter file of the node.
    """
    try:
        content = read_yaml(path)
    except SourceError as error:
        raise ConfigError(str(error)) from error
    sections = content if isinstance(content, dict) else {}
    found = [sections[node] for node in _NODES if node in sections]
    if not found or not all(
        isinstance(section, dict) and "ros__parameters" in section for section in found
    ):
        others = [short_text(name) for name, section in sections.items() if _has_parameters(section)]
        keys = f"; the file is for {', '.join(others[:5])}" if others else ""
        msg = f"{path}: expected '/**:' or 'mapping_node:' with 'ros__parameters:' below it{keys}"
        raise ConfigError(msg)
    values: dict[str, Any] = {}
    for section in found:
        parameters = section["ros__parameters"]
        if not isinstance(parameters, dict | None):
            msg = f"{path}: ros__parameters is {short_text(parameters)}; expected names and values"
            raise ConfigError(msg)
        values |= dict(_flatten(parameters or {}))
    return {name: value for name, value in values.items() if name.split(".")[0] not in _RCLPY_PARAMETERS}


def _has_parameters(section: object) -> bool:
    return isinstance(section, dict) and "ros__parameters" in section


def _flatten(values: dict[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
