#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Send the node several times the frames it can process; check that latency and memory stay bounded.

First a run in lockstep measures what the node can take; then images come at a multiple of that rate, best
effort, as from a live camera. Latency is the time from publishing an image to receiving its pose.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not

from ttt3r_ros.ros.middleware import isolate, use_large_image_profile
from ttt3r_ros.synthetic.room import ProceduralRoom

if TYPE_CHECKING:
    from ttt3r_ros.ros.harness.node_process import NodeProcess
    from ttt3r_ros.ros.harness.player import Player
    from ttt3r_ros.types import Frame

WARM_UP = 100
LOCKSTEP_FRAMES = 60
LOOP = 120  # distinct images; their stamps go on


@dataclass
class Run:
    """Measurements under overload."""

    sent_s: dict[int, float] = field(default_factory=dict)
    answered_s: dict[int, float] = field(default_factory=dict)
    resident_mib: list[float] = field(default_factory=list)


def main() -> int:
    """Run the load and print the measurements; fail if latency or memory grows."""
    arguments = _arguments()
    isolate()
    import rclpy

    from ttt3r_ros.ros.harness.node_process import mapping_node
    from ttt3r_ros.ros.harness.player import Player

    use_large_image_profile()
    rclpy.init(args=[])
    room = ProceduralRoom(frames=LOOP)
    images = list(room.frames())
    parameters = {
        "diagnostics_period": 0.2,
        "image_qos": "sensor_data",
        "model_path": arguments.weights,
        "threads": arguments.threads,
        "compile": arguments.compile,
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        mapping_node(parameters, Path(folder) / "node.log") as node,
    ):
        player = Player(calibrated=True)
        player.wait_until_ready(node)
        rate_hz = _lockstep_rate(player, node, images)
        run = _overload(player, node, images, arguments.factor * rate_hz, arguments.frames)
        player.close()
    rclpy.utilities.try_shutdown()
    return _report(run, player, rate_hz, arguments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument(
        "--factor", type=float, default=3.0, help="input rate relative to the sustainable rate"
    )
    parser.add_argument("--weights", default="", help="checkpoint; default: the node's own default")
    parser.add_argument(
        "--threads", type=int, default=0, help="processor threads of the network (0: its choice)"
    )
    parser.add_argument(
        "--compile", default="auto", help="how the network runs, as the node's parameter"
    )
    return parser.parse_args()


def _add_number(images: list[Frame], index: int) -> Frame:
    from dataclasses import replace

    return replace(images[index % LOOP], stamp_ns=(index + 1) * 10**7)


def _lockstep_rate(player: Player, node: NodeProcess, images: list[Frame]) -> float:
    started = 0.0
    for index in range(WARM_UP + LOCKSTEP_FRAMES):
        if index == WARM_UP:
            started = time.monotonic()
        player.publish(_add_number(images, index))
        player.wait_for(node, lambda index=index: player.is_finished(index + 1))  # type: ignore[misc]
    return LOCKSTEP_FRAMES / (time.monotonic() - started)


def _overload(player: Player, node: NodeProcess, images: list[Frame], rate_hz: float, count: int) -> Run:
    run = Run()

    def on_pose(stamp_ns: int) -> None:
        if stamp_ns in run.sent_s:
            run.answered_s[stamp_ns] = time.monotonic()

    player.on_pose = on_pose
    first = WARM_UP + LOCKSTEP_FRAMES
    started = time.monotonic()
    for sent in range(count):
        time.sleep(max(0.0, started + sent / rate_hz - time.monotonic()))
        frame = _add_number(images, first + sent)
        run.sent_s[frame.stamp_ns] = time.monotonic()
        player.publish(frame)
        if sent % 20 == 0:
            run.resident_mib.append(_resident_mib(node.process.pid))
    player.wait_for(node, lambda: player.stats.finished >= first + count)
    return run


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _report(run: Run, player: Player, rate_hz: float, arguments: argparse.Namespace) -> int:
    stats, sent = player.stats, arguments.frames + WARM_UP + LOCKSTEP_FRAMES
    answered, memory = np.array(list(run.answered_s.values())), np.array(run.resident_mib)
    latencies = answered - [run.sent_s[stamp_ns] for stamp_ns in run.answered_s]
    quarter = max(1, len(latencies) // 4)
    early, late = np.percentile(latencies[:quarter], 95), np.percentile(latencies[-quarter:], 95)
    settled = memory[len(memory) // 4 :]  # the map fills up first; its size is bounded
    growth = float(np.median(settled[-10:]) - np.median(settled[:10]))
    period_s = 1.0 / rate_hz
    under_load_hz = (len(answered) - 1) / (answered[-1] - answered[0])
    print(
        f"one after the other: {rate_hz:.1f} frames/s; load: {arguments.factor * rate_hz:.1f} images/s, of which"
        f" {under_load_hz:.1f} frames/s are mapped; {sent} images in all"
    )
    print(
        f"received {stats.received} = processed {stats.processed} + dropped {stats.dropped} + skipped"
        f" {stats.skipped} + refused {stats.refused}; lost in transit {sent - stats.received}"
    )
    median, p95 = np.percentile(latencies, [50, 95])
    print(
        f"latency: median {median * 1e3:.0f} ms, p95 {p95 * 1e3:.0f} ms, worst {latencies.max() * 1e3:.0f} ms;"
        f" p95 of the first quarter {early * 1e3:.0f} ms, of the last {late * 1e3:.0f} ms"
    )
    print(
        f"memory of the node: {memory[0]:.0f} MiB at the start, {settled[0]:.0f} after a quarter,"
        f" {memory[-1]:.0f} MiB at the end, {growth:+.1f} MiB over the last three quarters"
    )
    stages = {name[:-3]: ms for name, ms in player.facts.items() if name.endswith("_ms")}
    print("of the node, ms: " + ", ".join(f"{name} {ms}" for name, ms in stages.items()))
    bounded = bool(late <= 2 * early + period_s)
    counted = stats.finished == stats.received and stats.dropped > 0
    flat = growth < 0.03 * float(settled[0])
    print(f"latency bounded: {bounded}; every image counted: {counted}; memory flat: {flat}")
    return 0 if bounded and counted and flat else 1


if __name__ == "__main__":
    sys.exit(main())
