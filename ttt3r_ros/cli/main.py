# SPDX-License-Identifier: Apache-2.0
"""The command ``ttt3r_ros``."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from ttt3r_ros import __version__
from ttt3r_ros.cli import demo, export, run, view
from ttt3r_ros.cli import eval as eval_command
from ttt3r_ros.config import parameters_yaml
from ttt3r_ros.errors import CheckpointError, OutputError, Ttt3rError
from ttt3r_ros.io.atomic import atomic_write


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; return the exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except Ttt3rError as error:
        print(f"ttt3r_ros: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("ttt3r_ros: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ttt3r_ros", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    convert = commands.add_parser("convert", help="turn a published .pth checkpoint into .safetensors")
    convert.add_argument("source", type=Path, metavar="IN", help="checkpoint, .pth or .safetensors")
    convert.add_argument("target", type=Path, metavar="OUT", help="file to write, .safetensors")
    convert.set_defaults(run=_convert)

    params = commands.add_parser("params", help="print every node parameter at its default, as YAML")
    params.set_defaults(run=_params)

    export.add_parser(commands)
    demo.add_parser(commands)
    run.add_parser(commands)
    eval_command.add_parser(commands)
    view.add_parser(commands)
    return parser


def _convert(arguments: argparse.Namespace) -> int:
    # torch takes seconds to load; the other commands should not wait for it.
    from ttt3r_ros.model.checkpoints.checkpoint import load_checkpoint, save_checkpoint  # noqa: PLC0415
    from ttt3r_ros.model.checkpoints.networks import load_tensors  # noqa: PLC0415

    target: Path = arguments.target
    if target.suffix != ".safetensors":
        msg = f"cannot write {target}: expected a name that ends with .safetensors"
        raise OutputError(msg)
    checkpoint = load_checkpoint(arguments.source)
    try:
        load_tensors(checkpoint.config, checkpoint.tensors)
    except CheckpointError as error:
        msg = f"{arguments.source}: {error}"
        raise CheckpointError(msg) from error
    with atomic_write(target) as file:
        save_checkpoint(file.name, checkpoint.tensors, checkpoint.config, checkpoint.reset_interval)
    written = load_checkpoint(target)
    print(f"{target}: {len(written.tensors)} tensors, sha256 {written.sha256}")
    return 0


def _params(_: argparse.Namespace) -> int:
    print(parameters_yaml(), end="")
    return 0
