# SPDX-License-Identifier: Apache-2.0
"""The demo: play a sequence over DDS to a mapping node in a process of its own, and show what it made of it."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.config import MapConfig
from ttt3r_ros.errors import SourceError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from ttt3r_ros.io.sequence import Sequence
    from ttt3r_ros.ros.node_process import NodeProcess
    from ttt3r_ros.ros.player import Player
    from ttt3r_ros.types import Frame

SAMPLES = 3


def add_parser(commands: Any) -> None:
    """Add the subcommand ``demo``."""
    parser = commands.add_parser(
        "demo", help="map a sequence over DDS and draw the result", description=__doc__
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--images", type=Path, metavar="DIR", help="folder of images (or with rgb/, groundtruth.txt)"
    )
    source.add_argument("--video", type=Path, metavar="FILE", help="video file")
    source.add_argument(
        "--bag", type=Path, metavar="PATH", help="rosbag2 folder, .mcap, .db3 or ROS 1 .bag"
    )
    parser.add_argument("--topic", default="", help="image topic of the bag, if it has several")
    parser.add_argument("--weights", type=Path, metavar="FILE", help=".pth or .safetensors")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--output", type=Path, default=Path("out"), metavar="DIR", help="where results go (out)"
    )
    parser.add_argument(
        "--frames", type=int, default=0, metavar="N", help="stop after N frames (0: all)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the embedded room")
    parser.add_argument(
        "--rate", type=float, default=0.0, metavar="HZ",
        help="play like a live camera and let the node drop frames (0: as fast as the node maps them)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; return the exit status."""
    isolate()
    import rclpy  # noqa: PLC0415 - only the demo needs ROS
    from rclpy.utilities import try_shutdown  # noqa: PLC0415

    from ttt3r_ros.ros.middleware import use_large_image_profile  # noqa: PLC0415
    from ttt3r_ros.ros.node_process import mapping_node  # noqa: PLC0415
    from ttt3r_ros.ros.player import Player  # noqa: PLC0415

    use_large_image_profile()
    output: Path = arguments.output.expanduser().resolve()
    _require_writable(output)
    name, sequence = _sequence(arguments)
    _announce(arguments, name, sequence)
    chosen = _sample_indices(len(sequence), arguments.frames)
    rclpy.init(args=[])
    try:
        with mapping_node(_node_parameters(arguments, output), output / "node.log") as node:
            print(f"mapping_node runs as process {node.process.pid}; its log is {node.log}")
            player = Player()
            try:
                frames = _started(sequence)
                player.wait_until_ready(node)
                played = _play(player, node, frames, arguments, chosen, len(sequence))
                for service in ("save_trajectory", "save_map"):
                    print(player.call(service))
                result = _Result(name, sequence, played, player, output)
            finally:
                player.close()
    finally:
        try_shutdown()
    return _conclude(result)


@dataclass
class _Played:
    """What was sent."""

    stamps_ns: list[int] = field(default_factory=list)
    samples: list[Frame] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class _Result:
    name: str
    sequence: Sequence
    played: _Played
    player: Player
    output: Path


def isolate() -> None:
    """Keep to this machine and a domain of our own: nobody else's images, and nobody else gets ours."""
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("ROS_DOMAIN_ID", str(50 + os.getpid() % 50))


