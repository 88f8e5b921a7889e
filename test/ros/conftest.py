# SPDX-License-Identifier: Apache-2.0
"""Real rclpy and DDS, one domain per test process, nothing beyond this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def domain_id() -> int:
    """A DDS domain that no other test run on this machine is likely to use (at most 232)."""
    return 110 + os.getpid() % 100


@pytest.fixture
def context(domain_id: int) -> Iterator[rclpy.context.Context]:
    context = rclpy.context.Context()
    rclpy.init(args=[], context=context, domain_id=domain_id)
    yield context
    context.try_shutdown()


@pytest.fixture
def executor(context: rclpy.context.Context) -> Iterator[SingleThreadedExecutor]:
    executor = SingleThreadedExecutor(context=context)
    yield executor
    executor.shutdown()
