# SPDX-License-Identifier: Apache-2.0
"""The subcommand ``eval``: its arguments. What it does is in `eval_run`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ttt3r_ros.cli.arguments import needing

DESCRIPTION = (
    "Evaluate poses, depth and reconstruction on a data set with ground truth, by the protocols of "
    "docs/evaluation.md, and write tables with published figures beside ours, plots, and results as JSON."
)


def add_parser(commands: Any) -> None:
    """Add the subcommand ``eval``."""
    parser = commands.add_parser(
        "eval", help="compare with ground truth, beside published figures", description=DESCRIPTION
    )
    parser.add_argument(
        "dataset", metavar="DATASET",
        help="tum, scannet, sintel, kitti, bonn, 7scenes, nrgbd, or folder (rgb/, groundtruth.txt, depth/; bags)",
    )  # fmt: skip
    parser.add_argument("root", type=Path, metavar="ROOT", help="folder that holds its sequences")
    parser.add_argument(
        "--sequences", nargs="+", default=[], metavar="NAME", help="these only (those of the protocol)"
    )
    parser.add_argument(
        "--protocols", nargs="+", default=[], metavar="NAME",
        help="these only: pose, pose_short, depth, reconstruction (all that the data set has)",
    )  # fmt: skip
    parser.add_argument(
        "--lengths", nargs="+", type=_count, default=[], metavar="N",
        help="figures after the first N frames, 0: all (as the protocol has it)",
    )  # fmt: skip
    parser.add_argument("--weights", type=Path, metavar="FILE", help=".pth or .safetensors")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--update-rule", metavar="RULE", help="ttt3r or cut3r")
    parser.add_argument(
        "--set", dest="set_", nargs="+", action="extend", default=[], metavar="NAME=VALUE",
        help="any parameter of the node, such as reset_interval=100",
    )  # fmt: skip
    parser.add_argument("--config", type=Path, metavar="FILE", help="parameter file of the node")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="where table, plots and results go"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    with needing("eval", "pip install 'ttt3r_ros[eval]'"):
        from ttt3r_ros.cli.eval_run import run  # noqa: PLC0415 - the other commands need not wait for torch
    return run(arguments)


def _count(text: str) -> int:
    # Two positions leave open how the path is turned about the line between them.
    if not text.isdecimal() or int(text) in (1, 2):
        msg = f"'{text}' frames cannot be evaluated; expected 0 (all) or at least 3"
        raise argparse.ArgumentTypeError(msg)
    return int(text)
