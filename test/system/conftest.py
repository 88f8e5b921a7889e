# SPDX-License-Identifier: Apache-2.0
"""One ROS domain for each test process; the environment is restored after each test; the command ros2."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ros_domain import lock_domain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from observer import Observer


@pytest.fixture(scope="session")
def domain_id() -> int:
    """A ROS domain that only this test process uses."""
    return lock_domain()


@pytest.fixture(autouse=True)
def environment(domain_id: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Restore the environment: SetEnvironmentVariable changes that of this process, and launched nodes inherit it."""
    saved = dict(os.environ)
    os.environ["ROS_DOMAIN_ID"] = str(domain_id)
    os.environ["ROS_LOG_DIR"] = str(tmp_path_factory.mktemp("log"))
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        os.environ.pop(name, None)
    yield
    os.environ.clear()
    os.environ.update(saved)


@pytest.fixture
def observer(domain_id: int) -> Iterator[Observer]:
    import rclpy
    from observer import Observer  # not at the top: without rclpy these tests are skipped

    context = rclpy.context.Context()
    rclpy.init(args=[], context=context, domain_id=domain_id)
    observer = Observer(context)
    yield observer
    observer.executor.shutdown()
    observer.node.destroy_node()
    context.try_shutdown()


@pytest.fixture
def ros2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ros2: the genuine one if it has ``ros2 bag``, else a stand-in."""
    if shutil.which("ros2") is None or importlib.util.find_spec("ros2bag") is None:
        command = tmp_path / "bin" / "ros2"
        command.parent.mkdir()
        stand_in = Path(__file__).with_name("ros2_stand_in.py")
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{stand_in}" "$@"\n')
        command.chmod(0o755)
        monkeypatch.setenv("PATH", str(command.parent), prepend=":")
