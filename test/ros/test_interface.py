# SPDX-License-Identifier: Apache-2.0
"""README and docs/interface.md have every topic, service and diagnostics key of the node, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ttt3r_ros.ros.diagnostics import KEYS

pytestmark = pytest.mark.ros
ROOT = Path(__file__).resolve().parents[2]
NODE = "/mapping_node"
OF_RCLPY = {"/rosout", "/parameter_events", f"{NODE}/transition_event"}
INPUTS = (  # parameters with which the node subscribes to every topic
    {"scale.source": "depth", "level_source": "imu"},
    {"scale.source": "odometry", "image_transport": "compressed"},
)


def table(document: str, header: str) -> list[list[str]]:
    """Return the rows of the table whose first column has this header, as cells."""
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {header}")) + 2
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def names(document: str, header: str) -> set[str]:
    return {name for row in table(document, header) for name in re.findall(r"`([^`]+)`", row[0])}


def resolved(name: str) -> str:
    return name.replace("~", NODE) if name.startswith("~") else f"/{name.lstrip('/')}"


def documented(header: str) -> set[str]:
    return {resolved(name) for name in names("README.md", header)}


def test_the_readme_has_every_topic_and_service_of_the_node(start):
    subscribed, published = set(), set()
    for parameters in INPUTS:
        node, _ = start(**parameters)
        subscribed |= {subscription.topic_name for subscription in node.subscriptions}
        published |= {publisher.topic_name for publisher in node.publishers}
        services = {
            service.srv_name
            for service in node.services
            if service.srv_type.__module__.startswith("std_srvs")
        }
    assert subscribed - OF_RCLPY == documented("subscribed")
    assert published - OF_RCLPY == documented("published")
    assert {resolved(name) for name in services} == documented("service")


def test_the_readme_has_the_types_of_the_published_topics(start):
    node, _ = start()
    types = {
        publisher.topic_name: f"{publisher.msg_type.__module__.split('.')[0]}/{publisher.msg_type.__name__}"
        for publisher in node.publishers
    }
    rows = {resolved(row[0].strip("`")): row[1] for row in table("README.md", "published")}
    assert {topic: types[topic] for topic in rows} == rows


def test_the_document_describes_every_diagnostics_key():
    rows = {row[0].strip("`"): row[1] for row in table("docs/interface.md", "key")}
    assert rows == KEYS


def test_every_file_that_the_document_cites_exists():
    text = (ROOT / "docs" / "interface.md").read_text(encoding="utf-8")
    tests = {path.name for path in (ROOT / "test").rglob("test_*.py")}
    cited = set(re.findall(r"`(?:[\w/]+/)?([\w]+\.py)`", text))
    code = set(re.findall(r"`([\w/]+/[\w]+\.py)`", text)) - {"test/ros/test_interface.py"}
    assert {name for name in cited if name.startswith("test_")} <= tests
    assert [path for path in sorted(code) if not (ROOT / "ttt3r_ros" / path).is_file()] == []
    assert code
