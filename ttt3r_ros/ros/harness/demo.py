# SPDX-License-Identifier: Apache-2.0
"""The demo: play a sequence from this process to a mapping node in another one."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np
import rclpy
from rclpy.utilities import try_shutdown
from tqdm import tqdm

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.atomic import require_writable
from ttt3r_ros.io.bags.reader import Bag
from ttt3r_ros.io.image_folder import ImageFolder
from ttt3r_ros.io.video import Video
from ttt3r_ros.ros.harness.demo_report import DemoResult, PlayedFrames, report
from ttt3r_ros.ros.harness.node_process import mapping_node
from ttt3r_ros.ros.harness.player import Player
from ttt3r_ros.ros.middleware import isolate, use_large_image_profile
from ttt3r_ros.synthetic.room import ProceduralRoom

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from ttt3r_ros.io.sequence import ImageSequence
    from ttt3r_ros.ros.harness.node_process import NodeProcess
    from ttt3r_ros.types import Frame

SAMPLES = 3


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; return the exit status."""
    isolate()
    use_large_image_profile()
    output: Path = arguments.output.expanduser().resolve()
    require_writable(output)
    name, sequence = _sequence(arguments)
    _print_sequence(name, sequence)
    sample_indices = _sample_indices(len(sequence), arguments.max_frames)
    rclpy.init(args=[])
    try:
        with mapping_node(_node_parameters(arguments, output), output / "node.log") as node:
            print(f"mapping_node runs as process {node.process.pid}; its log is {node.log}")
            played = PlayedFrames()
            first, rest = _open_frames(sequence, played, arguments.max_frames)
            player = Player(calibrated=first.intrinsics is not None)
            try:
                player.wait_until_ready(node)
                _play(
                    player, node, chain([first], rest), arguments, sample_indices, len(sequence), played
                )
                for service in ("save_trajectory", "save_map"):
                    print(player.call(service))
                result = DemoResult(name, sequence, played, player, output)
            finally:
                player.close()
    finally:
        try_shutdown()
    return report(result)


def _sequence(arguments: argparse.Namespace) -> tuple[str, ImageSequence]:
    if arguments.images:
        return arguments.images.resolve().name, ImageFolder(arguments.images)
    if arguments.video:
        return arguments.video.name, Video(arguments.video)
    if arguments.bag:
        return arguments.bag.resolve().name, Bag(arguments.bag, arguments.topic)
    return f"procedural room, seed {arguments.seed}", ProceduralRoom(seed=arguments.seed)


def _print_sequence(name: str, sequence: ImageSequence) -> None:
    print(f"sequence: {name}, {len(sequence) or 'unknown number of'} frames")


def _sample_indices(count: int, limit: int) -> set[int]:
    count = min(count, limit) if limit and count else count or limit or 100
    return {round((count - 1) * fraction) for fraction in np.linspace(0.1, 0.9, SAMPLES)}


def _node_parameters(arguments: argparse.Namespace, output: Path) -> dict[str, object]:
    return {
        "device": arguments.device,
        "model_path": arguments.weights.expanduser().resolve() if arguments.weights else "",
        "output_directory": output,
        "diagnostics_period": 0.2,
        "image_qos": "sensor_data" if arguments.fps else "reliable",
    }


def _open_frames(
    sequence: ImageSequence, played: PlayedFrames, limit: int
) -> tuple[Frame, Iterator[Frame]]:
    """Return the first of ``limit`` frames (0: all) and an iterator over the others, which ends at a read error.

    Raises:
        SourceError: the sequence is empty.
    """
    frames = islice(sequence.frames(), limit or None)
    first = next(frames, None)
    if first is None:
        msg = "the sequence has no images"
        raise SourceError(msg)
    return first, _prefetch(_until_error(frames, played))


def _prefetch(frames: Iterator[Frame]) -> Iterator[Frame]:
    """Yield the frames and read the next one in the background, because a camera does not wait for the node."""
    with ThreadPoolExecutor(1, thread_name_prefix="images") as reader:
        upcoming = reader.submit(next, frames, None)
        while (frame := upcoming.result()) is not None:
            upcoming = reader.submit(next, frames, None)
            yield frame


def _until_error(frames: Iterator[Frame], played: PlayedFrames) -> Iterator[Frame]:
    try:
        yield from frames
    except SourceError as error:
        played.problem = str(error)


def _play(
    player: Player,
    node: NodeProcess,
    frames: Iterator[Frame],
    arguments: argparse.Namespace,
    sample_indices: set[int],
    count: int,
    played: PlayedFrames,
) -> None:
    total = min(count, arguments.max_frames) if arguments.max_frames else count
    started = time.monotonic()
    interval_s = 0.1 if sys.stderr.isatty() else 5.0  # few lines in a log file
    with tqdm(total=total or None, unit="frame", dynamic_ncols=True, mininterval=interval_s) as bar:
        for index, frame in enumerate(frames):
            if index in sample_indices:
                played.samples.append(frame)
                player.request_depth(frame.stamp_ns)
            if arguments.fps:
                time.sleep(max(0.0, started + index / arguments.fps - time.monotonic()))
            player.publish(frame)
            played.stamps_ns.append(frame.stamp_ns)
            if not arguments.fps:
                player.wait_for(node, lambda: player.is_finished(len(played.stamps_ns)))
            bar.set_postfix(dropped=player.stats.dropped, refresh=False)
            bar.update()
        played.seconds = time.monotonic() - started
        player.wait_for(node, lambda: player.stats.finished >= len(played.stamps_ns))
        bar.set_postfix(dropped=player.stats.dropped)
