#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Milliseconds per stage of one frame, from compressed image to published messages, and peak memory.

Each network runs in a process of its own, so that peak memory is its own. GFLOP count multiplications and
additions of one frame as torch dispatches them. --compare measures each technique against the published form of the
network instead (benchmarks/techniques.py); with --record its rows go into benchmarks/results.csv.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from collections import defaultdict
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not

from stage_clock import FunctionClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from ttt3r_ros.model.network.network import Ttt3r
    from ttt3r_ros.types import Update

STAGES = (
    "decode",
    "preprocess",
    "encoder",
    "memory",
    "decoders",
    "heads",
    "update",
    "fetch",
    "map",
    "publish",
)
NETWORKS = ("small", "512")
SOURCE_SIZE = (640, 480)


def main() -> int:
    """Measure the requested networks and print one table each."""
    arguments = _arguments()
    if arguments.one:
        print(json.dumps(_measure(arguments)))
        return 0
    if arguments.compare:
        return _compare(arguments)
    for network in arguments.network:
        command = [sys.executable, __file__, "--one", network, "--device", arguments.device]
        command += ["--threads", str(arguments.threads), "--precision", arguments.precision]
        command += ["--frames", str(arguments.frames or (60 if network == "small" else 5))]
        finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
        if finished.returncode:
            return finished.returncode
        _print_table(json.loads(finished.stdout.splitlines()[-1]))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--frames", type=int, default=0, help="frames measured (0: 60 small, 5 of 512)")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, default=0, help="processor threads (0: torch's choice)")
    parser.add_argument("--precision", default="auto", help="auto, float32, bfloat16, float16 or int8")
    parser.add_argument(
        "--compare", action="store_true", help="each technique against the published form"
    )
    parser.add_argument(
        "--only", nargs="+", default=[], help="with --compare: rows whose names contain this"
    )
    parser.add_argument(
        "--leave-out", nargs="+", default=[], help="with --compare: no rows whose names contain this"
    )
    parser.add_argument("--record", action="store_true", help="with --compare: add to results.csv")
    parser.add_argument(
        "--commit", default="", help="with --record: outside a checkout, the measured version"
    )
    parser.add_argument(
        "--backend",
        action="store_true",
        help="with --compare: also a frame through the backend, encoded in turn and ahead",
    )
    parser.add_argument("--one", choices=NETWORKS, help=argparse.SUPPRESS)
    return parser.parse_args()


def _compare(arguments: argparse.Namespace) -> int:
    import_module("ttt3r_ros.model")  # before torch is loaded: it sets how threads of torch wait
    import techniques

    from ttt3r_ros.model.runtime.devices import resolve_device
    from ttt3r_ros.model.runtime.threads import set_threads

    device = resolve_device(arguments.device)
    set_threads(arguments.threads)
    for network in arguments.network:
        frames = arguments.frames or (60 if network == "small" or device != "cpu" else 5)
        print(f"\n{network}, {_environment(device)}, median of {frames} frames")
        print(techniques.HEADER, flush=True)
        rows = techniques.compare(network, device, frames, arguments.only, arguments.leave_out)
        for row in rows:
            print(techniques.line(row, rows[0]), flush=True)
        if arguments.record:
            commit = arguments.commit or techniques.commit_here()
            techniques.record(rows, network, _environment(device), commit)
        if arguments.backend:
            _backend(rows[0].network, device, arguments, frames)
    return 0


def _backend(published: Ttt3r, device: str, arguments: argparse.Namespace, frames: int) -> None:
    import techniques

    from ttt3r_ros.model.runtime.execution import resolve_compile
    from ttt3r_ros.model.runtime.precision import resolve_precision

    precision = resolve_precision(arguments.precision, device, published.config)
    requested = ["graph"] + ["inductor"] * (device != "cpu" and "inductor" not in arguments.leave_out)
    modes = [resolve_compile(mode, device, published.config) for mode in requested]
    print(f"from image to arrays through the backend, {precision}, mean of {frames} frames")
    rows = [("none", False), *((mode, ahead) for mode in modes for ahead in (False, True))]
    for mode, ahead in rows:
        ms = techniques.backend_ms(published, device, frames, precision, mode, encode_ahead=ahead)
        label = "encode ahead" if ahead else "sequential"
        print(f"compile {mode:15s} {label:12s} {ms:8.2f} ms {1e3 / ms:7.2f} frames/s", flush=True)


def _measure(arguments: argparse.Namespace) -> dict[str, Any]:
    from ttt3r_ros.config import Config
    from ttt3r_ros.model.checkpoints.networks import PACKAGE_WEIGHTS, load_network, seeded_network
    from ttt3r_ros.model.network.config import NetworkConfig
    from ttt3r_ros.model.runtime.backend import TorchBackend
    from ttt3r_ros.model.runtime.devices import resolve_device
    from ttt3r_ros.model.runtime.execution import ExecutionOptions
    from ttt3r_ros.model.runtime.precision import resolve_precision
    from ttt3r_ros.model.runtime.threads import set_threads
    from ttt3r_ros.pipeline.reconstructor import Reconstructor
    from ttt3r_ros.synthetic.room import ProceduralRoom

    name, frames = arguments.one, arguments.frames
    device = resolve_device(arguments.device)
    set_threads(arguments.threads)
    if name == "small":
        network = load_network(PACKAGE_WEIGHTS).network
    else:
        network = seeded_network(NetworkConfig.published_512_dpt())
    precision = resolve_precision(arguments.precision, device, network.config)
    backend = TorchBackend(network, ExecutionOptions(device, precision))
    reconstructor = Reconstructor(backend, Config(reset_interval=0))
    room = ProceduralRoom(frames=frames + 2, width=SOURCE_SIZE[0], height=SOURCE_SIZE[1])
    encoded = [_jpeg(frame.rgb) for frame in room.frames()]
    gflop = _count_operations(network, device)
    clock = FunctionClock(device)
    _wrap_parts(clock, network)
    publish = _publisher()
    totals: list[float] = []
    for index, data in enumerate(encoded):
        if index == 2:
            clock.samples.clear()  # the first frames warm up
            totals.clear()
        started = time.perf_counter()
        _run_frame(clock, reconstructor, data, index, publish)
        totals.append(time.perf_counter() - started)
    return {
        "network": name,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "device": device,
        "precision": precision,
        "gflop": gflop,
        "stages": {stage: float(np.median(times)) * 1e3 for stage, times in clock.samples.items()},
        "total_p50": float(np.percentile(totals, 50)) * 1e3,
        "total_p95": float(np.percentile(totals, 95)) * 1e3,
        "frames": frames,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "cuda_peak_mib": _cuda_peak_mib(device),
        "environment": _environment(device),
    }


def _run_frame(
    clock: FunctionClock, reconstructor: Any, data: np.ndarray, index: int, publish: Callable[[Update], None] | None
) -> None:  # fmt: skip
    from ttt3r_ros.images.encodings import decode_compressed
    from ttt3r_ros.types import Frame

    started = time.perf_counter()
    rgb = decode_compressed("jpeg", data)
    clock.add("decode", time.perf_counter() - started)
    update = reconstructor.step(Frame((index + 1) * 10**8, "camera", rgb))
    clock.add("preprocess", update.timings_s["preprocess"])
    clock.add("map", update.timings_s["map"])
    inside = sum(clock.so_far(s) for s in ("encoder", "memory", "decoders", "heads", "update"))
    clock.add("fetch", update.timings_s["network"] - inside)
    if publish is not None:
        started = time.perf_counter()
        publish(update)
        clock.add("publish", time.perf_counter() - started)
    clock.close_frame()


def _wrap_parts(clock: FunctionClock, network: Ttt3r) -> None:
    clock.wrap(network, "encode", "encoder")
    clock.wrap(network, "read_memory", "memory")
    clock.wrap(network.pose_retriever, "key", "memory")
    clock.wrap(network.pose_retriever, "write", "memory")
    clock.wrap(network, "decode", "decoders")
    clock.wrap(network, "run_heads", "heads")
    clock.wrap(network, "update_state", "update")


def _count_operations(network: Ttt3r, device: str) -> dict[str, float]:
    """Count what torch dispatches for each part [GFLOP]."""
    import torch
    from roofline import gflop, parts

    counts: dict[str, float] = defaultdict(float)
    with torch.inference_mode():
        for part in parts(network, device):
            counts[part.name.split()[0]] += gflop(part.run)
    return counts


def _publisher() -> Callable[[Update], None] | None:
    """Return a function that publishes on every topic, each with a subscriber; None without ROS."""
    if find_spec("rclpy") is None:
        return None
    import rclpy
    from geometry_msgs.msg import PoseStamped
    from nav_msgs.msg import Odometry
    from nav_msgs.msg import Path as PathMsg
    from sensor_msgs.msg import CameraInfo, Image, PointCloud2

    from ttt3r_ros.config import Config
    from ttt3r_ros.ros.middleware import use_large_image_profile
    from ttt3r_ros.ros.publishers import BodyOutputs, CameraOutputs
    from ttt3r_ros.ros.robot_sensors import RobotSensors
    from ttt3r_ros.ros.throttled_warnings import ThrottledWarnings

    use_large_image_profile()
    rclpy.init(args=[], domain_id=101)
    node = rclpy.create_node("latency")
    config = Config()
    robot = RobotSensors(node, config, ThrottledWarnings(node.get_logger()))
    outputs = (
        BodyOutputs(node, config, robot, "", config.map_frame),
        CameraOutputs(node, config, robot, ""),
    )
    for kind, topic in (
        (Image, "depth/image"), (CameraInfo, "depth/camera_info"), (Image, "confidence/image"),
        (PointCloud2, "points"), (PoseStamped, "pose"), (Odometry, "odom"), (PathMsg, "path"),
    ):  # fmt: skip
        node.create_subscription(kind, f"/latency/{topic}", lambda _: None, 1)

    def publish(update: Update) -> None:
        for output in outputs:
            output.publish(update)

    return publish


def _jpeg(rgb: np.ndarray) -> np.ndarray:
    encoded, data = cv2.imencode(
        ".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90]
    )
    assert encoded
    return data.ravel()


def _cuda_peak_mib(device: str) -> float:
    if not device.startswith("cuda"):
        return 0.0
    import torch

    return torch.cuda.max_memory_allocated(device) / 2**20


def _environment(device: str) -> str:
    import torch

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else _processor()
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}, Python {platform.python_version()}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _print_table(measured: dict[str, Any]) -> None:
    stages, gflop = measured["stages"], measured["gflop"]
    print(
        f"\n{measured['network']}: {measured['parameters'] / 1e6:.1f} M parameters, {measured['precision']}, "
        f"{measured['environment']}"
    )
    print(f"{'stage':12s} {'ms':>9s} {'share':>7s} {'GFLOP':>9s} {'GFLOP/s':>9s}")
    for stage in STAGES:
        if stage not in stages:
            print(f"{stage:12s} {'n/a':>9s}")
            continue
        ms, work = stages[stage], gflop.get(stage)
        share = 100 * ms / sum(stages.values())
        extra = f"{work:9.2f} {work / ms * 1e3:9.0f}" if work else ""
        print(f"{stage:12s} {ms:9.2f} {share:6.1f}% {extra}".rstrip())
    total = sum(gflop.values())
    print(
        f"{'frame':12s} {measured['total_p50']:9.2f} {'':7s} {total:9.2f}   p95 {measured['total_p95']:.2f} ms,"
        f" {1e3 / measured['total_p50']:.2f} frames/s, median of {measured['frames']} frames"
    )
    cuda = f", CUDA {measured['cuda_peak_mib']:.0f} MiB" if measured["cuda_peak_mib"] else ""
    print(f"peak memory  {measured['peak_mib']:9.0f} MiB{cuda}")


if __name__ == "__main__":
    sys.exit(main())
