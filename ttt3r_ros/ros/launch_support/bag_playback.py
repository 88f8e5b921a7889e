# SPDX-License-Identifier: Apache-2.0
"""Play a bag beside the node: checks, player, saving. A failed step ends the launch with status 1.

Only launch files may import this module, because it needs the launch packages.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from launch.actions import ExecuteProcess, LogInfo, RegisterEventHandler, Shutdown
from launch.event_handlers import OnProcessExit

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.atomic import require_writable
from ttt3r_ros.ros.launch_support.wrapping import temporary_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from launch.action import Action
    from launch.events.process import ProcessExited
    from launch.launch_context import LaunchContext

# The player uses the recorded QoS. Often that is best effort, which does not match keep_all subscriptions.
_RELIABLE = {"history": "keep_all", "reliability": "reliable", "durability": "volatile"}


@dataclass(frozen=True)
class BagPlayback:
    """A bag and the topics that the node subscribes to, with full names."""

    bag: Path
    image_topics: list[str]  # without /compressed
    info_topics: list[str]
    transport: str  # raw or compressed
    images_only: bool
    save_at_end: bool
    output_directory: str

    def check(self) -> list[Action]:
        """Check paths and topics before anything starts; return remarks on the bag.

        Raises:
            SourceError: the bag cannot be read, or has no images on a topic.
            OutputError: the output directory cannot be written.
        """
        remarks = self._check_bag()
        if self.save_at_end:
            require_writable(Path(self.output_directory).expanduser())
        return remarks

    def actions(self, node: Action, node_name: str) -> list[Action]:
        """Return the actions that play the bag when the node is ready; ``node`` is started elsewhere."""
        # The node answers when it is ready for images; an earlier start would lose the first seconds of the bag.
        # With queue_policy keep_all it saves after all received images are mapped.
        player = ExecuteProcess(cmd=["ros2", "bag", "play", *self._player_arguments()], output="screen")
        steps = [trigger_call(node_name, "reset"), player]
        ending: list[Action] = []
        if self.save_at_end:
            steps.append(trigger_call(node_name, "save_map", "save_trajectory"))
            ending = [Shutdown(reason="end of bag, results saved")]
        return [_on_exit(node, _fail), *in_sequence(steps, ending)]

    def _check_bag(self) -> list[Action]:
        if not self.bag.exists():
            msg = f"bag is {self.bag}, which does not exist"
            raise SourceError(msg)
        try:
            from ttt3r_ros.ros.launch_support.bag_check import (  # noqa: PLC0415 - rosbags is optional
                missing_calibrations,
                require_images,
            )
        except ImportError as error:
            return [LogInfo(msg=f"the topics of the bag are not checked: {error}")]
        require_images(self.bag, self.image_topics, self.transport)
        missing = ", ".join(missing_calibrations(self.bag, self.info_topics))
        text = f"bag {self.bag} has no CameraInfo messages on {missing}: the focal length is estimated"
        return [LogInfo(msg=text)] if missing else []

    def _player_arguments(self) -> list[str]:
        images = [name for topic in self.image_topics for name in (topic, f"{topic}/compressed")]
        topics = [*images, *self.info_topics]
        overrides = temporary_file("bag_qos.yaml", json.dumps(dict.fromkeys(topics, _RELIABLE)))
        return [
            str(self.bag),
            *("--clock", "100"),
            *("--qos-profile-overrides-path", str(overrides)),
            # The player does not wait for subscriptions, and discovery with Fast DDS takes up to 3 s.
            *("--delay", "5"),
            # At the end wait without limit until all images are acknowledged.
            *("--wait-for-all-acked", "0"),
            *(["--topics", *topics] if self.images_only else []),
        ]


def trigger_call(node_name: str, *services: str) -> ExecuteProcess:
    """Return a program that calls Trigger services of a node and fails if one is refused."""
    module = "ttt3r_ros.ros.harness.trigger_call"
    return ExecuteProcess(cmd=[sys.executable, "-m", module, node_name, *services], output="screen")


def in_sequence(steps: Sequence[ExecuteProcess], ending: list[Action]) -> list[Action]:
    """Return actions that start each step when the one before has succeeded, and ``ending`` after the last."""
    following: list[list[Action]] = [*([step] for step in steps[1:]), ending]
    handlers = [
        _on_exit(before, partial(_continue_with, after))
        for before, after in zip(steps, following)  # noqa: B905 - Humble has Python 3.10
    ]
    return [*handlers, steps[0]]


def _continue_with(actions: list[Action], event: ProcessExited) -> list[Action]:
    return actions if event.returncode == 0 else _fail(event)


def _on_exit(process: Action, react: Callable[[ProcessExited], list[Action]]) -> RegisterEventHandler:
    def handle(event: ProcessExited, context: LaunchContext) -> list[Action]:
        return [] if context.is_shutdown else react(event)

    return RegisterEventHandler(OnProcessExit(target_action=process, on_exit=handle))


def _fail(event: ProcessExited) -> list[Action]:
    # An exception in a handler is the only way to an exit status of ros2 launch other than 0.
    msg = f"{event.process_name} ended with status {event.returncode}; nothing further is saved"
    raise RuntimeError(msg)
