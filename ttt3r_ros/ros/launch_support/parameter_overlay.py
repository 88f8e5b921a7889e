# SPDX-License-Identifier: Apache-2.0
"""One parameter file laid over another: what both name is taken from the upper one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path


class _Plain(yaml.SafeDumper):
    """Repeats what occurs twice: rcl reads neither anchors nor aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def overlay(base: Path, upper: Path) -> str:
    """Return the YAML text of ``base`` with ``upper`` laid over it: sections merge, values and lists are replaced.

    Raises:
        ValueError: a file holds no mapping.
    """
    return yaml.dump(merge(_read(base), _read(upper)), Dumper=_Plain, sort_keys=False)


def merge(base: dict[str, Any], upper: dict[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``upper`` laid over it; neither is changed."""
    both = dict(base)
    for name, value in upper.items():
        below = base.get(name)
        both[name] = (
            merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
        )
    return both


def _read(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        msg = f"{path} holds {type(content).__name__}; expected a mapping of node names"
        raise ValueError(msg)  # noqa: TRY004 - it is the file's content that is wrong
    return content
