# SPDX-License-Identifier: Apache-2.0
"""Arguments of the subcommand ``export``."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from ttt3r_ros.cli.arguments import integer, require_extra
from ttt3r_ros.config import Config

DESCRIPTION = (
    "Write the network as three static ONNX graphs, run them in onnxruntime on a few images of the embedded room, "
    "and keep them only if they agree with PyTorch."
)
_MOST_PX = 4096  # as for the parameter image_size


def add_parser(commands: Any) -> None:
    """Add the subcommand ``export``."""
    parser = commands.add_parser(
        "export", help="write the network as ONNX graphs, checked", description=DESCRIPTION
    )
    parser.add_argument(
        "--weights", type=Path, metavar="PATH", help=".pth or .safetensors (those of the package)"
    )
    parser.add_argument(
        "--size", type=_size, metavar="WxH", help="network image (the network's own for 4:3 cameras)"
    )
    parser.add_argument(
        "--batch", type=integer(1, 64), default=1, metavar="N", help="streams at once (1)"
    )
    parser.add_argument(
        "--update-rule", default=Config().update_rule, metavar="RULE", help="%(default)s"
    )
    parser.add_argument(
        "--opset", type=integer(1, 64), default=18, metavar="N", help="ONNX operator set (18)"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the files go")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    with require_extra("export", "pip install ttt3r_ros[export]"):
        from ttt3r_ros.offline.onnx_export import run  # noqa: PLC0415 - the other commands need neither torch nor ONNX
    return run(arguments)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,4})x(\d{1,4})", text)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 0 < min(size) <= max(size) <= _MOST_PX:
        msg = f"'{text}' is not a width and a height up to {_MOST_PX}, such as 512x384"
        raise argparse.ArgumentTypeError(msg)
    return size
