# SPDX-License-Identifier: Apache-2.0
"""One step of the optimizer, computed at once or replayed from a CUDA graph.

A step of many views is ten thousand small kernels: launching them takes longer than running them. Recorded once per
number of views, they run without their launches.
"""

from __future__ import annotations

from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from training.losses import total_loss
from training.optimizer import Optimizer
from training.rollout import SparseHeads, unroll
from training.views import Draw, Pixels, prepare
from ttt3r_ros.model.network.blocks import DecoderBlock, EncoderBlock, ModulatedBlock
from ttt3r_ros.model.runtime.compilation import raise_recompile_limit

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.curriculum import Plan
    from ttt3r_ros.model.network.network import Ttt3r
    from ttt3r_ros.model.network.update_rules import UpdateRule

CLIP_NORM = 1.0
STEPS_USED = "steps_used"  # those whose gradient was finite
EAGER_STEPS = 2  # before one is recorded: kernels are compiled, tables and workspaces made


class Step:
    """Updates a network and its average from a batch."""

    def __init__(self, network: Ttt3r, plan: Plan) -> None:
        self.network, self.plan = network, plan
        self.heads = SparseHeads.into(network, plan.pixel_step)  # new parameters: before the optimizer
        self.optimizer = Optimizer(network)
        self.average = {name: value.clone() for name, value in network.state_dict().items()}
        self.keep = torch.zeros((), device=network.pose_token.device)  # of the average
        self.names: tuple[str, ...] = ()  # of the figures that a step returns
        for module in (network.patch_embed, network.decoder_embed_state):
            module.register_forward_hook(_in_float32)  # what blocks add to must not be rounded

    def __call__(self, draw: Draw, rule: UpdateRule) -> Tensor:
        """Unroll the network over the views, update its weights, and return the parts of the loss and plain errors.

        A gradient that is not finite counts as none, and so do the figures of its step.
        """
        gradient, parts = self._gradient(draw, rule)
        gradient = average_gradient(gradient, self.plan.processes)
        norm = gradient.norm()
        usable = norm.isfinite()
        clipped = gradient * (CLIP_NORM / (norm + 1e-6)).clamp(max=1.0)
        self.optimizer.step(torch.where(usable, clipped, 0.0))
        self._update_average()
        figures = parts | {"gradient": norm, STEPS_USED: torch.ones_like(norm)}
        self.names = tuple(figures)
        return torch.where(usable, torch.stack(list(figures.values())), 0.0)

    def _gradient(self, draw: Draw, rule: UpdateRule) -> tuple[Tensor, dict[str, Tensor]]:
        self.network.rule = rule
        self.heads.offset = draw.offset
        rgb = draw.clips.rgb
        size = (rgb.shape[-2], rgb.shape[-1])
        views = prepare(
            draw.clips, draw.resets, draw.mirrored, Pixels.every(self.heads.step, size, draw.offset)
        )
        with torch.autocast("cuda", torch.bfloat16, enabled=rgb.is_cuda):
            answers = unroll(self.network, views)
        loss, parts = total_loss(answers, views.truth, views.resets)
        parameters = list(self.network.parameters())
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        return flat, {name: part.detach() for name, part in parts.items()}

    @torch.no_grad()
    def _update_average(self) -> None:
        current = self.network.state_dict()
        average = list(self.average.values())
        torch._foreach_mul_(average, self.keep)
        torch._foreach_add_(
            average,
            torch._foreach_mul([current[name] for name in self.average], 1 - self.keep),  # noqa: SLF001
        )


def average_gradient(gradient: Tensor, processes: int) -> Tensor:
    """Return the mean gradient of all processes."""
    if processes == 1:
        return gradient
    dist.all_reduce(gradient)
    return gradient / processes


def _in_float32(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
    return output.float()


class RecordedStep:
    """The same on a GPU: after two steps of a kind the third is recorded, and replayed from then on."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._seen: dict[tuple[object, ...], int] = {}
        self._recordings: dict[tuple[object, ...], _CapturedGraph] = {}
        self._views = 0

    def __call__(self, draw: Draw, rule: UpdateRule) -> Tensor:
        """Return values that the next call overwrites."""
        views, size = draw.resets.shape[1], tuple(draw.clips.rgb.shape[-2:])
        if views != self._views:  # another stage: the recorded graph is not used again
            self._recordings.clear()
            self._views = views
        key = (views, size, rule)
        self._seen[key] = self._seen.get(key, 0) + 1
        if self._seen[key] <= EAGER_STEPS:
            return self._step(draw, rule)
        if key not in self._recordings:
            self._recordings[key] = _CapturedGraph(self._step, draw, rule)
        return self._recordings[key](draw)


class _CapturedGraph:
    def __init__(self, step: Step, draw: Draw, rule: UpdateRule) -> None:
        torch.cuda.empty_cache()  # a graph has memory of its own
        self._draw = draw.map(Tensor.clone)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._figures = step(self._draw, rule)

    def __call__(self, draw: Draw) -> Tensor:
        for kept, new in zip(self._draw.tensors(), draw.tensors(), strict=True):
            kept.copy_(new)
        self._graph.replay()
        return self._figures


def compile_blocks(network: Ttt3r) -> None:
    """Compile the blocks, once for each kind and shape: what lies between matrix products is fused."""
    raise_recompile_limit()
    kinds = (EncoderBlock, DecoderBlock, ModulatedBlock)
    compiled = {kind: torch.compile(kind.forward, dynamic=False) for kind in kinds}
    for module in network.modules():
        if isinstance(module, kinds):
            forward = partial(_dense, MethodType(compiled[type(module)], module))
            module.forward = forward  # type: ignore[assignment]


def _dense(forward: Callable[..., Any], x: Tensor, context: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Call with dense tokens: a kernel is compiled for one set of strides."""
    dense = context.contiguous() if isinstance(context, Tensor) else context
    return forward(x.contiguous(), dense, *args, **kwargs)
