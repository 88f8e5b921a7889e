# SPDX-License-Identifier: Apache-2.0
"""Write the averaged weights of a run: ``python -m training.export runs/cpu OUT.safetensors``.

Half precision, about two bytes a parameter. With ``--pieces DIR`` also in pieces of at most 16 MiB, for machines that
give back no larger files; ``cat DIR/*`` puts them together again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from training.checkpoints import read_progress
from training.curriculum import PLANS
from training.smoothing import smoothed_heads
from ttt3r_ros.errors import CheckpointError, OutputError, Ttt3rError
from ttt3r_ros.io.atomic import atomic_write
from ttt3r_ros.model.checkpoints.checkpoint import save_checkpoint
from ttt3r_ros.model.checkpoints.networks import load_network

PIECE_BYTES = 16 * 2**20


def main(argv: list[str] | None = None) -> int:
    """Export one run; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("target", type=Path, help="file to write, .safetensors")
    parser.add_argument("--pieces", type=Path, metavar="DIR", help="also write pieces there")
    arguments = parser.parse_args(argv)
    try:
        _export(arguments.run, arguments.target, arguments.pieces)
    except Ttt3rError as error:
        print(f"export: {error}", file=sys.stderr)
        return 1
    return 0


def _export(run: Path, target: Path, pieces: Path | None) -> None:
    if target.suffix != ".safetensors":
        msg = f"cannot write {target}: expected a name that ends with .safetensors"
        raise OutputError(msg)
    progress = read_progress(run)
    plans = [plan for plan in PLANS.values() if repr(plan) == progress.plan]
    if not plans:
        msg = f"{run} was made with a plan that is no longer in training/curriculum.py"
        raise CheckpointError(msg)
    (plan,) = plans
    smooth = smoothed_heads(progress.average, plan.network, plan.pixel_step)
    tensors = {name: value.half() for name, value in smooth.items()}
    with atomic_write(target) as file:
        save_checkpoint(file.name, tensors, plan.network, plan.reset_interval)
    loaded = load_network(target)
    if pieces is not None:
        write_pieces(target.read_bytes(), pieces)
    size = target.stat().st_size / 2**20
    print(f"{loaded.description}: step {progress.step} of {plan.steps}, {size:.1f} MiB")


def write_pieces(data: bytes, folder: Path) -> list[Path]:
    """Split a file into numbered pieces of at most 16 MiB; existing pieces are deleted."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("piece_*"):
        old.unlink()
    starts = range(0, len(data), PIECE_BYTES)
    paths = [folder / f"piece_{index:03d}" for index in range(len(starts))]
    for path, start in zip(paths, starts, strict=True):
        path.write_bytes(data[start : start + PIECE_BYTES])
    return paths


if __name__ == "__main__":
    sys.exit(main())
