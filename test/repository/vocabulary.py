# SPDX-License-Identifier: Apache-2.0
"""Identifiers, comments, strings and documents of the repository as texts, to search them for words."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]


class Text(NamedTuple):
    """One line of a comment, string or document, or the words of one identifier."""

    file: str
    line: int
    text: str


def tracked(*patterns: str) -> list[str]:
    """Return the files of the repository that match a pattern."""
    command = ["git", "ls-files", "-z", "--", *patterns]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def texts_of_documents(names: list[str]) -> Iterator[Text]:
    for name in names:
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        yield from (Text(name, number, line) for number, line in enumerate(lines, 1))


def texts_of_code(names: list[str]) -> Iterator[Text]:
    for name in names:
        yield from _comments(name)
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.Constant):
                yield from _string(name, node)
            elif identifier := _defined_name(node):
                yield Text(name, getattr(node, "lineno", 0), separated(identifier))


def functions(names: list[str]) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for name in names:
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield name, node


@cache
def tree(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text(encoding="utf-8"), name)


def separated(identifier: str) -> str:
    """Return the words of an identifier, separated by spaces."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_+", " ", identifier).strip()


def _comments(name: str) -> Iterator[Text]:
    source = io.StringIO((ROOT / name).read_text(encoding="utf-8"))
    for token in tokenize.generate_tokens(source.readline):
        if token.type == tokenize.COMMENT:
            yield Text(name, token.start[0], token.string)


def _string(name: str, node: ast.Constant) -> Iterator[Text]:
    if isinstance(node.value, str) and " " in node.value:  # a text, not a key or a path
        lines = node.value.splitlines()
        yield from (Text(name, node.lineno + index, line) for index, line in enumerate(lines))


def _defined_name(node: ast.AST) -> str | None:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node.name
    if isinstance(node, ast.arg):
        return node.arg
    if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
        return node.id if isinstance(node, ast.Name) else node.attr
    return None
