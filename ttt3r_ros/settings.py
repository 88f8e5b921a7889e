# SPDX-License-Identifier: Apache-2.0
"""What a setting is: default, meaning, range, whether it may change while the node runs; checks and the YAML file.

The settings themselves are in `ttt3r_ros.config`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from ttt3r_ros.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

Value = bool | int | float | str | tuple[str, ...]
ConfigT = TypeVar("ConfigT")


def setting(
    default: Value,
    help: str,  # noqa: A002
    *,
    ge: float | None = None,
    le: float | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
) -> Any:
    """Declare one setting; ``ge`` and ``le`` bound numbers, ``choices`` words; ``live``: may change at any time."""
    return field(
        default=default, metadata={"help": help, "ge": ge, "le": le, "choices": choices, "live": live}
    )


_KIND_NAMES: dict[type[Any], str] = {tuple: "a list of words"}


@dataclass(frozen=True)
class Setting:
    """One entry of a configuration, flattened."""

    name: str  # dotted
    default: Value
    help: str
    ge: float | None
    le: float | None
    choices: tuple[str, ...]
    live: bool

    @property
    def kind(self) -> type[Value]:
        """Return bool, int, float, str or tuple (of words)."""
        return type(self.default)

    @property
    def is_switch(self) -> bool:
        """Return whether ``on`` and ``off`` are among the choices."""
        return {"on", "off"} <= set(self.choices)

    def checked(self, value: object) -> Value:
        """Return ``value`` in this setting's type.

        Raises:
            ConfigError: it has another type, is out of range or not among the choices.
        """
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if self.is_switch and isinstance(
            value, bool
        ):  # YAML reads an unquoted on or off as a truth value
            value = "on" if value else "off"
        if self.choices and isinstance(value, str):
            # Names of QoS profiles are often written in capitals, those of encodings in small letters.
            value = {choice.lower(): choice for choice in self.choices}.get(value.lower(), value)
        if self.kind is tuple and isinstance(value, (list, tuple)):
            value = tuple(word for word in value if word != "")
        if type(value) is not self.kind or (
            isinstance(value, tuple) and not all(isinstance(word, str) for word in value)
        ):
            msg = f"{self.name} is {value!r}; expected {_KIND_NAMES.get(self.kind, self.kind.__name__)}"
            raise ConfigError(msg)
        assert isinstance(value, bool | int | float | str | tuple)
        self._check_range(value)
        return value

    def _check_range(self, value: Value) -> None:
        if self.choices and value not in self.choices:
            msg = f"{self.name} is {value!r}; expected one of {', '.join(self.choices)}"
            raise ConfigError(msg)
        if isinstance(value, (str, bool, tuple)):
            return
        low = float("-inf") if self.ge is None else self.ge
        high = float("inf") if self.le is None else self.le
        if not (low <= value <= high and math.isfinite(value)):
            msg = f"{self.name} is {value}; expected {low} to {high}"
            raise ConfigError(msg)


def settings_of(config_class: type[Any]) -> tuple[Setting, ...]:
    """List the settings of a configuration class in the order of their declaration."""
    hashable: Any = config_class  # mypy looks for the __hash__ of an instance
    return _settings_of(hashable, "")


@cache  # a node asks anew for each parameter that it declares
def _settings_of(config_class: Any, prefix: str) -> tuple[Setting, ...]:
    types = get_type_hints(config_class)
    found: list[Setting] = []
    for entry in fields(config_class):
        if is_dataclass(types[entry.name]):
            found += _settings_of(types[entry.name], f"{prefix}{entry.name}.")
        else:
            default: Any = entry.default
            found.append(Setting(name=prefix + entry.name, default=default, **entry.metadata))
    return tuple(found)


def overridden(base: ConfigT, values: Mapping[str, object]) -> ConfigT:
    """Return ``base`` with dotted names overridden.

    Raises:
        ConfigError: a name is unknown or a value does not fit.
    """
    known = {entry.name: entry for entry in settings_of(type(base))}
    unknown = [name for name in values if name not in known]
    if unknown:
        msg = f"unknown setting {', '.join(sorted(unknown))}; known: {', '.join(known)}"
        raise ConfigError(msg)
    config = base
    for name, value in values.items():
        config = _replaced(config, name.split("."), known[name].checked(value))
    return config


def _replaced(config: ConfigT, path: list[str], value: Value) -> ConfigT:
    head, *rest = path
    inner: Any = _replaced(getattr(config, head), rest, value) if rest else value
    return replace(config, **{head: inner})  # type: ignore[type-var]


def yaml_of(config_class: type[Any]) -> str:
    """Return the parameter file of the node with every setting at its default."""
    lines = [
        "# Every parameter of mapping_node at its default. Written by `ttt3r_ros params`.",
        "/**:",
        "  ros__parameters:",
    ]
    group = ""
    for entry in settings_of(config_class):
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
    if isinstance(value, tuple):  # rcl reads no empty list; an empty word stands for none
        return "[" + ", ".join(f'"{word}"' for word in value or ("",)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)
