# SPDX-License-Identifier: Apache-2.0
"""Arguments of the subcommand ``demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttt3r_ros.cli.arguments import frequency_hz, integer, require_extra

if TYPE_CHECKING:
    import argparse

DESCRIPTION = "Play a sequence over DDS to a mapping node in its own process and show the result."


def add_parser(commands: Any) -> None:
    """Add the subcommand ``demo``."""
    parser = commands.add_parser(
        "demo", help="map a sequence over DDS and draw the result", description=DESCRIPTION
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
        "--max-frames", type=integer(0), default=0, metavar="N", help="stop after N frames (0: all)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the embedded room")
    parser.add_argument(
        "--fps", type=frequency_hz(zero=True), default=0.0, metavar="HZ",
        help="play like a live camera and let the node drop frames (0: as fast as the node maps them)",
    )  # fmt: skip
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    with require_extra("demo", "pip install 'ttt3r_ros[demo]', or use ./scripts/demo"):
        from ttt3r_ros.ros.harness.demo import run  # noqa: PLC0415 - the other commands need neither ROS nor pictures
    return run(arguments)
