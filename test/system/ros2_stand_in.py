# SPDX-License-Identifier: Apache-2.0
"""Stands in for the command ``ros2`` where it is not installed: ``ros2 bag`` is C++ and not among the wheels.

It supports the commands of the launch files, over real DDS: ``bag play`` with the recorded QoS unless that is
overridden, ``--clock``, ``--delay``, ``--topics`` and ``--wait-for-all-acked``; ``service call``. It refuses all else.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path
from typing import Any

import rclpy
import yaml
from rclpy.duration import Duration
from rclpy.qos import (
    QoSDurabilityPolicy,
    QoSHistoryPolicy,
    QoSProfile,
    QoSReliabilityPolicy,
)
from rosbags.highlevel import AnyReader
from rosgraph_msgs.msg import Clock

RETRY_S = 10.0  # the first answer to a new client can be lost in discovery


def main() -> int:
    given = parsed(sys.argv[1:])
    rclpy.init(args=[])
    node = rclpy.create_node("ros2_stand_in")
    try:
        return play(node, given) if given.command == "bag" else call(node, given)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def parsed(words: list[str]) -> argparse.Namespace:
    commands = argparse.ArgumentParser(allow_abbrev=False).add_subparsers(dest="command", required=True)
    bag = commands.add_parser("bag", allow_abbrev=False)
    bag.add_argument("verb", choices=["play"])
    bag.add_argument("path", type=Path)
    bag.add_argument("--clock", type=float, nargs="?", const=40.0, default=0.0)
    bag.add_argument("--qos-profile-overrides-path", type=Path)
    bag.add_argument("--wait-for-all-acked", type=int, default=-1)
    bag.add_argument("--delay", type=float, default=0.0)
    bag.add_argument("--topics", nargs="+", default=[])
    service = commands.add_parser("service", allow_abbrev=False)
    service.add_argument("verb", choices=["call"])
    service.add_argument("name")
    service.add_argument("type")
    given = argparse.Namespace()
    (bag if words[0] == "bag" else service).parse_args(words[1:], given)
    given.command = words[0]
    return given


def play(node: Any, given: argparse.Namespace) -> int:
    overrides = (
        yaml.safe_load(given.qos_profile_overrides_path.read_text())
        if given.qos_profile_overrides_path
        else {}
    )
    clock = node.create_publisher(Clock, "/clock", 10) if given.clock else None
    with AnyReader([given.path]) as reader:
        chosen = [c for c in reader.connections if not given.topics or c.topic in given.topics]
        publishers = {
            c.topic: node.create_publisher(
                interface(c.msgtype), c.topic, quality(c, overrides.get(c.topic))
            )
            for c in chosen
        }
        time.sleep(given.delay)
        started, next_tick = time.monotonic(), 0.0
        for connection, stamp_ns, raw in reader.messages(connections=chosen):
            due_s = (stamp_ns - reader.start_time) * 1e-9
            while clock and next_tick <= due_s:
                wait_until(started + next_tick)
                clock.publish(clock_message(reader.start_time + round(next_tick * 1e9)))
                next_tick += 1.0 / given.clock
            wait_until(started + due_s)
            publishers[connection.topic].publish(bytes(raw))
    if given.wait_for_all_acked >= 0:
        limit = Duration(seconds=given.wait_for_all_acked * 1e-3 or -1)
        for publisher in publishers.values():
            publisher.wait_for_all_acked(limit)
    return 0


def wait_until(moment_s: float) -> None:
    time.sleep(max(0.0, moment_s - time.monotonic()))


def clock_message(stamp_ns: int) -> Clock:
    message = Clock()
    message.clock.sec, message.clock.nanosec = divmod(stamp_ns, 10**9)
    return message


def quality(connection: Any, override: dict[str, Any] | None) -> QoSProfile:
    """Return the offered profile: the override if it exists, else the recorded one."""
    if override is not None:
        policies: dict[str, Any] = {
            "history": QoSHistoryPolicy.get_from_short_key,
            "reliability": QoSReliabilityPolicy.get_from_short_key,
            "durability": QoSDurabilityPolicy.get_from_short_key,
            "depth": int,
        }
        return QoSProfile(**{name: policies[name](value) for name, value in override.items()})
    recorded = connection.ext.offered_qos_profiles[0]
    return QoSProfile(
        depth=recorded.depth,
        reliability=QoSReliabilityPolicy(recorded.reliability.value),
        durability=QoSDurabilityPolicy(recorded.durability.value),
    )


def interface(name: str) -> Any:
    package, *middle, kind = name.split("/")
    return getattr(importlib.import_module(".".join((package, *middle))), kind)


def call(node: Any, given: argparse.Namespace) -> int:
    kind = interface(given.type)
    client = node.create_client(kind, given.name)
    client.wait_for_service()
    calls: list[Any] = []
    while not any(future.done() for future in calls):
        calls.append(client.call_async(kind.Request()))
        rclpy.spin_until_future_complete(node, calls[-1], timeout_sec=RETRY_S)
    print(next(future for future in calls if future.done()).result())  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
