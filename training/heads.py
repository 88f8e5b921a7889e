# SPDX-License-Identifier: Apache-2.0
"""The camera-frame head of a network anew, all else as it is: ``python -m training.heads WEIGHTS OUT``.

What the head reads is computed once for each frame, in streams as the session shows them, so that two processor
cores suffice for a loss on every pixel and many rounds. Poses do not change.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from training.curriculum import PLANS
from training.losses import WEIGHTS, angular_distance, confident_distance
from training.sequences import make_clips
from training.textures import TextureBank
from training.views import Pixels, unprojected
from ttt3r_ros.errors import CheckpointError, Ttt3rError
from ttt3r_ros.io.writers import complete_file
from ttt3r_ros.model.checkpoint import load_checkpoint, save_checkpoint
from ttt3r_ros.model.heads import LinearHeads
from ttt3r_ros.model.view import PointMap, View
from ttt3r_ros.model.weights import load_network

if TYPE_CHECKING:
    from training.curriculum import Plan
    from ttt3r_ros.model.network import Ttt3r

_TOGETHER = 8  # clips that are rendered and shown together
_SEED = 77  # not that of a plan
_BATCH = 32  # frames of a step
_STEP = 2  # the loss looks at every second pixel along both axes, others each time


@dataclass(frozen=True)
class Examples:
    """What the head reads of N frames, and what it should say."""

    tokens: Tensor  # (N, patches, C) float16
    depth: Tensor  # (N, H, W) metres, float16
    focal_px: Tensor  # (N,)
    scale: Tensor  # (N,) mean distance of the points of the frame's clip [m]

    def __len__(self) -> int:
        return len(self.tokens)


@torch.inference_mode()
def seen_by(network: Ttt3r, plan: Plan, clips: int, seed: int = _SEED) -> Examples:
    """Show a network fresh clips of a plan's kind, each from its beginning."""
    bank = TextureBank.make(seed, plan.per_material)
    parts = []
    for first in range(0, clips, _TOGETHER):
        started = time.monotonic()
        shown = make_clips((seed, first), min(_TOGETHER, clips - first), plan.recipe, bank)
        state, tokens = network.initial_state(len(shown)), []
        for index in range(shown.rgb.shape[1]):
            output, state = network.step(View(image=shown.rgb[:, index].float() / 127.5 - 1.0), state)
            tokens.append(output.internals.decoder_layers[-1][:, 1:].half())
        count = shown.rgb.shape[1]
        focal_px = shown.focal_px.repeat_interleave(count)
        depth = shown.depth.flatten(0, 1)
        scale = unprojected(shown.depth.float(), shown.focal_px).norm(dim=-1).mean(dim=(1, 2, 3))
        parts.append(
            Examples(
                torch.stack(tokens, 1).flatten(0, 1), depth, focal_px, scale.repeat_interleave(count)
            )
        )
        print(f"{first + len(shown)} of {clips} clips, {time.monotonic() - started:.1f} s", flush=True)
    columns = zip(*(vars(part).values() for part in parts), strict=True)
    return Examples(*(torch.cat(column) for column in columns))


def fitted(network: Ttt3r, examples: Examples, rounds: float, rate: float = 1e-3) -> list[float]:
    """Fit the camera head to examples, each shown ``rounds`` times; return the losses."""
    head = _camera_head(network).requires_grad_(requires_grad=True)
    optimiser = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=0.01)
    rng = torch.Generator().manual_seed(_SEED)
    steps = math.ceil(rounds * len(examples) / _BATCH)
    losses = []
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))
        loss = _loss(network, examples, torch.randint(len(examples), (_BATCH,), generator=rng), rng)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
        if step % 100 == 99:
            print(f"step {step + 1} of {steps}: loss {sum(losses[-100:]) / 100:.4f}", flush=True)
    head.requires_grad_(requires_grad=False)
    return losses


def _camera_head(network: Ttt3r) -> nn.Module:
    """Return what makes the points in the camera's frame of the last tokens.

    Raises:
        CheckpointError: the network has heads of another kind.
    """
    if not isinstance(network.downstream_head, LinearHeads):
        msg = f"head_type is '{network.config.head_type}'; expected 'linear'"
        raise CheckpointError(msg)
    return network.downstream_head.proj


def _loss(network: Ttt3r, examples: Examples, chosen: Tensor, rng: torch.Generator) -> Tensor:
    size = (examples.depth.shape[1], examples.depth.shape[2])
    patch = network.config.patch_size
    pixels = Pixels.every(_STEP, size, torch.randint(_STEP, (2,), generator=rng))
    depth = examples.depth[chosen][:, pixels.rows][..., pixels.columns].float()
    truth = unprojected(depth[:, None], examples.focal_px[chosen], pixels)
    heads, tokens = network.downstream_head, examples.tokens[chosen].float()
    raw = heads.camera_map((tokens,), (size[0] // patch, size[1] // patch))
    raw = raw[:, :, pixels.rows][..., pixels.columns]
    answer = heads.point_map(raw)
    answer = PointMap(answer.points[:, None], answer.confidence[:, None])  # each a sequence of one view
    distance = confident_distance(answer, truth, examples.scale[chosen])
    return WEIGHTS["camera"] * distance + WEIGHTS["ray"] * angular_distance(answer, truth)


def main(argv: list[str] | None = None) -> int:
    """Fit the head of one file; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="weights, .safetensors")
    parser.add_argument("target", type=Path, help="file to write, .safetensors")
    parser.add_argument(
        "--plan", choices=sorted(PLANS), default="gpu_longer", help="whose kind of clips"
    )
    parser.add_argument("--clips", type=int, default=640, help="fresh clips (640)")
    parser.add_argument("--rounds", type=float, default=8.0, help="times that each frame is shown (8)")
    parser.add_argument("--rate", type=float, default=1e-3, help="highest learning rate (0.001)")
    parser.add_argument(
        "--examples", type=Path, metavar="FILE", help="keep what the head reads there, for more tries"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="processor threads")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    torch.set_float32_matmul_precision("medium")
    try:
        network = load_network(arguments.source).network
        examples = _examples(network, arguments)
        fitted(network, examples, arguments.rounds, arguments.rate)
        _write(arguments.source, arguments.target, network)
    except Ttt3rError as error:
        print(f"heads: {error}", file=sys.stderr)
        return 1
    return 0


def _examples(network: Ttt3r, arguments: argparse.Namespace) -> Examples:
    kept: Path | None = arguments.examples
    if kept is not None and kept.is_file():
        return Examples(**torch.load(kept))
    examples = seen_by(network, PLANS[arguments.plan], arguments.clips)
    if kept is not None:
        torch.save(vars(examples), kept)
    return examples


def _write(source: Path, target: Path, network: Ttt3r) -> None:
    checkpoint = load_checkpoint(source)
    fitted_ones = {
        f"downstream_head.proj.{name}": value.half()
        for name, value in _camera_head(network).state_dict().items()
    }
    tensors = {**checkpoint.tensors, **fitted_ones}
    with complete_file(target) as file:
        save_checkpoint(file.name, tensors, checkpoint.config, checkpoint.reset_interval)


if __name__ == "__main__":
    sys.exit(main())
