# SPDX-License-Identifier: Apache-2.0
"""Confidence of weights of before `losses.CONFIDENCE_GAIN`: ``python -m training.confidence IN OUT.safetensors``.

What exceeds 1 is multiplied, which is a shift of one bias: which points are surer than others, their places and the
poses stay as they are.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from training.growth import DENSE_HEADS
from ttt3r_ros.errors import CheckpointError, Ttt3rError
from ttt3r_ros.io.atomic import atomic_write
from ttt3r_ros.model.checkpoints.checkpoint import load_checkpoint, save_checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from ttt3r_ros.model.network.config import NetworkConfig

GAIN = 8.0  # lifts nine of ten pixels of held-out walks over 1.5, the node's map.min_confidence


def main(argv: list[str] | None = None) -> int:
    """Rewrite one file; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="weights, .safetensors")
    parser.add_argument("target", type=Path, help="file to write, .safetensors")
    arguments = parser.parse_args(argv)
    try:
        checkpoint = load_checkpoint(arguments.source)
        tensors = raised_confidence(checkpoint.tensors, checkpoint.config)
        with atomic_write(arguments.target) as file:
            save_checkpoint(file.name, tensors, checkpoint.config, checkpoint.reset_interval)
    except Ttt3rError as error:
        print(f"confidence: {error}", file=sys.stderr)
        return 1
    return 0


def raised_confidence(
    tensors: dict[str, Tensor], config: NetworkConfig, gain: float = GAIN
) -> dict[str, Tensor]:
    """Return the tensors with ``gain`` times the confidence above 1.

    Raises:
        CheckpointError: the network has no linear heads with confidence 1 + exp(x).
    """
    if config.head_type != "linear" or tuple(config.conf_mode[:2]) != ("exp", 1):
        found = f"head_type is '{config.head_type}' and conf_mode {config.conf_mode}"
        msg = f"{found}; expected 'linear' and ('exp', 1, inf)"
        raise CheckpointError(msg)
    biases = {f"{head}bias" for head in DENSE_HEADS}
    return {
        name: _raise_confidence(value, gain) if name in biases else value
        for name, value in tensors.items()
    }


def _raise_confidence(bias: Tensor, gain: float) -> Tensor:
    """Shift the last of four channels (4 * patch * patch): x, y, z, confidence."""
    raised = bias.clone()
    raised.view(4, -1)[3] += math.log(gain)
    return raised


if __name__ == "__main__":
    sys.exit(main())
