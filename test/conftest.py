# SPDX-License-Identifier: Apache-2.0
"""Settings of all tests. Folders whose requirements are missing are left out, with the reason."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

# Before anything loads torch or rclpy: few, passive threads, and no traffic beyond this machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
# Older distributions check the type of every message field; newer ones only if this is set.
os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"


def importable(*names: str) -> bool:
    """Return whether modules exist, without importing them (`launch/` is not the launch package)."""
    try:
        return all(importlib.util.find_spec(name) is not None for name in names)
    except ModuleNotFoundError:
        return False


for folder in (Path(__file__).resolve().parent / "support", Path(__file__).resolve().parents[1]):
    sys.path.insert(0, str(folder))  # shared test code; training/, which is not installed

collect_ignore: list[str] = []
left_out: list[str] = []
if not importable("rclpy", "sensor_msgs.msg"):
    collect_ignore.append("ros")
    left_out.append("test/ros: rclpy is not importable")
if not importable("torch"):
    collect_ignore.append("training")
    left_out.append("test/training: torch is not importable")
if not importable("launch_testing.actions", "launch_ros.actions", "rclpy"):
    collect_ignore.append("system")
    left_out.append("test/system: launch, launch_ros and launch_testing are not importable")


def pytest_report_header() -> list[str]:
    """Report the folders that are left out."""
    return [f"left out: {reason}" for reason in left_out]
