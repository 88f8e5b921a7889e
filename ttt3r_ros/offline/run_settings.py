# SPDX-License-Identifier: Apache-2.0
"""From the arguments of ``run`` to settings and outputs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttt3r_ros.config import Config, from_mapping, settings
from ttt3r_ros.errors import ConfigError
from ttt3r_ros.io.run_folder import DEFAULT_OUTPUTS, OUTPUTS
from ttt3r_ros.io.sources import SourceOptions
from ttt3r_ros.offline.resume import Identity

if TYPE_CHECKING:
    import argparse

    from ttt3r_ros.settings import Setting

_TRUTH = {"true": True, "false": False}
_NODES = ("/**", "mapping_node", "/mapping_node", "/**/mapping_node")
_NO_SETTINGS = ("use_sim_time", "qos_overrides")  # parameters of the node that are rclpy's
_NEEDS = {"glb": "trimesh", "report": "matplotlib", "bag": "rosbags"}
_REFERS_TO = {"colmap": {"rgb"}, "nerfstudio": {"rgb", "map"}}


def config_of(arguments: argparse.Namespace) -> Config:
    """Return the settings: of the parameter file, over them those of ``--set``, over them the options.

    Raises:
        ConfigError: a setting is unknown, does not fit, or has no meaning for one recording.
    """
    config = from_mapping(_of_file(arguments.config)) if arguments.config else Config()
    config = from_mapping(dict(_assignment(text) for text in arguments.set_), config)
    named = {
        "device": arguments.device,
        "model_path": str(arguments.weights.expanduser().resolve()) if arguments.weights else None,
    }
    config = from_mapping({name: value for name, value in named.items() if value is not None}, config)
    _require_one_camera(config)
    return config


def source_options(arguments: argparse.Namespace) -> SourceOptions:
    """Return how to read a source."""
    return SourceOptions(
        topic=arguments.topic,
        camera_info_topic=arguments.camera_info_topic,
        layout=arguments.format,
        camera=arguments.calibration and arguments.calibration.expanduser().resolve(),
        rate_hz=arguments.fps,
        stride=arguments.stride,
        limit=arguments.max_frames,
    )


def identity_of(
    source: str, options: SourceOptions, config: Config, outputs: tuple[str, ...]
) -> Identity:
    """Return what makes a run the same as another."""
    read = {
        "topic": options.topic,
        "camera_info": options.camera_info_topic,
        "layout": options.layout,
        "camera": str(options.camera or ""),
        "rate_hz": options.rate_hz,
        "stride": options.stride,
    }
    return Identity(full_name(source), read, all_settings(config), outputs, options.limit)


def full_name(source: str) -> str:
    """Return a source by its whole path, so that it means the same from every folder; a camera as it is named."""
    path = Path(source).expanduser()
    return str(path.resolve()) if path.exists() else source


def changed_settings(config: Config) -> dict[str, Any]:
    """Return the settings that differ from their defaults."""
    return {name: value for name, value in all_settings(config).items() if value != _defaults()[name]}


def all_settings(config: Config) -> dict[str, Any]:
    """Return every setting by its dotted name, as JSON holds it."""
    values: dict[str, Any] = {}
    for entry in settings():
        value: Any = config
        for part in entry.name.split("."):
            value = getattr(value, part)
        values[entry.name] = list(value) if isinstance(value, tuple) else value
    return values


def outputs_of(words: list[str] | None) -> tuple[str, ...]:
    """Return the outputs that words ask for, in their usual order; commas part words, too.

    Raises:
        ConfigError: there is no such output, or a module that it needs is not installed.
    """
    names = [name for word in words or ["default"] for name in word.split(",") if name]
    groups = {"all": OUTPUTS, "default": DEFAULT_OUTPUTS}
    chosen = {output for name in names for output in groups.get(name, (name,))}
    unknown = sorted(chosen - set(OUTPUTS))
    if unknown:
        hint = "; sources come before --outputs" if any("/" in name for name in unknown) else ""
        msg = f"--outputs {' '.join(unknown)}: expected {', '.join(OUTPUTS)}, default or all{hint}"
        raise ConfigError(msg)
    for output, others in _REFERS_TO.items():
        chosen |= others if output in chosen else set()
    _require_modules(chosen)
    return tuple(name for name in OUTPUTS if name in chosen)


def _require_modules(outputs: set[str]) -> None:
    for output, module in _NEEDS.items():
        if output in outputs and importlib.util.find_spec(module) is None:
            msg = f"the output {output} needs the module {module}: pip install 'ttt3r_ros[run]'"
            raise ConfigError(msg)


def _defaults() -> dict[str, Any]:
    return all_settings(Config())


def _require_one_camera(config: Config) -> None:
    for name, value in (("cameras", config.cameras), ("rig", config.rig)):
        if value:
            msg = f"{name} is {value}: run maps one camera at a time; name it with --topic"
            raise ConfigError(msg)
    if config.level_source == "imu":
        msg = "level_source is imu: run reads images and transforms alone; the node reads an imu"
        raise ConfigError(msg)
    if config.scale.source == "odometry" and config.tf_mode != "map_odom":
        msg = (
            "scale.source is odometry: run reads odometry from the transforms of the bag; "
            "set tf_mode=map_odom"
        )
        raise ConfigError(msg)


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        msg = f"--set {text}: expected NAME=VALUE"
        raise ConfigError(msg)
    entry = {entry.name: entry for entry in settings()}.get(name)
    return name, value if entry is None else _parsed(entry, value)


def _parsed(entry: Setting, text: str) -> Any:
    """Return a word in the type of a setting; what does not fit stays a word, which `from_mapping` refuses."""
    if entry.kind is bool:
        return _TRUTH.get(text.lower(), text)
    if entry.kind is tuple:
        return tuple(word.strip() for word in text.strip("[]").split(",") if word.strip())
    try:
        return entry.kind(text)
    except ValueError:
        return text


def _of_file(path: Path) -> dict[str, Any]:
    import yaml  # noqa: PLC0415 - only where there is such a file

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"--config {path} cannot be read: {error.strerror}"
        raise ConfigError(msg) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"--config {path} is no YAML: {' '.join(str(error).split())}"
        raise ConfigError(msg) from error
    sections = content if isinstance(content, dict) else {}
    found = [sections[node] for node in _NODES if node in sections]
    if not found or not all(isinstance(part, dict) and "ros__parameters" in part for part in found):
        msg = f"--config {path}: expected '/**:' or 'mapping_node:' with 'ros__parameters:' below it"
        raise ConfigError(msg)
    values: dict[str, Any] = {}
    for part in found:
        values |= _flat(part["ros__parameters"] or {})
    return {name: value for name, value in values.items() if name.split(".")[0] not in _NO_SETTINGS}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= (
            _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
        )
    return flat
