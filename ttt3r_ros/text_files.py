# SPDX-License-Identifier: Apache-2.0
"""Reading of text, JSON and YAML files of unknown origin, with bounded time and memory."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from ttt3r_ros.errors import SourceError, short_text

if TYPE_CHECKING:
    from pathlib import Path

_MAX_YAML_BYTES = 2**20  # PyYAML needs seconds for one MiB
_MAX_FILE_BYTES = 2**34
_MAX_DEPTH = 100  # of nested lists and mappings
_MAX_MESSAGE = 200
_MAX_NODES = 100_000  # of a YAML document, with every alias replaced by its content
# PyYAML raises most of them for a value that does not fit its tag, such as "!!int x" or "!!timestamp x".
_PARSE_ERRORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


def read_bytes(path: Path, max_bytes: int = _MAX_FILE_BYTES) -> bytes:
    """Return the content of a regular file.

    Raises:
        SourceError: the file cannot be read, or is too large.
    """
    try:
        if path.exists() and not path.is_file():
            kind = "folder" if path.is_dir() else "device or pipe"
            msg = f"{path} is a {kind}; expected a file"
            raise SourceError(msg)
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise SourceError(msg) from error
    except ValueError as error:  # a NUL character in the name
        msg = f"{str(path)!r} cannot be read: {error}"
        raise SourceError(msg) from error
    if len(content) > max_bytes:
        msg = f"{path} has more than {max_bytes} bytes, the limit for this kind of file"
        raise SourceError(msg)
    return content


def read_text(path: Path, max_bytes: int = _MAX_FILE_BYTES) -> str:
    """Return the content of a UTF-8 file; a byte order mark is dropped.

    Raises:
        SourceError: the file cannot be read, is too large, or is not text.
    """
    content = read_bytes(path, max_bytes)
    position = content.find(b"\0")
    if position >= 0:
        msg = f"{path} is not text: byte {position} is NUL"
        raise SourceError(msg)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{path} is not UTF-8 text: byte {error.start} is 0x{content[error.start]:02x}"
        raise SourceError(msg) from error


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        SourceError: the file cannot be read, is not JSON, or contains no object.
    """
    text = read_text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        msg = f"{path} is not JSON: {_one_line(error) if text.strip() else 'the file is empty'}"
        raise SourceError(msg) from error
    if not isinstance(content, dict):
        msg = f"{path}: expected a JSON object, found {short_text(content)}"
        raise SourceError(msg)
    return content


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file, also of one that OpenCV wrote.

    Raises:
        SourceError: the file cannot be read, is not YAML, nests or repeats too much, or PyYAML is not installed.
    """
    try:
        import yaml  # noqa: PLC0415 - an optional dependency
    except ImportError as error:
        msg = f"{path} cannot be read without PyYAML: pip install 'ttt3r_ros[run]'"
        raise SourceError(msg) from error
    # OpenCV writes "%YAML:1.0", which is not a directive of YAML.
    text = re.sub(r"\A%YAML:.*\n", "", read_text(path, _MAX_YAML_BYTES))
    try:
        return yaml.load(text, Loader=_bounded_loader())  # noqa: S506 - a subclass of SafeLoader
    except (yaml.YAMLError, *_PARSE_ERRORS) as error:
        msg = f"{path} is not YAML: {_one_line(error)}"
        raise SourceError(msg) from error


def _bounded_loader() -> type[Any]:
    import yaml  # noqa: PLC0415 - an optional dependency

    class BoundedLoader(yaml.SafeLoader):
        """Counts nodes before values are built: merge keys and printing expand aliases exponentially."""

        def __init__(self, stream: str) -> None:
            super().__init__(stream)
            self._depth = 0
            self._sizes: dict[int, int] = {}  # expanded size by the id of a finished node

        def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
            """Compose one node; raise if it is too deep, or too large once its aliases are expanded."""
            self._depth += 1
            if self._depth > _MAX_DEPTH:
                raise _limit_error(self, f"more than {_MAX_DEPTH} nested levels")
            node: yaml.Node | None = super().compose_node(parent, index)
            self._depth -= 1
            if node is not None and id(node) not in self._sizes:
                self._sizes[id(node)] = self._expanded_size(node)
            return node

        def _expanded_size(self, node: yaml.Node) -> int:
            children: list[Any] = []
            if isinstance(node, yaml.MappingNode):
                children = [child for pair in node.value for child in pair]
            elif isinstance(node, yaml.SequenceNode):
                children = node.value
            if any(id(child) not in self._sizes for child in children):  # an alias of an enclosing node
                raise _limit_error(self, "an alias contains itself")
            size = 1 + sum(self._sizes[id(child)] for child in children)
            if size > _MAX_NODES:
                raise _limit_error(self, f"more than {_MAX_NODES} values once its aliases are expanded")
            return size

    loader: Any = BoundedLoader  # reads the matrices of cv2.FileStorage as mappings
    loader.add_constructor("tag:yaml.org,2002:opencv-matrix", loader.construct_yaml_map)
    return BoundedLoader


def _limit_error(loader: Any, problem: str) -> Exception:
    import yaml  # noqa: PLC0415 - an optional dependency

    return yaml.MarkedYAMLError(problem=problem, problem_mark=loader.peek_event().start_mark)


def _one_line(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it nests too deeply"
    text = " ".join(str(error).replace('in "<unicode string>", ', "at ").split())
    return text if len(text) <= _MAX_MESSAGE else f"{text[:_MAX_MESSAGE]}..."
