# SPDX-License-Identifier: Apache-2.0
"""What can be said of every launch file, layout and container without ROS tools."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from ttt3r_ros.config import settings

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "launch").glob("*.launch.py"))
WRAPPERS = [path for path in FILES if path.name != "mapping.launch.py"]
SETTINGS = {entry.name: entry for entry in settings()}
MAPPING = (ROOT / "launch" / "mapping.launch.py").read_text()
WRAPPING = (ROOT / "ttt3r_ros" / "ros" / "launch_support" / "wrapping.py").read_text()


def defaults(path: Path) -> dict[str, tuple[str, str]]:
    """Return the literal DEFAULTS of a wrapper: name -> (default, description)."""
    (value,) = (
        node.value
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DEFAULTS"
    )
    return ast.literal_eval(value)


def test_there_is_a_launch_file_for_each_common_robot():
    names = {path.name.removesuffix(".launch.py") for path in FILES}
    assert names == {
        *(
            "mapping",
            "replay",
            "realsense",
            "zed",
            "oakd",
            "usb_cam",
            "gscam",
            "turtlebot3",
            "turtlebot4",
        ),
        *("nav2", "rtabmap", "nvblox", "multi_camera", "offboard", "tum_bag", "euroc_bag"),
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_launch_file_compiles_and_says_how_to_try_it(path):
    tree = ast.parse(path.read_text(), path.name, feature_version=(3, 10))
    compile(tree, path.name, "exec")
    assert f"ros2 launch ttt3r_ros {path.name}" in (ast.get_docstring(tree) or "")


@pytest.mark.parametrize("path", WRAPPERS, ids=lambda path: path.name)
def test_its_arguments_are_described_and_those_of_the_node_have_allowed_defaults(path):
    for name, (default, description) in defaults(path).items():
        assert description.endswith("."), name
        if name in SETTINGS:
            entry = SETTINGS[name]
            entry.checked({"true": True, "false": False}[default] if entry.kind is bool else default)
            assert f'"{name}",' in MAPPING, f"{name} is not forwarded to the node"
        elif f"{name}:" not in MAPPING and f'"{name}"' not in MAPPING:
            text = path.read_text() + (WRAPPING if "depth_parameters()" in path.read_text() else "")
            assert f'LaunchConfiguration("{name}")' in text, f"nobody uses {name}"


@pytest.mark.parametrize("path", WRAPPERS, ids=lambda path: path.name)
def test_files_that_it_names_exist(path):
    file, _ = defaults(path).get("params_file", ("wheeled.yaml", ""))
    assert (ROOT / "config" / "robots" / file).is_file()
    for folder, name in re.findall(r'"config" / "(\w+)" / "([\w.]+)"', path.read_text()):
        assert (ROOT / "config" / folder / name).is_file()


def test_files_that_all_share_exist():
    for name in re.findall(r'robot_parameters\("([\w.]+)"\)', WRAPPING):
        assert (ROOT / "config" / "robots" / name).is_file()


@pytest.mark.parametrize("path", WRAPPERS, ids=lambda path: path.name)
def test_a_wrapper_says_only_what_is_its_own(path):
    text = path.read_text()
    assert re.search(r"return mapping_launch\(\s*DEFAULTS", text)
    assert "IncludeLaunchDescription" not in text
    assert "DeclareLaunchArgument" not in text


def test_the_documents_name_every_launch_file_and_their_number():
    numbers = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"]
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert f"{numbers[len(WRAPPERS) - 10]} more launch files".lower() in readme.lower()
    robots = (ROOT / "docs" / "robots.md").read_text()
    assert [path.name for path in FILES if f"`{path.name.split('.')[0]}`" not in robots] == []


def test_the_readme_lists_settings_that_are_launch_arguments():
    readme = (ROOT / "README.md").read_text()
    section = readme[readme.index("### Launch arguments") : readme.index("### Large images")]
    (forwarded,) = re.findall(r"^FORWARDED = (\(.*?^\))", MAPPING, re.MULTILINE | re.DOTALL)
    assert {"cameras", "rig", "scale.source", "depth.resolution"} <= set(ast.literal_eval(forwarded))
    assert [name for name in ast.literal_eval(forwarded) if f"`{name}`" not in section] == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "config" / "robots").glob("*.yaml")), ids=lambda path: path.name
)
def test_parameters_for_a_robot_exist_and_are_allowed(path):
    def check(tree, prefix=""):
        for name, value in tree.items():
            if isinstance(value, dict):
                check(value, f"{prefix}{name}.")
            else:
                SETTINGS[prefix + name].checked(value)

    check(yaml.safe_load(path.read_text())["/**"]["ros__parameters"])


def test_layouts_show_topics_that_the_node_publishes():
    sources = "".join(path.read_text() for path in (ROOT / "ttt3r_ros" / "ros").rglob("*.py"))
    published = {f"/mapping_node/{name}" for name in re.findall(r'"~/([\w/]+)"', sources)}
    for layout in ("ttt3r.rviz", "foxglove_layout.json"):
        shown = set(re.findall(r"/mapping_node/[\w/]+", (ROOT / "config" / layout).read_text()))
        assert shown
        assert shown <= published
    json.loads((ROOT / "config" / "foxglove_layout.json").read_text())
    yaml.safe_load((ROOT / "config" / "nav2.yaml").read_text())


def test_every_launch_and_config_file_is_installed():
    patterns = re.findall(r'\.glob\("((?:launch|config)/[^"]+)"\)', (ROOT / "setup.py").read_text())
    installed = {path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()}
    assert installed == {*FILES, *(path for path in (ROOT / "config").rglob("*") if path.is_file())}


@pytest.mark.parametrize("path", sorted((ROOT / "docker").iterdir()), ids=lambda path: path.name)
def test_containers_are_built_from_files_that_exist(path):
    if path.suffix == ".sh":
        subprocess.run(["bash", "-n", str(path)], check=True)
    for source in re.findall(r"^COPY (\S+) ", path.read_text(), re.MULTILINE):
        assert (ROOT / source).exists()


def test_compose_builds_every_container_and_starts_a_launch_file():
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"].values()
    built = {service["build"]["dockerfile"] for service in services}
    assert built == {f"docker/{path.name}" for path in (ROOT / "docker").glob("*.Dockerfile")}
    for service in services:
        assert (ROOT / "launch" / service["command"].split()[-1]).is_file()


def test_parameters_for_nav2_can_be_read_by_rcl():
    text = (ROOT / "config" / "nav2.yaml").read_text()
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        assert getattr(event, "anchor", None) is None, "rcl reads neither anchors nor aliases"
    for section, nodes in yaml.safe_load(text).items():
        inner = nodes.get(section, nodes)
        assert "ros__parameters" in inner, section
