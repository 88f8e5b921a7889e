# SPDX-License-Identifier: Apache-2.0
"""Reading of the node's parameter files (``/**: ros__parameters: ...``) without ROS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ttt3r_ros.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_NODES = ("/**", "mapping_node", "/mapping_node", "/**/mapping_node")
_RCLPY_PARAMETERS = ("use_sim_time", "qos_overrides")  # not settings of this package


def read_parameter_file(path: Path) -> dict[str, Any]:
    """Return the settings of a parameter file by their dotted names, for `ttt3r_ros.config.from_mapping`.

    Raises:
        ConfigError: the file cannot be read, or is not a parameter file of the node.
    """
    import yaml  # noqa: PLC0415 - PyYAML is an optional extra

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise ConfigError(msg) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"{path} is not YAML: {' '.join(str(error).split())}"
        raise ConfigError(msg) from error
    sections = content if isinstance(content, dict) else {}
    found = [sections[node] for node in _NODES if node in sections]
    if not found or not all(
        isinstance(section, dict) and "ros__parameters" in section for section in found
    ):
        msg = f"{path}: expected '/**:' or 'mapping_node:' with 'ros__parameters:' below it"
        raise ConfigError(msg)
    values: dict[str, Any] = {}
    for section in found:
        values |= _flatten(section["ros__parameters"] or {})
    return {name: value for name, value in values.items() if name.split(".")[0] not in _RCLPY_PARAMETERS}


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
