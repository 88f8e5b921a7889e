# SPDX-License-Identifier: Apache-2.0
"""Merge two ROS parameter files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path


class _PlainDumper(yaml.SafeDumper):
    """Writes no YAML aliases, which rcl does not read."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def overlay(base: Path, upper: Path) -> str:
    """Return the YAML text of ``base`` overridden by ``upper``: sections are merged, values and lists replaced.

    Raises:
        ValueError: a file is not a mapping.
    """
    return yaml.dump(merge(_read(base), _read(upper)), Dumper=_PlainDumper, sort_keys=False)


def merge(base: dict[str, Any], upper: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of ``base`` overridden by ``upper``."""
    result = dict(base)
    for name, value in upper.items():
        below = base.get(name)
        result[name] = (
            merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
        )
    return result


def _read(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        msg = f"{path} contains {type(content).__name__}; expected a mapping of node names"
        raise ValueError(msg)  # noqa: TRY004 - the file's content is invalid
    return content
