#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure image transport between two processes: with this package's profile in both, in one, or in none.

Two loads: images at the rate of a camera, best effort, where the time from before publishing to the callback counts
and the lost ones; and reliable images, each as soon as the last one has arrived, where the throughput counts. The
traffic of the loopback interface shows the path of the images.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not

from ttt3r_ros.ros.middleware import use_large_image_profile

if TYPE_CHECKING:
    from rclpy.qos import QoSProfile

SIZES = ("640x480", "1920x1080")
WAYS: dict[str, tuple[set[str], dict[str, str]]] = {  # name: who uses the profile, environment of both
    "profile": ({"sender", "receiver"}, {}),
    "sender": ({"sender"}, {}),
    "receiver": ({"receiver"}, {}),
    "stock": (set(), {}),
    "udp": (set(), {"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"}),
}
LOADS = ("camera", "lockstep")
CAMERA_HZ = 30.0
WIDTHS = (10, 8, 9, 12, 21, 6, 12)
SILENCE_S = 2.0  # after the last image: nothing more will come
START_S = 30.0


def main() -> int:
    """Run every combination and print a line for each."""
    arguments = _arguments()
    # Not by discovery range: with that, the middleware sets up transports of its own.
    os.environ.setdefault("ROS_DOMAIN_ID", str(50 + os.getpid() % 50))
    if arguments.role:
        return _child(arguments)
    print(_row("size", "way", "load", "received", "latency ms p50 / p95", "MB/s", "loopback MB"))
    for size in arguments.sizes:
        for load in LOADS:
            for way in WAYS:
                print(_line(size, way, load, _run(size, way, load, arguments.seconds)), flush=True)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), metavar="WxH")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run")
    parser.add_argument("--role", choices=("sender", "receiver"), help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=tuple(WAYS), default="profile", help=argparse.SUPPRESS)
    parser.add_argument("--load", choices=LOADS, default="camera", help=argparse.SUPPRESS)
    return parser.parse_args()


def _run(size: str, way: str, load: str, seconds: float) -> dict[str, Any]:
    """Run sender and receiver; return the measurements of both."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FASTDDS_", "FASTRTPS_"))
    }
    command = [
        sys.executable,
        __file__,
        "--sizes",
        size,
        "--way",
        way,
        "--load",
        load,
        "--seconds",
        str(seconds),
    ]
    carried = _loopback_bytes()
    environment = clean | WAYS[way][1]
    children = [_start([*command, "--role", role], environment) for role in ("receiver", "sender")]
    seen: dict[str, Any] = {}
    for child in children:
        output, _ = child.communicate()
        if child.returncode:
            raise SystemExit(child.returncode)
        seen |= json.loads(output.splitlines()[-1])
    return seen | {"loopback_mb": (_loopback_bytes() - carried) / 1e6}


def _start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)  # noqa: S603


def _line(size: str, way: str, load: str, seen: dict[str, Any]) -> str:
    latency = "{:.1f} / {:.1f}".format(*np.percentile(seen["latencies_ms"] or [np.nan], [50, 95]))
    counts = f"{seen['received']}/{seen['sent']}"
    throughput = seen["received"] * seen["bytes"] / 1e6 / max(seen["elapsed_s"], 1e-9)
    return _row(size, way, load, counts, latency, f"{throughput:.0f}", f"{seen['loopback_mb']:.1f}")


def _row(*cells: str) -> str:
    return " ".join(f"{cell:>{width}s}" for cell, width in zip(cells, WIDTHS, strict=True))


def _loopback_bytes() -> int:
    """Return the bytes that the loopback interface has received; 0 where the system does not report it."""
    file = Path("/proc/net/dev")
    lines = file.read_text(encoding="ascii").splitlines() if file.is_file() else []
    return sum(int(line.split()[1]) for line in lines if line.strip().startswith("lo:"))


def _child(arguments: argparse.Namespace) -> int:
    import rclpy

    if arguments.role in WAYS[arguments.way][0]:
        use_large_image_profile()
    rclpy.init(args=[])
    run = _send if arguments.role == "sender" else _receive
    print(json.dumps(run(arguments)))
    rclpy.utilities.try_shutdown()
    return 0


def _send(arguments: argparse.Namespace) -> dict[str, Any]:
    import rclpy
    from rclpy.duration import Duration
    from sensor_msgs.msg import Image

    width, height = (int(side) for side in arguments.sizes[0].split("x"))
    noise = np.random.default_rng(0).integers(0, 256, 3 * width * height, dtype=np.uint8)
    message = Image(
        width=width, height=height, step=3 * width, encoding="rgb8", data=array("B", noise.tobytes())
    )
    node = rclpy.create_node("sender")
    publisher = node.create_publisher(Image, "image", _qos(arguments.load))
    deadline = time.monotonic() + START_S
    while not publisher.get_subscription_count() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    sent, started = 0, time.monotonic()
    while time.monotonic() - started < arguments.seconds:
        if arguments.load == "camera":
            time.sleep(max(0.0, started + sent / CAMERA_HZ - time.monotonic()))
        _stamp(message)
        publisher.publish(message)
        if arguments.load == "lockstep":
            publisher.wait_for_all_acked(Duration(seconds=1))
        sent += 1
    elapsed_s = time.monotonic() - started
    time.sleep(SILENCE_S)
    return {"sent": sent, "elapsed_s": elapsed_s, "bytes": len(message.data)}


def _receive(arguments: argparse.Namespace) -> dict[str, Any]:
    import rclpy
    from sensor_msgs.msg import Image

    latencies_ms: list[float] = []
    received_s = [time.monotonic() + START_S]

    def on_image(message: Any) -> None:
        stamp = message.header.stamp
        received_s[0] = time.monotonic()
        latencies_ms.append((received_s[0] - stamp.sec - stamp.nanosec * 1e-9) * 1e3)

    node = rclpy.create_node("receiver")
    node.create_subscription(Image, "image", on_image, _qos(arguments.load))
    while time.monotonic() - received_s[0] < SILENCE_S:
        rclpy.spin_once(node, timeout_sec=0.1)
    return {"received": len(latencies_ms), "latencies_ms": latencies_ms}


def _stamp(message: Any) -> None:
    """Date a message by the monotonic clock, which all processes of the machine share."""
    now_ns = time.monotonic_ns()
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(now_ns, 10**9)


def _qos(load: str) -> QoSProfile:
    """Return best effort as from a camera, the newest kept; or reliable, a few kept."""
    from ttt3r_ros.ros.qos import STREAM, image_profile

    return image_profile("sensor_data", "keep_last") if load == "camera" else STREAM


if __name__ == "__main__":
    sys.exit(main())
