# SPDX-License-Identifier: Apache-2.0
"""Mapping nodes in the test process, over DDS, in a ROS domain that only this process uses."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
import rclpy
from fakes import FakeBackend
from graph import PeerNode
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
    # rclpy's lifecycle node has a reference to itself. Until it is collected, the graph has another node of this
    # name, without topics.
    gc.collect()


@pytest.fixture
def executor(context: rclpy.context.Context) -> Iterator[SingleThreadedExecutor]:
    executor = SingleThreadedExecutor(context=context)
    yield executor
    executor.shutdown()


@pytest.fixture(scope="session")
def _frozen_modules() -> None:
    """Exclude torch's million objects from garbage collection, which otherwise takes 0.1 s each time."""
    import ttt3r_ros.model.runtime.backend
    import ttt3r_ros.ros.mapping_node  # noqa: F401

    gc.collect()
    gc.freeze()


@pytest.fixture
def start(
    context: rclpy.context.Context, tmp_path: Path, _frozen_modules: None
) -> Iterator[Callable[..., tuple[MappingNode, PeerNode]]]:
    from ttt3r_ros.ros.mapping_node import (
        MappingNode,  # not at the top: other tests in this folder do not need torch
    )

    started: list[tuple[MappingNode, PeerNode]] = []

    def _start(
        backend: FakeBackend | None = None,
        remappings: dict[str, str] | None = None,
        **parameters: object,
    ) -> tuple[MappingNode, PeerNode]:
        defaults: dict[str, object] = {
            "image_qos": "reliable",
            "diagnostics_period": 0.1,
            "map.publish_period": 0.1,
            "output_directory": str(tmp_path),
        }
        overrides = [Parameter(name, value=value) for name, value in (defaults | parameters).items()]
        rules = [word for old, new in (remappings or {}).items() for word in ("-r", f"{old}:={new}")]
        node = MappingNode(
            backend or FakeBackend(),
            context=context,
            parameter_overrides=overrides,
            cli_args=["--ros-args", *rules] if rules else None,
        )
        peer = PeerNode(context, node)
        started.append((node, peer))
        return node, peer

    yield _start
    for started_node, peer in started:
        peer.close()
        started_node.destroy_node()
    started.clear()
