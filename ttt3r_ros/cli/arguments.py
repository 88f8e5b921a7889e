# SPDX-License-Identifier: Apache-2.0
"""Parts that the subcommands share: bounded numbers, settings as arguments, and optional extras."""

from __future__ import annotations

import argparse
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttt3r_ros.config import Config, from_mapping, settings
from ttt3r_ros.errors import ConfigError
from ttt3r_ros.io.parameter_file import read_parameter_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ttt3r_ros.settings import Setting

_BOOLEANS = {"true": True, "false": False}


def integer(low: int, high: int | None = None) -> Callable[[str], int]:
    """Return a type for argparse: integers from ``low`` to ``high``; None: unbounded."""

    def parse(text: str) -> int:
        value = int(text)
        if high is not None and not low <= value <= high:
            msg = f"{value} is not between {low} and {high}"
            raise argparse.ArgumentTypeError(msg)
        if value < low:
            msg = f"{value} is negative" if low == 0 else f"{value} is less than {low}"
            raise argparse.ArgumentTypeError(msg)
        return value

    parse.__name__ = "integer"  # argparse: "invalid integer value"
    return parse


def frequency_hz(*, zero: bool = False) -> Callable[[str], float]:
    """Return a type for argparse: frequencies up to 1000 Hz, 0 only with ``zero``."""

    def parse(text: str) -> float:
        value = float(text)
        if not 0 <= value <= 1000 or (value == 0 and not zero):
            msg = f"{text} is not a frequency {'from 0' if zero else 'above 0 and'} up to 1000 Hz"
            raise argparse.ArgumentTypeError(msg)
        return value

    parse.__name__ = "frequency"  # argparse: "invalid frequency value"
    return parse


@contextmanager
def require_extra(command: str, install: str) -> Iterator[None]:
    """Report a missing optional module in one line: which command needs it, and how to install it.

    Raises:
        ConfigError: a module is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("ttt3r_ros"):
            raise
        msg = f"`ttt3r_ros {command}` needs {error.name}: {install}"
        raise ConfigError(msg) from error


def add_settings(parser: Any) -> None:
    """Add the arguments that `parse_config` reads."""
    parser.add_argument(
        "--set", dest="set_", nargs="+", action="extend", default=[], metavar="NAME=VALUE",
        help="any parameter of the node, such as map.voxel_size=0.02",
    )  # fmt: skip
    parser.add_argument("--config", type=Path, metavar="FILE", help="parameter file of the node")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--weights", type=Path, metavar="FILE", help=".pth or .safetensors")


def parse_config(arguments: argparse.Namespace) -> Config:
    """Return the settings: ``--device`` and ``--weights`` override ``--set``, which overrides ``--config``.

    Raises:
        ConfigError: a setting is unknown, does not fit, or is not supported for a recording.
    """
    from ttt3r_ros.offline.options import require_offline_settings  # noqa: PLC0415 - OpenCV takes a while to load

    config = Config()
    if arguments.config:
        config = from_mapping(read_parameter_file(arguments.config))
    config = from_mapping(dict(_parse_assignment(text) for text in arguments.set_), config)
    options = {
        "device": arguments.device,
        "model_path": arguments.weights and str(arguments.weights.expanduser().resolve()),
    }
    config = from_mapping({name: value for name, value in options.items() if value is not None}, config)
    require_offline_settings(config)
    return config


def _parse_assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        msg = f"--set {text}: expected NAME=VALUE"
        raise ConfigError(msg)
    entry = {entry.name: entry for entry in settings()}.get(name)
    return name, value if entry is None else _parse_value(entry, value)


def _parse_value(entry: Setting, text: str) -> Any:
    """Return a value in the type of a setting; text of another type is returned as it is, and refused later."""
    if entry.kind is bool:
        return _BOOLEANS.get(text.lower(), text)
    if entry.kind is tuple:
        return tuple(part.strip() for part in text.strip("[]").split(",") if part.strip())
    try:
        return entry.kind(text)
    except ValueError:
        return text
