# SPDX-License-Identifier: Apache-2.0
"""The optimiser loop: one process per device, or a few on a processor's cores, averaging their gradients."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from training.checkpoints import Progress, append_log, load_progress, save_progress
from training.clip_store import ClipStore
from training.initialisation import initial_network
from training.losses import total_loss
from training.rollout import thinned, unroll
from training.sequences import make_clips
from training.textures import TextureBank
from training.views import draw_views
from ttt3r_ros.errors import CheckpointError
from ttt3r_ros.model.checkpoint import check_tensors, load_checkpoint
from ttt3r_ros.model.update_rules import update_rule

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from training.curriculum import Plan
    from ttt3r_ros.model.network import Ttt3r

CLIP_NORM = 1.0
WEIGHT_DECAY, BETAS = 0.05, (0.9, 0.95)
LOG_EVERY = 20  # steps


class Trainer:
    """Owns the network, its average and the optimiser; `step` is the whole algorithm."""

    def __init__(
        self,
        plan: Plan,
        run: Path,
        device: str,
        rank: int = 0,
        *,
        compiled: bool = False,
        start: Path | None = None,
    ) -> None:
        self.plan, self.run, self.device, self.rank = plan, run, device, rank
        bank = TextureBank.make(plan.seed, plan.per_material, device)
        self.store = ClipStore(plan, bank, rank, device)
        self.network = initial_network(plan.network, plan.seed, typical_patches(plan, bank, device)).to(
            device
        )
        if start is not None:
            self._take_over(start)
        self.average = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.optimiser = torch.optim.AdamW(
            _decaying(self.network),
            lr=plan.learning_rate,
            betas=BETAS,
            fused=True,
        )
        self.now = 0
        self._resume()
        self._sums: dict[str, Tensor] = {}
        self._summed = 0
        if compiled:
            compile_blocks(self.network)

    def _take_over(self, start: Path) -> None:
        checkpoint = load_checkpoint(start)
        if checkpoint.config != self.plan.network:
            msg = f"{start} has another architecture than the plan: {checkpoint.config}"
            raise CheckpointError(msg)
        check_tensors(
            {name: tuple(value.shape) for name, value in self.network.state_dict().items()},
            checkpoint.tensors,
        )
        self.network.load_state_dict(checkpoint.tensors)

    def _resume(self) -> None:
        progress = load_progress(self.run, repr(self.plan), self.device)
        if progress is None:
            return
        self.now = progress.step
        self.network.load_state_dict(progress.network)
        self.average = progress.average
        self.optimiser.load_state_dict(progress.optimiser)

    def step(self) -> None:
        """Draw views, unroll the network over them, correct it."""
        plan, now = self.plan, self.now
        stage = plan.stage(now)
        rng = torch.Generator().manual_seed((plan.seed * 1_000_003 + now) * 64 + self.rank)
        batch = plan.frames_per_step // plan.processes // stage.views
        clips = self.store.at(now)
        if plan.crops:
            clips = clips.cropped(*plan.crops[int(torch.randint(len(plan.crops), (1,), generator=rng))])
        views = draw_views(clips, rng, batch, stage.views, stage.reset_share, stage.span)
        row, column = torch.randint(plan.pixel_step, (2,), generator=rng).tolist()

        self.network.rule = update_rule(stage.rule)
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.startswith("cuda")):
            answers = unroll(self.network, views)
        answers, truth = thinned(answers, views.truth, (row, column), plan.pixel_step)
        loss, parts = total_loss(answers, truth, views.resets)

        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(self.network, plan.processes)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), CLIP_NORM)
        for group in self.optimiser.param_groups:
            group["lr"] = plan.learning_rate_at(now)
        usable = bool(torch.isfinite(norm))
        if usable:
            self.optimiser.step()
            self._update_average()
            self._note(parts | {"gradient": norm})
        self.now += 1

    def _note(self, parts: dict[str, Tensor]) -> None:
        self._summed += 1
        for name, value in parts.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value.detach()

    @torch.no_grad()
    def _update_average(self) -> None:
        keep = min(self.plan.ema, self.now / (self.now + 10))
        current = self.network.state_dict()
        torch._foreach_lerp_(
            list(self.average.values()), [current[name] for name in self.average], 1 - keep
        )

    def save(self) -> None:
        """Write the checkpoint; only the first process does."""
        if self.rank == 0:
            network, optimiser = self.network.state_dict(), self.optimiser.state_dict()
            save_progress(
                self.run, Progress(self.now, network, self.average, optimiser, repr(self.plan))
            )

    def log(self, frames_per_s: float) -> dict[str, float | str]:
        """Return and write the means since the last call."""
        row: dict[str, float | str] = {
            "step": self.now,
            "frames": self.now * self.plan.frames_per_step,
            "views": self.plan.stage(self.now - 1).views,
            "learning_rate": self.plan.learning_rate_at(self.now - 1),
            "frames_per_s": round(frames_per_s, 1),
            "steps_used": self._summed,  # those whose gradient was finite
        }
        row |= {name: round(float(value) / self._summed, 5) for name, value in self._sums.items()}
        self._sums, self._summed = {}, 0
        if self.rank == 0:
            append_log(self.run, row)
        return row


def train(trainer: Trainer, minutes: float, report: Callable[[dict[str, float | str]], None]) -> bool:
    """Step for some minutes or to the plan's end; return whether the run is complete.

    All processes must stop at the same step, so the first one's clock decides for all.
    """
    plan = trainer.plan
    deadline = time.monotonic() + 60 * minutes
    trainer.store.at(trainer.now)  # renders what a break has lost; no part of the rate
    saved = logged = time.monotonic()
    first = trainer.now
    while trainer.now < plan.steps:
        trainer.step()
        if trainer.now % LOG_EVERY == 0:
            now = time.monotonic()
            report(trainer.log((trainer.now - first) * plan.frames_per_step / (now - logged)))
            logged, first = now, trainer.now
            if now - saved > 120:
                trainer.save()
                saved = now
        if agreed(time.monotonic() > deadline, plan.processes):
            break
    trainer.save()
    return trainer.now >= plan.steps


def agreed(mine: bool, processes: int) -> bool:  # noqa: FBT001 - a vote
    """Return what the first process thinks."""
    if processes == 1:
        return mine
    vote = torch.tensor([int(mine)])
    dist.broadcast(vote, 0)
    return bool(vote)


def average_gradients(network: Ttt3r, processes: int) -> None:
    """Let every process have the mean gradient of all."""
    if processes == 1:
        return
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= processes
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()


def _decaying(network: Ttt3r) -> list[dict[str, object]]:
    """Return parameter groups: matrices decay; gains, biases and single tokens have no reason to be small."""
    groups: dict[float, list[nn.Parameter]] = {WEIGHT_DECAY: [], 0.0: []}
    for parameter in network.parameters():
        is_matrix = parameter.ndim >= 2 and parameter.shape[0] > 1
        groups[WEIGHT_DECAY if is_matrix else 0.0].append(parameter)
    return [{"params": group, "weight_decay": decay} for decay, group in groups.items()]


def typical_patches(plan: Plan, bank: TextureBank, device: str = "cpu") -> Tensor:
    """Return image patches (K, 3 * patch * patch) in [-1, 1] of a few clips."""
    side = plan.network.patch_size
    seeds = [(plan.seed, 10**6, index) for index in range(8)]
    clips = [make_clips(seed, 2, plan.recipe, bank, device).rgb for seed in seeds]
    images = torch.cat(clips).cpu().flatten(0, 1)[::3].float() / 127.5 - 1.0
    return nn.functional.unfold(images, side, stride=side).movedim(1, 2).flatten(0, 1)


def compile_blocks(network: Ttt3r) -> None:
    """Compile the blocks, once for each shape they meet; what lies between matrix products is fused."""
    blocks: Any = network.downstream_head.final_transform
    for module in (*network.enc_blocks, *network.dec_blocks, *network.dec_blocks_state, *blocks):
        module.compile(dynamic=False, recompile_limit=64, isolate_recompiles=True)
