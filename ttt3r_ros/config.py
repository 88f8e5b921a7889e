# SPDX-License-Identifier: Apache-2.0
"""Every setting, once: default, meaning and range.

ROS parameters, command-line flags, ``config/ttt3r.yaml`` and the README table derive from these classes
or are tested equal to them. A nested class gives its settings a prefix: ``map.voxel_size``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from ttt3r_ros.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Value = bool | int | float | str
ConfigT = TypeVar("ConfigT")


def setting(
    default: Value,
    help: str,  # noqa: A002
    *,
    ge: float | None = None,
    le: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """Declare one setting; ``ge`` and ``le`` bound numbers, ``choices`` words."""
    return field(default=default, metadata={"help": help, "ge": ge, "le": le, "choices": choices})


@dataclass(frozen=True)
class MapConfig:
    """Voxel map."""

    voxel_size: float = setting(0.05, "Edge of a voxel [m].", ge=0.001, le=10.0)
    min_confidence: float = setting(
        1.5, "Points below this confidence (1 to infinity) are not fused.", ge=1.0, le=1e6
    )
    max_range: float = setting(10.0, "Points farther from the camera are not fused [m].", ge=0.1, le=1e5)
    max_voxels: int = setting(
        500_000, "Upper bound of the map; the voxels unseen for longest go.", ge=1000, le=50_000_000
    )
    publish_period: float = setting(1.0, "Seconds between two map clouds [s].", ge=0.05, le=3600.0)


@dataclass(frozen=True)
class Config:
    """The mapping node."""

    model_path: str = setting("", "Weights, .pth or .safetensors. Empty: the small ones of the package.")
    device: str = setting("auto", "auto, cpu, cuda or cuda:N. Only auto may fall back to the processor.")
    threads: int = setting(
        0, "Processor threads of the network; 0 leaves the choice to torch.", ge=0, le=256
    )
    image_size: int = setting(
        0, "Long side of the network's image [px]; 0: the one of the weights.", ge=0, le=4096
    )
    update_rule: str = setting("ttt3r", "How the state learns.", choices=("ttt3r", "cut3r"))
    reset_interval: int = setting(
        -1, "Frames between state resets; 0: never, -1: as the weights were made for.", ge=-1, le=10**9
    )

    image_transport: str = setting(
        "raw", "raw subscribes to image, compressed to image/compressed.", choices=("raw", "compressed")
    )
    image_qos: str = setting(
        "sensor_data",
        "Quality of service of the image subscription.",
        choices=("sensor_data", "reliable", "system_default"),
    )

    map_frame: str = setting("map", "Fixed frame, z up; starts at the first camera pose.")
    camera_frame: str = setting("", "Optical frame of the camera. Empty: header.frame_id of the image.")
    publish_tf: bool = setting(default=True, help="Publish map -> camera on /tf.")

    min_confidence: float = setting(
        1.0, "Depth and points below this confidence are NaN or left out.", ge=1.0, le=1e6
    )
    path_max_poses: int = setting(1000, "Poses kept in the path; the oldest go.", ge=1, le=10**6)
    diagnostics_period: float = setting(
        1.0, "Seconds between two diagnostics messages [s].", ge=0.1, le=3600.0
    )
    output_directory: str = setting("~/.ros/ttt3r_ros", "Where save_map and save_trajectory write.")

    map: MapConfig = field(default_factory=MapConfig)


@dataclass(frozen=True)
class Setting:
    """One entry of a configuration, flattened."""

    name: str  # dotted
    default: Value
    help: str
    ge: float | None
    le: float | None
    choices: tuple[str, ...]

    @property
    def kind(self) -> type[Value]:
        """Return bool, int, float or str."""
        return type(self.default)

    def checked(self, value: object) -> Value:
        """Return ``value`` in this setting's type.

        Raises:
            ConfigError: it has another type, is out of range or not among the choices.
        """
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if self.choices and isinstance(value, str):
            value = value.lower()  # names of QoS profiles are often written in capitals
        if type(value) is not self.kind:
            msg = f"{self.name} is {value!r}; expected {self.kind.__name__}"
            raise ConfigError(msg)
        assert isinstance(value, bool | int | float | str)
        self._check_range(value)
        return value

    def _check_range(self, value: Value) -> None:
        if self.choices and value not in self.choices:
            msg = f"{self.name} is {value!r}; expected one of {', '.join(self.choices)}"
            raise ConfigError(msg)
        if isinstance(value, (str, bool)):
            return
        low = float("-inf") if self.ge is None else self.ge
        high = float("inf") if self.le is None else self.le
        if not (low <= value <= high and math.isfinite(value)):
            msg = f"{self.name} is {value}; expected {low} to {high}"
            raise ConfigError(msg)


def settings(config_class: type[Any] = Config, prefix: str = "") -> Iterator[Setting]:
    """List the settings of a configuration class in the order of their declaration."""
    types = get_type_hints(config_class)
    for entry in fields(config_class):
        if is_dataclass(types[entry.name]):
            yield from settings(types[entry.name], f"{prefix}{entry.name}.")
        else:
            default: Any = entry.default
            yield Setting(name=prefix + entry.name, default=default, **entry.metadata)


def from_mapping(values: Mapping[str, object], base: Config | None = None) -> Config:
    """Return ``base`` (default: the defaults) with dotted names overridden.

    Raises:
        ConfigError: a name is unknown or a value does not fit.
    """
    known = {entry.name: entry for entry in settings()}
    unknown = [name for name in values if name not in known]
    if unknown:
        msg = f"unknown setting {', '.join(sorted(unknown))}; known: {', '.join(known)}"
        raise ConfigError(msg)
    config = base or Config()
    for name, value in values.items():
        config = _replaced(config, name.split("."), known[name].checked(value))
    return config


def _replaced(config: ConfigT, path: list[str], value: Value) -> ConfigT:
    head, *rest = path
    inner: Any = _replaced(getattr(config, head), rest, value) if rest else value
    return replace(config, **{head: inner})  # type: ignore[type-var]


def parameters_yaml() -> str:
    """Return the parameter file of the node with every setting at its default."""
    lines = [
        "# Every parameter of mapping_node at its default. Written by `ttt3r_ros params`.",
        "/**:",
        "  ros__parameters:",
    ]
    group = ""
    for entry in settings():
        *path, name = entry.name.split(".")
        indent = "    " + "  " * len(path)
        if path and path[-1] != group:
            group = path[-1]
            lines.append(f"    {group}:")
        choices = f" One of: {', '.join(entry.choices)}." if entry.choices else ""
        lines += [f"{indent}# {entry.help}{choices}", f"{indent}{name}: {_yaml_text(entry.default)}"]
    return "\n".join(lines) + "\n"


def _yaml_text(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
