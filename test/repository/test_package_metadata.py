# SPDX-License-Identifier: Apache-2.0
"""One fact, one value: versions, parameters, dependencies and documents agree."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

import ttt3r_ros
from ttt3r_ros.config import parameters_yaml, settings

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PACKAGE_XML = ET.parse(ROOT / "package.xml").getroot()


def test_versions_agree():
    printed = subprocess.run(
        [sys.executable, "setup.py", "--version"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()[-1]
    changelog = (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8")
    assert PACKAGE_XML.findtext("version") == ttt3r_ros.__version__ == printed
    assert ttt3r_ros.__version__ in changelog or "Forthcoming" in changelog


def test_the_shipped_parameter_file_is_the_defaults():
    text = (ROOT / "config" / "ttt3r.yaml").read_text(encoding="utf-8")
    assert text == parameters_yaml()
    nested = yaml.safe_load(text)["/**"]["ros__parameters"]
    flat = {}
    for name, value in nested.items():
        flat |= (
            {f"{name}.{key}": inner for key, inner in value.items()}
            if isinstance(value, dict)
            else {name: value}
        )
    assert {entry.name: entry.checked(flat[entry.name]) for entry in settings()} == {
        entry.name: entry.default for entry in settings()
    }
    assert len(flat) == len(list(settings()))


@pytest.mark.parametrize("entry", list(settings()), ids=lambda entry: entry.name)
def test_the_readme_lists_every_parameter_with_its_default(entry):
    default = str(entry.default).lower() if entry.kind is bool else str(entry.default or "")
    default = str(entry.default) if entry.kind in (int, float) else default
    row = f"| `{entry.name}` | " + (f"`{default}`" if default else "") + " |"
    assert row in README


def test_the_readme_names_every_topic_and_service():
    sources = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "ttt3r_ros" / "ros").rglob("*.py")
    )
    names = set(re.findall(r'"(~/[\w/]+)"', sources))
    assert {"~/depth/image", "~/map_cloud", "~/reset"} <= names
    for name in names:
        assert f"`{name}`" in README, name


def test_the_readme_lists_every_launch_argument():
    text = (ROOT / "launch" / "mapping.launch.py").read_text(encoding="utf-8")
    names = re.findall(r'^        "(\w+)": \(', text, re.MULTILINE) + re.findall(
        r'^    "(\w+)",$', text, re.MULTILINE
    )
    assert {"image_topic", "bag", "model_path"} <= set(names)
    for name in names:
        assert f"`{name}`" in README, name


def test_package_xml_depends_on_what_ros_users_expect():
    wanted = (
        "rclpy sensor_msgs geometry_msgs nav_msgs std_srvs diagnostic_msgs tf2_msgs tf2_ros cv_bridge sensor_msgs_py "
        "tf_transformations launch launch_ros launch_testing"
    )
    declared = {element.text for element in PACKAGE_XML if element.tag.endswith("depend")}
    assert set(wanted.split()) <= declared
    assert PACKAGE_XML.get("format") == "3"


def test_no_placeholder_is_left_in_the_documents():
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        assert not re.search(r"@[A-Z]+@|\bTODO\b|\bTBD\b", document.read_text(encoding="utf-8")), (
            document.name
        )


def test_scripts_are_executable():
    for name in ("scripts/demo", "scripts/test", ".ci/run"):
        assert (ROOT / name).stat().st_mode & 0o100, name


def test_every_relative_link_of_the_documents_leads_somewhere():
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"
