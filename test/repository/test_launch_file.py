# SPDX-License-Identifier: Apache-2.0
"""mapping.launch.py, parsed and not imported, so that the launch packages are not needed."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from ttt3r_ros.config import settings
from ttt3r_ros.ros import middleware

ROOT = Path(__file__).resolve().parents[2]
LAUNCH_FILE = ROOT / "launch" / "mapping.launch.py"


@pytest.fixture(scope="module")
def tree() -> ast.Module:
    return ast.parse(LAUNCH_FILE.read_text(), LAUNCH_FILE.name, feature_version=(3, 10))


def constant(tree: ast.Module, name: str) -> Any:
    """Return a literal that the file assigns, at any depth."""
    (value,) = (
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
    )
    return value


def keyword_values(tree: ast.Module, keyword: str) -> set[str]:
    return {
        node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == keyword and isinstance(node.value, ast.Constant)
    }


def test_the_launch_file_compiles_and_has_its_entry_point(tree):
    compile(tree, LAUNCH_FILE.name, "exec")
    assert "generate_launch_description" in [
        node.name for node in tree.body if isinstance(node, ast.FunctionDef)
    ]


def test_forwarded_arguments_are_settings(tree):
    names = ast.literal_eval(constant(tree, "FORWARDED"))
    assert set(names) <= {entry.name for entry in settings()}
    assert len(set(names)) == len(names)


def test_the_other_arguments_shadow_no_setting(tree):
    names = {ast.literal_eval(key) for key in constant(tree, "texts").keys}
    assert {"image_topic", "params_file", "bag"} <= names
    assert names.isdisjoint(entry.name for entry in settings())


def test_launch_and_node_agree_on_the_variables_of_the_fast_dds_profile(tree):
    assert ast.literal_eval(constant(tree, "FAST_DDS_VARIABLES")) == middleware._PROFILE_VARIABLES


def test_the_program_that_is_launched_is_installed_by_setup(tree):
    assert "mapping_node" in keyword_values(tree, "executable")
    assert re.search(r'"mapping_node = ttt3r_ros\.ros\.main:main"', (ROOT / "setup.py").read_text())


def test_files_that_the_launch_file_names_exist():
    named = re.findall(r'"(\w+)" / "([\w.]+)"', LAUNCH_FILE.read_text())
    assert len(named) >= 3
    folders = (ROOT, ROOT / "ttt3r_ros")
    assert [
        pair for pair in named if not any(folder.joinpath(*pair).is_file() for folder in folders)
    ] == []
