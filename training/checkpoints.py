# SPDX-License-Identifier: Apache-2.0
"""Checkpoint and log of a training run, complete enough to resume bit for bit."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ttt3r_ros.errors import CheckpointError, SourceError
from ttt3r_ros.io.atomic import atomic_write

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

FILE, LOG = "checkpoint.pt", "log.jsonl"


@dataclass(frozen=True)
class Progress:
    """Progress of a run."""

    step: int
    network: dict[str, Tensor]
    average: dict[str, Tensor]  # exponential moving average of the weights: the published weights
    optimizer: dict[str, Any]
    plan: str  # repr of the plan that the run was begun with


def save_progress(folder: Path, progress: Progress) -> None:
    """Replace the checkpoint of a run atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / FILE) as file:
        torch.save(vars(progress), file)


def load_progress(folder: Path, plan: str, device: str) -> Progress | None:
    """Return the checkpoint of a run, None if there is none.

    Raises:
        CheckpointError: it belongs to another plan.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    progress = read_progress(folder, device)
    if progress.plan != plan:
        msg = f"{path} was made with another plan; take another --run, or the plan it was begun with:\n{progress.plan}"
        raise CheckpointError(msg)
    return progress


def read_progress(folder: Path, device: str = "cpu") -> Progress:
    """Return the checkpoint of a run.

    Raises:
        CheckpointError: there is none, or it cannot be read.
    """
    path = folder / FILE
    try:
        return Progress(**torch.load(path, map_location=device, weights_only=True))
    except (OSError, RuntimeError, TypeError, ValueError, pickle.UnpicklingError) as error:
        msg = f"{path} is not the checkpoint of a training run: {error}"
        raise CheckpointError(msg) from error


def append_log(folder: Path, row: dict[str, float | str]) -> None:
    """Add a row to the log."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a log in the order they were written; after an interruption some steps may occur twice.

    Raises:
        SourceError: there is no such log, or no row in it.
    """
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        msg = f"{path} is not the log of a training run: {error}"
        raise SourceError(msg) from error
    if not rows:
        msg = f"{path} is empty; expected the log of a training run"
        raise SourceError(msg)
    return rows
