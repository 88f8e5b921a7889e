# SPDX-License-Identifier: Apache-2.0
"""The subcommand ``eval``: arguments and printed results of `ttt3r_ros.evaluation.run`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ttt3r_ros.cli.arguments import add_settings, parse_config, require_extra

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
        "--lengths", nargs="+", type=_length, default=[], metavar="N",
        help="figures after the first N frames, 0: all (as the protocol has it)",
    )  # fmt: skip
    parser.add_argument("--update-rule", metavar="RULE", help="ttt3r or cut3r")
    add_settings(parser)
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="where table, plots and results go"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.update_rule:
        arguments.set_ = [*arguments.set_, f"update_rule={arguments.update_rule}"]
    config = parse_config(arguments)
    with require_extra("eval", "pip install 'ttt3r_ros[eval]'"):
        from ttt3r_ros.evaluation.run import evaluate_dataset, with_published_reset  # noqa: PLC0415 - torch takes seconds to load
    if not any(text.startswith("reset_interval=") for text in arguments.set_):
        config = with_published_reset(config)
    evaluation = evaluate_dataset(
        arguments.dataset,
        arguments.root,
        arguments.output,
        config,
        sequences=arguments.sequences,
        protocols=arguments.protocols,
        lengths=arguments.lengths,
        on_progress=lambda line: print(line, file=sys.stderr),
    )
    print(evaluation.table, end="")
    print(f"results: {arguments.output}/table.md, results.json and a figure of each sequence")
    failed = evaluation.failed_sequences()
    if failed:
        print(f"ttt3r_ros: no results for {', '.join(failed)}", file=sys.stderr)
    return 1 if failed or evaluation.failed_plots else 0


def _length(text: str) -> int:
    if not text.isdecimal():
        msg = f"'{text}' is not a number of frames; expected 0 (all) or more"
        raise argparse.ArgumentTypeError(msg)
    return int(text)
