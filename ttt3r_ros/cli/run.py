# SPDX-License-Identifier: Apache-2.0
"""The subcommand ``run``: its arguments. What it does is in `run_command`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttt3r_ros.cli.arguments import needing, rate_hz, whole_number

if TYPE_CHECKING:
    import argparse

DESCRIPTION = (
    "Map recordings: every frame, no ROS needed, the same pipeline as mapping_node. A source is a bag (rosbag2, MCAP, "
    "ROS 1), a video, a folder of images, a dataset's folder, or webcam:0; several sources, or a pattern such as "
    "'bags/*.mcap', get a sub-folder each."
)


def add_parser(commands: Any) -> None:
    """Add the subcommand ``run``."""
    parser = commands.add_parser("run", help="map recordings, without ROS", description=DESCRIPTION)
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="what to map")
    parser.add_argument(
        "--output", type=Path, default=Path("out"), metavar="DIR", help="where results go (out)"
    )
    parser.add_argument(
        "--outputs", nargs="+", action="extend", metavar="NAME",
        help="outputs, by name: trajectory map report frames state (these are the default), glb rgb depth confidence "
        "npz colmap nerfstudio bag; all; default for the default ones",
    )  # fmt: skip
    _add_source_options(parser)
    _add_settings(parser)
    again = parser.add_mutually_exclusive_group()
    again.add_argument(
        "--resume", action="store_true", help="go on where a run into this folder was interrupted"
    )
    again.add_argument("--overwrite", action="store_true", help="replace a run that is there")
    _add_many_options(parser)
    parser.set_defaults(run=_run)


def _add_source_options(parser: argparse.ArgumentParser) -> None:
    source = parser.add_argument_group("source")
    source.add_argument("--topic", default="", help="image topic of a bag that has several")
    source.add_argument(
        "--camera-info-topic",
        default="",
        metavar="TOPIC",
        help="CameraInfo topic (default: next to the image topic)",
    )
    source.add_argument(
        "--format", default="auto",
        help="format of a folder: auto, folder, tum, kitti, euroc, 7scenes, scannet, bonn, sintel, nrgbd",
    )  # fmt: skip
    source.add_argument(
        "--calibration", type=Path, metavar="FILE",
        help="camera calibration: YAML of ROS's camera_calibration, or JSON with fx, fy, cx, cy, width, height",
    )  # fmt: skip
    source.add_argument(
        "--fps",
        type=rate_hz(),
        default=10.0,
        metavar="HZ",
        help="frame rate of a folder without stamps (10)",
    )
    source.add_argument(
        "--stride", type=whole_number(1), default=1, metavar="N", help="take every Nth frame"
    )
    source.add_argument(
        "--max-frames", type=whole_number(0), default=0, metavar="N", help="stop after N frames"
    )


def _add_settings(parser: argparse.ArgumentParser) -> None:
    settings = parser.add_argument_group("settings (`ttt3r_ros params` lists them)")
    settings.add_argument(
        "--set", dest="set_", nargs="+", action="extend", default=[], metavar="NAME=VALUE",
        help="any parameter of the node, such as map.voxel_size=0.02",
    )  # fmt: skip
    settings.add_argument("--config", type=Path, metavar="FILE", help="parameter file of the node")
    settings.add_argument("--device", help="auto, cpu, cuda or cuda:N")
    settings.add_argument("--weights", type=Path, metavar="FILE", help=".pth or .safetensors")


def _add_many_options(parser: argparse.ArgumentParser) -> None:
    many = parser.add_argument_group("several sources")
    many.add_argument(
        "--jobs", type=whole_number(1), metavar="N",
        help="processes at a time (one for each CUDA device, else 1)",
    )  # fmt: skip
    many.add_argument(
        "--ray", nargs="?", const="local", metavar="ADDRESS",
        help="on a Ray cluster, one task for each source: local, auto or an address; the folders must be shared",
    )  # fmt: skip
    many.add_argument(
        "--retries",
        type=whole_number(0),
        default=2,
        metavar="N",
        help="of a task whose process died (2)",
    )


def _run(arguments: argparse.Namespace) -> int:
    with needing("this", "pip install 'ttt3r_ros[run]'"):
        from ttt3r_ros.cli.run_command import run  # noqa: PLC0415 - the other commands need not wait for torch
    return run(arguments)
