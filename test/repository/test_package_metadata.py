# SPDX-License-Identifier: Apache-2.0
"""Versions, parameters, dependencies and documents agree."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import parameter_table

import ttt3r_ros

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
PACKAGE_XML = ET.parse(ROOT / "package.xml").getroot()


def test_versions_agree():
    printed = subprocess.run(
        [sys.executable, "setup.py", "--version"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()[-1]
    changelog = (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8")
    assert PACKAGE_XML.findtext("version") == ttt3r_ros.__version__ == printed
    assert ttt3r_ros.__version__ in changelog or "Forthcoming" in changelog


def test_the_readme_contains_the_parameter_table():
    lines = README.splitlines()
    assert lines[parameter_table.table_of_the_readme(lines)] == parameter_table.table()


def test_the_readme_names_every_topic_and_service():
    sources = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "ttt3r_ros" / "ros").rglob("*.py")
    )
    names = set(re.findall(r'"(~/[\w/]+)"', sources))
    assert {"~/depth/image", "~/map_cloud", "~/reset"} <= names
    assert [name for name in sorted(names) if f"`{name}`" not in README] == []


def test_the_readme_lists_every_launch_argument():
    text = (ROOT / "launch" / "mapping.launch.py").read_text(encoding="utf-8")
    names = re.findall(r'^        "(\w+)": \(', text, re.MULTILINE) + re.findall(
        r'^    "(\w+)",$', text, re.MULTILINE
    )
    assert {"image_topic", "bag", "model_path"} <= set(names)
    assert [name for name in names if f"`{name}`" not in README] == []


def test_package_xml_declares_the_ros_dependencies():
    required = (
        "rclpy sensor_msgs geometry_msgs nav_msgs std_srvs diagnostic_msgs tf2_msgs tf2_ros cv_bridge sensor_msgs_py "
        "tf_transformations launch launch_ros launch_testing"
    )
    declared = {element.text for element in PACKAGE_XML if element.tag.endswith("depend")}
    assert set(required.split()) <= declared
    assert PACKAGE_XML.get("format") == "3"


def test_documents_contain_no_placeholder():
    pattern = re.compile(r"@[A-Z]+@|\bTODO\b|\bTBD\b")
    assert [name for name, text in DOCUMENTS.items() if pattern.search(text)] == []


def test_scripts_are_executable():
    scripts = ("scripts/demo", "scripts/test", ".ci/run")
    assert [name for name in scripts if not (ROOT / name).stat().st_mode & 0o100] == []


def test_every_relative_link_of_the_documents_leads_to_a_file():
    links = [
        (name, target)
        for name, text in DOCUMENTS.items()
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
        if "://" not in target
    ]
    assert len(links) > 30
    assert [
        (name, target) for name, target in links if not ((ROOT / name).parent / target).exists()
    ] == []


def test_the_wheels_of_kilted_are_those_of_jazzy():
    requirements = {
        name: set(
            re.findall(
                rf"ros-{name}-([\w-]+)", (ROOT / "packaging" / folder / "pyproject.toml").read_text()
            )
        )
        for name, folder in (("jazzy", "tf2_msgs"), ("kilted", "tf2_msgs_kilted"))
    }
    assert len(requirements["jazzy"]) > 10
    # Two packages of Jazzy do not exist there, and one is new.
    assert requirements["jazzy"] - requirements["kilted"] == {
        "python-cmake-module",
        "fastrtps-cmake-module",
    }
    assert requirements["kilted"] - requirements["jazzy"] == {"ament-cmake-ros-core"}
    versions = {
        re.search(
            r'^version = "([\d.]+)"', (ROOT / "packaging" / folder / "pyproject.toml").read_text(), re.M
        )[1]
        for folder in ("tf2_msgs", "tf2_msgs_kilted")
    }
    assert versions == {ET.parse(ROOT / "packaging" / "tf2_msgs" / "package.xml").findtext("version")}
