# SPDX-License-Identifier: Apache-2.0
"""mapping.launch.py, parsed and not imported, so that the launch packages are not needed."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

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


FAST_DDS_2, FAST_DDS_3 = "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"


@pytest.mark.parametrize(
    ("set_before", "expected"),
    [
        ({}, {FAST_DDS_2: str(middleware.PROFILE), FAST_DDS_3: str(middleware.PROFILE)}),
        ({FAST_DDS_2: "/own.xml"}, {FAST_DDS_2: "/own.xml", FAST_DDS_3: "/own.xml"}),
        ({FAST_DDS_3: "/own.xml"}, {FAST_DDS_2: "/own.xml", FAST_DDS_3: "/own.xml"}),
        ({FAST_DDS_2: "/2.xml", FAST_DDS_3: "/3.xml"}, {FAST_DDS_2: "/2.xml", FAST_DDS_3: "/3.xml"}),
        ({FAST_DDS_2: "", FAST_DDS_3: "/own.xml"}, {FAST_DDS_2: "/own.xml", FAST_DDS_3: "/own.xml"}),
    ],
)
def test_both_versions_of_fast_dds_have_a_profile(monkeypatch, set_before, expected):
    for name in (FAST_DDS_2, FAST_DDS_3):
        monkeypatch.setenv(name, set_before.get(name, ""))
    middleware.use_large_image_profile()
    assert {name: os.environ[name] for name in expected} == expected


def test_the_fast_dds_profile_requests_udp_buffers_for_whole_images():
    names = {"s": "http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"}
    transports = ET.parse(middleware.PROFILE).getroot().iterfind(".//s:transport_descriptor", names)
    udp = next(t for t in transports if t.findtext("s:type", namespaces=names) == "UDPv4")
    for buffer in ("sendBufferSize", "receiveBufferSize"):
        assert int(udp.findtext(f"s:{buffer}", namespaces=names)) >= 4 * 2**20


def test_the_program_that_is_launched_is_installed_by_setup(tree):
    assert "mapping_node" in keyword_values(tree, "executable")
    assert re.search(r'"mapping_node = ttt3r_ros\.ros\.main:main"', (ROOT / "setup.py").read_text())


def test_files_that_the_launch_file_names_exist():
    named = re.findall(r'"(\w+)" / "([\w.]+)"', LAUNCH_FILE.read_text())
    assert len(named) >= 2
    folders = (ROOT, ROOT / "ttt3r_ros")
    assert [
        pair for pair in named if not any(folder.joinpath(*pair).is_file() for folder in folders)
    ] == []
