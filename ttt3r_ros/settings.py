# SPDX-License-Identifier: Apache-2.0
"""Declaration, validation and YAML of settings: default, meaning, range, and whether the node may change it live.

The settings themselves are in `ttt3r_ros.config`.
"""

from __future__ import annotations

import difflib
import json
import math
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from ttt3r_ros.errors import ConfigError, short_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

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
    """Declare one setting: ``ge`` and ``le`` bound a number, ``choices`` a word; ``live``: may change while running."""
    return field(
        default=default, metadata={"help": help, "ge": ge, "le": le, "choices": choices, "live": live}
    )


_TYPE_NAMES: dict[type[Any], str] = {tuple: "a list of words"}


@dataclass(frozen=True)
class Setting:
    """One setting of a configuration class, with its full name."""

    name: str  # dotted: map.voxel_size
    default: Value
    help: str
    ge: float | None
    le: float | None
    choices: tuple[str, ...]
    live: bool

    @property
    def kind(self) -> type[Value]:
        """Return the type: bool, int, float, str or tuple (of words)."""
        return type(self.default)

    @property
    def description(self) -> str:
        """Return help and, for a number, its range. The help text itself names all choices."""
        if self.ge is None or self.le is None:
            return self.help
        return f"{self.help} Range {_short_number(self.ge)} to {_short_number(self.le)}."

    @property
    def is_switch(self) -> bool:
        """Return whether ``on`` and ``off`` are among the choices."""
        return {"on", "off"} <= set(self.choices)

    def validate(self, value: object) -> Value:
        """Return ``value`` in the type of this setting.

        Raises:
            ConfigError: its type is wrong, or it is out of range or not among the choices.
        """
        value = self._convert(value)
        if self.is_switch and isinstance(value, bool):  # YAML parses an unquoted on or off as a boolean
            value = "on" if value else "off"
        if self.choices and isinstance(value, str):
            # Users write QoS profiles in upper case and encodings in lower case.
            value = {choice.lower(): choice for choice in self.choices}.get(value.lower(), value)
        if type(value) is not self.kind or (
            isinstance(value, tuple) and not all(isinstance(word, str) for word in value)
        ):
            kind = _TYPE_NAMES.get(self.kind, self.kind.__name__)
            msg = f"{self.name} is {short_text(value)}; expected {kind}"
            raise ConfigError(msg)
        assert isinstance(value, bool | int | float | str | tuple)
        self._require_in_range(value)
        return value

    def _convert(self, value: object) -> object:
        """Return the value in the type of this setting if the conversion is exact, else as it is."""
        if self.kind is float and type(value) is int and abs(value) <= 2**53:
            return float(value)
        if self.kind is int and type(value) is float and value.is_integer():
            return int(value)
        if self.kind is tuple:
            # rclpy passes an empty list of a parameter file as None, ROS tools as text or bytes.
            if value is None or value in ("", b""):
                return ()
            if isinstance(value, (list, tuple)):
                return tuple(word for word in value if word != "")
        return value

    def _require_in_range(self, value: Value) -> None:
        if self.choices and value not in self.choices:
            msg = f"{self.name} is {short_text(value)}; expected one of {', '.join(self.choices)}"
            raise ConfigError(msg)
        if isinstance(value, (str, bool, tuple)):
            return
        low = float("-inf") if self.ge is None else self.ge
        high = float("inf") if self.le is None else self.le
        if not (low <= value <= high and math.isfinite(value)):
            msg = f"{self.name} is {short_text(value)}; expected {low} to {high}"
            raise ConfigError(msg)


def _short_number(value: float) -> str:
    return f"{value:g}".replace("e+0", "e")


def declared_settings(config_class: type[Any]) -> tuple[Setting, ...]:
    """Return the settings of a configuration class in the order of their declaration."""
    hashable: Any = config_class  # mypy checks the __hash__ of an instance
    return _declared_settings(hashable, "")


@cache  # a node lists them once for each parameter that it declares
def _declared_settings(config_class: Any, prefix: str) -> tuple[Setting, ...]:
    types = get_type_hints(config_class)
    found: list[Setting] = []
    for entry in fields(config_class):
        if is_dataclass(types[entry.name]):
            found += _declared_settings(types[entry.name], f"{prefix}{entry.name}.")
        else:
            default: Any = entry.default
            found.append(Setting(name=prefix + entry.name, default=default, **entry.metadata))
    return tuple(found)


def with_overrides(base: ConfigT, values: Mapping[str, object]) -> ConfigT:
    """Return ``base`` with the values of dotted names replaced.

    Raises:
        ConfigError: a name is unknown or a value is invalid.
    """
    known = {entry.name: entry for entry in declared_settings(type(base))}
    unknown = [str(name) for name in values if name not in known]
    if unknown:
        msg = (
            f"unknown setting {'; '.join(describe_unknown(name, known) for name in sorted(unknown)[:5])}"
        )
        raise ConfigError(msg)
    config = base
    for name, value in values.items():
        config = _with_value(config, name.split("."), known[name].validate(value))
    return config


def describe_unknown(name: str, known: Collection[str]) -> str:
    """Return an unknown name with the known names most similar to it, or all if none is similar."""
    shown = short_text(name)[1:-1]
    last = name.rpartition(".")[2]
    same_word = [other for other in known if other.rpartition(".")[2] == last]
    similar = dict.fromkeys([*same_word, *difflib.get_close_matches(name[:80], known, n=3, cutoff=0.7)])
    if not similar:
        by_word: dict[str, str] = {other.rpartition(".")[2]: other for other in known}
        similar = dict.fromkeys(
            by_word[word] for word in difflib.get_close_matches(last[:80], by_word, n=3)
        )
    if similar:
        return f"{shown} (did you mean {' or '.join(similar)}?)"
    return f"{shown} (known: {', '.join(known)})"


def _with_value(config: ConfigT, path: list[str], value: Value) -> ConfigT:
    head, *rest = path
    inner: Any = _with_value(getattr(config, head), rest, value) if rest else value
    return replace(config, **{head: inner})  # type: ignore[type-var]


def to_yaml(config_class: type[Any]) -> str:
    """Return the parameter file of the node with all defaults."""
    lines = [
        "# Defaults of all parameters of mapping_node. Written by `ttt3r_ros params`.",
        "/**:",
        "  ros__parameters:",
    ]
    group = ""
    for entry in declared_settings(config_class):
        *path, name = entry.name.split(".")
        indent = "    " + "  " * len(path)
        if path and path[-1] != group:
            group = path[-1]
            lines.append(f"    {group}:")
        lines += [f"{indent}# {entry.description}", f"{indent}{name}: {_yaml_text(entry.default)}"]
    return "\n".join(lines) + "\n"


def _yaml_text(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):  # rcl cannot read an empty list; an empty word stands for it
        return "[" + ", ".join(map(_yaml_text, value or ("",))) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # a string of JSON is one of YAML, too
    if isinstance(value, float) and not math.isfinite(value):
        return str(value).replace("inf", ".inf").replace("nan", ".nan")
    text = str(value)
    # YAML 1.1 reads 1e-05 as a string.
    return text.replace("e", ".0e") if "e" in text and "." not in text else text
