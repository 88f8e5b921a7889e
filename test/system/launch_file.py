# SPDX-License-Identifier: Apache-2.0
"""A launch file read by the genuine launch packages: evaluated without starting anything, or run."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("launch_testing.actions")  # the folder launch/ could pass for the package launch

import rclpy
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import Action, LaunchContext, LaunchDescription, LaunchService
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import (
    PythonLaunchDescriptionSource,
    get_launch_description_from_python_launch_file,
)
from launch.utilities import perform_substitutions
from launch_ros.actions import Node
from launch_testing import ProcInfoHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from launch.launch_description_entity import LaunchDescriptionEntity

FOLDER = Path(__file__).resolve().parents[2] / "launch"

try:
    PREFIX = Path(get_package_prefix("ttt3r_ros"))
except PackageNotFoundError:
    pytest.skip(
        "ttt3r_ros is not installed: colcon build, source install/setup.bash", allow_module_level=True
    )


def path_of(file: str) -> str:
    return str(FOLDER / f"{file}.launch.py")


def description(file: str = "mapping") -> LaunchDescription:
    return get_launch_description_from_python_launch_file(path_of(file))


def declared() -> dict[str, DeclareLaunchArgument]:
    return {action.name: action for action in description().get_launch_arguments()}


@dataclass(frozen=True)
class Evaluated:
    """What a launch would start, in order; event handlers stand where they would be registered."""

    context: LaunchContext
    actions: list[Action]

    def programs(self) -> list[str]:
        return [program(action) for action in self.actions if isinstance(action, ExecuteProcess)]

    def arguments(self, name: str) -> list[str]:
        """Return the arguments of the program on its command line."""
        (action,) = (a for a in self.actions if isinstance(a, ExecuteProcess) and program(a) == name)
        return arguments(action, self.context)


def program(action: ExecuteProcess) -> str:
    return str(action.node_executable) if isinstance(action, Node) else action.cmd[0][0].text


def arguments(action: ExecuteProcess, context: LaunchContext) -> list[str]:
    if isinstance(action, Node):
        namespace, _, name = action.node_name.rpartition("/")
        renamed = {"name": f"__node:={name}", "ns": f"__ns:={namespace or '/'}"}
        context.extend_locals({"ros_specific_arguments": renamed})
    return [perform_substitutions(context, part) for part in action.cmd[1:]]


def evaluate(file: str = "mapping", **typed: str) -> Evaluated:
    context = LaunchContext()
    context.launch_configurations.update(typed)
    return Evaluated(context, list(_walk(description(file).entities, context)))


def _walk(entities: list[LaunchDescriptionEntity], context: LaunchContext) -> Iterator[Action]:
    for entity in entities:
        if isinstance(entity, ExecuteProcess):
            if entity.condition is None or entity.condition.evaluate(context):
                if isinstance(entity, Node):
                    entity._perform_substitutions(context)
                yield entity
        elif isinstance(entity, RegisterEventHandler):
            yield entity
        else:
            yield from _walk(entity.visit(context) or [], context)


@contextmanager
def node_with(ros_arguments: list[str], domain_id: int) -> Iterator[rclpy.node.Node]:
    """Give rcl a command line, as the launched process would, and look at the node it makes of it."""
    context = rclpy.context.Context()
    rclpy.init(args=ros_arguments, context=context, domain_id=domain_id)
    node = rclpy.create_node("unnamed", context=context)
    try:
        yield node
    finally:
        node.destroy_node()
        context.try_shutdown()


def run(
    body: Callable[[], None],
    on_end: Callable[[], None],
    file: str = "mapping",
    status: int = 0,
    **typed: str,
) -> ProcInfoHandler:
    """Launch for real, run `body` beside it, shut down as Ctrl-C does; return how the processes ended.

    The launch has to end with `status`. `on_end` is called as soon as the launch is over, so that `body` need not
    wait for a dead node.
    """
    exits = ProcInfoHandler()
    whole = LaunchDescription(
        [
            RegisterEventHandler(OnProcessExit(on_exit=lambda event, _: exits.append(event))),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(path_of(file)), launch_arguments=typed.items()
            ),
        ]
    )

    async def both() -> int:
        service = LaunchService(noninteractive=True)
        service.include_launch_description(whole)
        launched = asyncio.create_task(service.run_async())
        launched.add_done_callback(lambda _: on_end())
        try:
            await asyncio.to_thread(body)
        finally:
            if not launched.done():
                await service.shutdown()
            ended = await launched
        return ended

    assert asyncio.run(both()) == status
    return exits
