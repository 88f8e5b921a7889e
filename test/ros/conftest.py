# SPDX-License-Identifier: Apache-2.0
"""Real rclpy and DDS, one domain for each test process, nothing beyond this machine."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
import rclpy
from fakes import FakeBackend
from graph import Bench
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from ros_domain import lock_domain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ttt3r_ros.ros.mapping_node import MappingNode


@pytest.fixture(scope="session")
def domain_id() -> int:
    """A ROS domain that only this test process uses."""
    return lock_domain()


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


@pytest.fixture(scope="session")
def _modules_set_aside() -> None:
    """Let collections pass over torch and its kin, whose million objects take a tenth of a second each time."""
    import ttt3r_ros.model.runtime.backend
    import ttt3r_ros.ros.mapping_node  # noqa: F401

    gc.collect()
    gc.freeze()


@pytest.fixture
def start(
    context: rclpy.context.Context, tmp_path: Path, _modules_set_aside: None
) -> Iterator[Callable[..., tuple[MappingNode, Bench]]]:
    from ttt3r_ros.ros.mapping_node import (
        MappingNode,  # not at the top: the other tests here need no torch
    )

    started: list[tuple[MappingNode, Bench]] = []

    def _start(backend: FakeBackend | None = None, **parameters: object) -> tuple[MappingNode, Bench]:
        defaults: dict[str, object] = {
            "image_qos": "reliable",
            "diagnostics_period": 0.1,
            "map.publish_period": 0.1,
            "output_directory": str(tmp_path),
        }
        overrides = [Parameter(name, value=value) for name, value in (defaults | parameters).items()]
        node = MappingNode(backend or FakeBackend(), context=context, parameter_overrides=overrides)
        bench = Bench(context, node)
        started.append((node, bench))
        return node, bench

    yield _start
    _end(started)
    # rclpy's managed node refers to itself: until that is collected, the graph holds a node of the same name,
    # without topics, and may answer a later test's question by what it knows of that one.
    gc.collect()


def _end(started: list[tuple[MappingNode, Bench]]) -> None:
    for node, bench in started:
        bench.close()
        node.destroy_node()
    started.clear()
