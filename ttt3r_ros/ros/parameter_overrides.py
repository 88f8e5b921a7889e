# SPDX-License-Identifier: Apache-2.0
"""Report start parameters without effect: unknown names, and files for another node."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttt3r_ros.config import settings
from ttt3r_ros.errors import SourceError, short_text
from ttt3r_ros.settings import describe_unknown
from ttt3r_ros.text_files import read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rclpy.node import Node

_SECTION = "ros__parameters"
_DECLARED_LATER = ("qos_overrides.",)


def warn_unused(node: Node, arguments: Sequence[str]) -> None:
    """Log a warning for each unknown parameter, and for each file of the arguments without a section of this node."""
    log = node.get_logger()
    known = [entry.name for entry in settings()]
    for name in sorted(getattr(node, "_parameter_overrides", {})):  # rclpy has no public access
        if not node.has_parameter(name) and not name.startswith(_DECLARED_LATER):
            log.warning(f"unknown parameter {describe_unknown(name, known)}; it has no effect")
    own = node.get_fully_qualified_name()
    for path in parameter_files(arguments):
        keys = _node_keys(path)
        if keys and not any(matches_node(key, own) for key in keys):
            shown = ", ".join(short_text(key) for key in keys[:5])
            log.warning(
                f"{path} has parameters of {shown}, none of this node; write {own}: or /**: in place of the name"
            )


def parameter_files(arguments: Sequence[str]) -> list[Path]:
    """Return the files of ``--params-file`` in the arguments of a process."""
    return [Path(file) for option, file in pairwise(arguments) if option == "--params-file"]


def matches_node(key: str, name: str) -> bool:
    """Return whether a key of a parameter file matches a fully qualified node name, by the rules of rcl."""
    patterns = {"**": "(/[^/]+)*", "*": "/[^/]+"}
    tokens = [token for token in key.split("/") if token]
    return bool(re.fullmatch("".join(patterns.get(t, "/" + re.escape(t)) for t in tokens), name))


def _node_keys(path: Path) -> list[str]:
    try:
        return list(_keys(read_yaml(path), ""))
    except SourceError:  # rcl has read the file; without PyYAML its keys are unknown
        return []


def _keys(content: Any, prefix: str) -> Iterator[str]:
    """Yield the names above ``ros__parameters``; namespaces may be nested."""
    for name, section in content.items() if isinstance(content, dict) else ():
        if isinstance(section, dict):
            key = f"{prefix}{name}"
            if _SECTION in section:
                yield key
            yield from _keys({k: v for k, v in section.items() if k != _SECTION}, f"{key}/")
