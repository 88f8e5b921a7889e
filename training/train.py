# SPDX-License-Identifier: Apache-2.0
"""Train the weights: ``python -m training.train --plan cpu --run runs/cpu --minutes 9``; repeat it to continue.

A run is a folder. Each call trains for ``--minutes`` and writes a checkpoint; the next call continues from it. On a
CPU with equal options, the result is bit-identical to an uninterrupted run. Each call first renders its clips
again, which takes some minutes late in a run. A killed call loses at most two minutes of training.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is loaded

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from training.curriculum import PLANS, Plan
from training.trainer import Trainer, train
from ttt3r_ros.errors import Ttt3rError
from ttt3r_ros.model.runtime.devices import resolve_device

SHOWN = (
    "camera",
    "world",
    "pose",
    "motion",
    "bearing",
    "abs_rel",
    "t_over_moved",
    "rotation_deg",
    "turned_deg",
    "gradient",
)


def main(argv: list[str] | None = None) -> int:
    """Run one slice; return the exit status."""
    arguments = _arguments(argv)
    try:
        _run(arguments)
    except Ttt3rError as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    return 0


def _run(arguments: argparse.Namespace) -> None:
    plan, device = PLANS[arguments.plan], resolve_device(arguments.device)
    if plan.processes > 1:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the child processes, too
        with tempfile.TemporaryDirectory() as folder:
            together = (plan, arguments, device, f"file://{folder}/rendezvous")
            spawn(_process, args=together, nprocs=plan.processes, daemon=True)
    else:
        _process(0, plan, arguments, device)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", choices=PLANS, default="cpu")
    parser.add_argument(
        "--run", type=Path, required=True, metavar="DIR", help="checkpoint and log of the run"
    )
    parser.add_argument("--minutes", type=float, default=9.0, help="duration of this call")
    parser.add_argument(
        "--start",
        type=Path,
        metavar="FILE",
        help="initial weights of a new run, of the same architecture",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile the blocks with torch.compile (takes a minute, then steps are faster)",
    )
    return parser.parse_args(argv)


def _process(
    rank: int, plan: Plan, arguments: argparse.Namespace, device: str, meeting: str = ""
) -> None:
    if plan.processes > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // plan.processes))
        dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=plan.processes)
    if device.startswith("cuda"):
        torch.set_float32_matmul_precision("high")  # of the heads; all else is bfloat16
    trainer = Trainer(
        plan, arguments.run, device, rank, compiled=arguments.compile, start=arguments.start
    )
    complete = train(trainer, arguments.minutes, _report if rank == 0 else _silent)
    if rank == 0:
        print(
            f"{'complete' if complete else 'stopped'} at step {trainer.now} of {plan.steps}; {arguments.run}"
        )
    if plan.processes > 1:
        dist.destroy_process_group()


def _report(row: dict[str, float | str]) -> None:
    figures = " ".join(f"{name} {row[name]:.3f}" for name in SHOWN if name in row)
    print(f"step {row['step']} views {row['views']} {row['frames_per_s']}/s {figures}", flush=True)


def _silent(_: dict[str, float | str]) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main())