def _require_writable(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe = output / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        msg = f"--output {output} cannot be written: {error.strerror or error}"
        raise SourceError(msg) from error


def _sequence(arguments: argparse.Namespace) -> tuple[str, Sequence]:
    from ttt3r_ros.io.bags import Bag  # noqa: PLC0415
    from ttt3r_ros.io.room import ProceduralRoom  # noqa: PLC0415
    from ttt3r_ros.io.sequence import ImageFolder, Video  # noqa: PLC0415

    if arguments.images:
        return arguments.images.resolve().name, ImageFolder(arguments.images)
    if arguments.video:
        return arguments.video.name, Video(arguments.video)
    if arguments.bag:
        return arguments.bag.resolve().name, Bag(arguments.bag, arguments.topic)
    return f"procedural room, seed {arguments.seed}", ProceduralRoom(seed=arguments.seed)


def _announce(arguments: argparse.Namespace, name: str, sequence: Sequence) -> None:
    if not arguments.weights:
        from ttt3r_ros.model.loading import UNTRAINED  # noqa: PLC0415

        print(f"NOTE: {UNTRAINED}")
    print(f"sequence: {name}, {len(sequence) or 'unknown number of'} frames")


def _sample_indices(count: int, limit: int) -> set[int]:
    count = min(count, limit) if limit and count else count or limit or 100
    return {round((count - 1) * share) for share in np.linspace(0.1, 0.9, SAMPLES)}


def _node_parameters(arguments: argparse.Namespace, output: Path) -> dict[str, object]:
    return {
        "device": arguments.device,
        "model_path": arguments.weights.expanduser().resolve() if arguments.weights else "",
        "output_directory": output,
        "diagnostics_period": 0.2,
        "image_qos": "sensor_data" if arguments.rate else "reliable",
    }


def _started(sequence: Sequence) -> Iterator[Frame]:
    """Return the frames with the first one already made, so that opening the source counts as starting."""
    frames = sequence.frames()
    return chain([next(frames)], frames)


def _play(
    player: Player,
    node: NodeProcess,
    frames: Iterator[Frame],
    arguments: argparse.Namespace,
    chosen: set[int],
    count: int,
) -> _Played:
    from tqdm import tqdm  # noqa: PLC0415

    played = _Played()
    total = min(count, arguments.frames) if arguments.frames else count
    started = time.monotonic()
    pace_s = 0.1 if sys.stderr.isatty() else 5.0  # a log file wants few lines
    with tqdm(total=total or None, unit="frame", dynamic_ncols=True, mininterval=pace_s) as bar:
        for index, frame in enumerate(frames):
            if arguments.frames and index >= arguments.frames:
                break
            if index in chosen:
                played.samples.append(frame)
                player.want_depth(frame.stamp_ns)
            if arguments.rate:
                time.sleep(max(0.0, started + index / arguments.rate - time.monotonic()))
            player.publish(frame)
            played.stamps_ns.append(frame.stamp_ns)
            if not arguments.rate:
                player.settle(node, lambda: player.answered(len(played.stamps_ns)))
            bar.set_postfix(dropped=player.account.dropped, refresh=False)
            bar.update()
        played.seconds = time.monotonic() - started
        player.settle(node, lambda: player.account.settled >= len(played.stamps_ns))
        bar.set_postfix(dropped=player.account.dropped)
    return played


def _conclude(result: _Result) -> int:
    from ttt3r_ros.io.writers import read_ply  # noqa: PLC0415
    from ttt3r_ros.pipeline.voxel_map import PointCloud  # noqa: PLC0415
    from ttt3r_ros.viewer.preview import FrameSample, RunPicture, write_preview  # noqa: PLC0415

    account, output, played = result.player.account, result.output, result.played
    sent = len(played.stamps_ns)
    estimate = _estimate(output)
    error_text, true_positions = _compared(result, estimate)
    untrained = result.player.facts.get("weights", "").startswith("untrained")
    rate = account.processed / played.seconds if played.seconds else 0.0
    title = f"{result.name}: {account.processed} of {sent} frames at {rate:.1f} frames/s · {error_text}"
    samples = [
        FrameSample(f"frame at {f.stamp_ns * 1e-9:.2f} s", f.rgb, result.player.depths[f.stamp_ns])
        for f in played.samples
        if f.stamp_ns in result.player.depths
    ]
    points, rgb = read_ply(output / "map.ply")
    write_preview(
        output / "preview.png",
        RunPicture(
            title=title,
            warning="UNTRAINED WEIGHTS: the geometry means nothing" if untrained else "",
            cloud=PointCloud(points, rgb),
            voxel_size_m=MapConfig().voxel_size,
            positions=np.array([T[:3, 3] for _, T in estimate]).reshape(-1, 3),
            true_positions=true_positions,
            samples=samples,
        ),
    )
    lost = sent - account.received
    print(
        f"images: {sent} sent = {account.processed} processed + {account.dropped} dropped + {account.skipped} skipped"
        f" + {account.refused} refused + {lost} lost in transit; {rate:.1f} frames/s"
    )
    print(f"trajectory: {error_text}")
    print(f"results: {output}/preview.png, map.ply, trajectory.txt, node.log")
    if untrained:
        from ttt3r_ros.model.loading import UNTRAINED  # noqa: PLC0415

        print(f"NOTE: {UNTRAINED}")
    return 0 if account.processed and sent == account.settled + lost else 1


def _estimate(output: Path) -> list[tuple[int, Any]]:
    from ttt3r_ros.io.sequence import read_tum  # noqa: PLC0415

    return read_tum(output / "trajectory.txt")


def _compared(result: _Result, estimate: list[tuple[int, Any]]) -> tuple[str, Any]:
    """Return the error against ground truth in words, and the true positions aligned to the estimate."""
    from ttt3r_ros.evaluation.trajectory import trajectory_error  # noqa: PLC0415

    truth = result.sequence.ground_truth()
    nothing = np.empty((0, 3))
    if not truth:
        return "no ground truth", nothing
    try:
        error = trajectory_error(truth, estimate)
    except SourceError as problem:
        return f"no error figure: {problem}", nothing
    text = (
        f"ATE {error.se3_m:.3f} m (SE3), {error.sim3_m:.3f} m (Sim3, scale {error.scale:.3f})"
        f" over {error.length_m:.1f} m, {error.pairs} poses"
    )
    return text, error.in_estimate(truth)
