# SPDX-License-Identifier: Apache-2.0
"""One DDS domain per test process; what launch writes to the environment is taken back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def domain_id() -> int:
    """A DDS domain that no other test run on this machine is likely to use (at most 232)."""
    return 10 + os.getpid() % 90


@pytest.fixture(autouse=True)
def environment(domain_id: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """SetEnvironmentVariable acts on this very process, and launched nodes inherit it."""
    saved = dict(os.environ)
    os.environ["ROS_DOMAIN_ID"] = str(domain_id)
    os.environ["ROS_LOG_DIR"] = str(tmp_path_factory.mktemp("log"))
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        os.environ.pop(name, None)
    yield
    os.environ.clear()
    os.environ.update(saved)
