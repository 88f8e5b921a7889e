# SPDX-License-Identifier: Apache-2.0
"""Every launch file, layout and container, checked without ROS tools."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path

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


def test_every_launch_file_compiles_and_its_docstring_contains_its_command():
    without = []
    for path in FILES:
        tree = ast.parse(path.read_text(), path.name, feature_version=(3, 10))
        compile(tree, path.name, "exec")
        if f"ros2 launch ttt3r_ros {path.name}" not in (ast.get_docstring(tree) or ""):
            without.append(path.name)
    assert without == []


def arguments() -> list[tuple[Path, str, str, str]]:
    """Return file, name, default and description of every argument of every wrapper."""
    return [(path, name, *texts) for path in WRAPPERS for name, texts in defaults(path).items()]


def test_every_argument_of_a_wrapper_has_a_sentence_as_description():
    assert [(path.name, name) for path, name, _, text in arguments() if not text.endswith(".")] == []


def test_every_setting_among_the_arguments_is_forwarded_and_has_a_valid_default():
    for _, name, default, _ in arguments():
        if name in SETTINGS:
            entry = SETTINGS[name]
            entry.validate({"true": True, "false": False}[default] if entry.kind is bool else default)
    names = {name for _, name, _, _ in arguments() if name in SETTINGS}
    assert len(names) > 3
    assert [name for name in names if f'"{name}",' not in MAPPING] == []


def test_every_other_argument_is_used():
    unused = []
    for path, name, _, _ in arguments():
        text = path.read_text() + (WRAPPING if "depth_parameters()" in path.read_text() else "")
        used = (f"{name}:" in MAPPING, f'"{name}"' in MAPPING, f'LaunchConfiguration("{name}")' in text)
        if name not in SETTINGS and not any(used):
            unused.append((path.name, name))
    assert unused == []


def test_every_file_that_a_wrapper_names_exists():
    named = [("robots", name) for name in re.findall(r'robot_parameters\("([\w.]+)"\)', WRAPPING)]
    for path in WRAPPERS:
        if "params_file" in defaults(path):
            named.append(("robots", defaults(path)["params_file"][0]))
        named += re.findall(r'"config" / "(\w+)" / "([\w.]+)"', path.read_text())
    assert len(named) > 3
    assert [pair for pair in named if not (ROOT / "config").joinpath(*pair).is_file()] == []


def test_wrappers_use_the_shared_functions():
    assert [
        p.name for p in WRAPPERS if not re.search(r"return mapping_launch\(\s*DEFAULTS", p.read_text())
    ] == []
    own = ("IncludeLaunchDescription", "DeclareLaunchArgument")
    assert [path.name for path in WRAPPERS if any(word in path.read_text() for word in own)] == []


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


def test_parameter_files_for_robots_contain_valid_settings():
    def validate(tree, prefix=""):
        for name, value in tree.items():
            if isinstance(value, dict):
                validate(value, f"{prefix}{name}.")
            else:
                SETTINGS[prefix + name].validate(value)

    paths = sorted((ROOT / "config" / "robots").glob("*.yaml"))
    assert len(paths) > 3
    for path in paths:
        validate(yaml.safe_load(path.read_text())["/**"]["ros__parameters"])


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


def test_containers_copy_files_that_exist():
    copied = {
        source
        for path in (ROOT / "docker").iterdir()
        for source in re.findall(r"^COPY (\S+) ", path.read_text(), re.MULTILINE)
    }
    assert copied
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_shell_scripts_of_containers_parse():
    for path in (ROOT / "docker").glob("*.sh"):
        subprocess.run(["bash", "-n", str(path)], check=True)


def test_compose_builds_every_container_and_starts_a_launch_file():
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"].values()
    built = {service["build"]["dockerfile"] for service in services}
    assert built == {f"docker/{path.name}" for path in (ROOT / "docker").glob("*.Dockerfile")}
    for service in services:
        assert (ROOT / "launch" / service["command"].split()[-1]).is_file()


def test_rcl_can_read_the_parameters_for_nav2():
    text = (ROOT / "config" / "nav2.yaml").read_text()
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        assert getattr(event, "anchor", None) is None, "rcl supports neither anchors nor aliases"
    for section, nodes in yaml.safe_load(text).items():
        inner = nodes.get(section, nodes)
        assert "ros__parameters" in inner, section
