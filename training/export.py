# SPDX-License-Identifier: Apache-2.0
"""Write the averaged weights of a run: ``python -m training.export runs/cpu OUT.safetensors``.

Half precision, about two bytes a parameter. With ``--pieces DIR`` also in pieces of at most 16 MiB, for machines that
give back no larger files; ``cat DIR/*`` puts them together again.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from training.checkpoints import FILE
from training.curriculum import PLANS
from ttt3r_ros.errors import CheckpointError
from ttt3r_ros.io.writers import complete_file
from ttt3r_ros.model.checkpoint import save_checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from training.curriculum import Plan

PIECE_BYTES = 16 * 2**20


def main(argv: list[str] | None = None) -> int:
    """Export one run; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("target", type=Path, help="file to write, .safetensors")
    parser.add_argument("--pieces", type=Path, metavar="DIR", help="also write pieces there")
    arguments = parser.parse_args(argv)
    plan, average, step = _read(arguments.run)
    tensors = {name: value.half() for name, value in average.items()}
    with complete_file(arguments.target) as file:
        save_checkpoint(file.name, tensors, plan.network, plan.reset_interval)
    data = arguments.target.read_bytes()
    if arguments.pieces:
        write_pieces(data, arguments.pieces)
    digest = hashlib.sha256(data).hexdigest()
    print(
        f"{arguments.target}: step {step} of {plan.steps}, {len(data) / 2**20:.1f} MiB, sha256 {digest}"
    )
    return 0


def _read(run: Path) -> tuple[Plan, dict[str, Tensor], int]:
    path = run / FILE
    if not path.is_file():
        msg = f"{path} does not exist; is {run} the folder of a run?"
        raise CheckpointError(msg)
    progress = torch.load(path, map_location="cpu", weights_only=True)
    plans = [plan for plan in PLANS.values() if repr(plan) == progress["plan"]]
    if not plans:
        msg = f"{path} was made with a plan that is no longer in training/curriculum.py"
        raise CheckpointError(msg)
    return plans[0], progress["average"], progress["step"]


def write_pieces(data: bytes, folder: Path) -> list[Path]:
    """Cut a file into numbered pieces of at most 16 MiB."""
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(data), PIECE_BYTES)
    paths = [folder / f"piece_{index:03d}" for index in range(len(starts))]
    for path, start in zip(paths, starts, strict=True):
        path.write_bytes(data[start : start + PIECE_BYTES])
    return paths


if __name__ == "__main__":
    sys.exit(main())
