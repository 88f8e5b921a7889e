# SPDX-License-Identifier: Apache-2.0
"""The network over a sequence of views, as it runs in a stream, but with gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from training.losses import Answers
from training.views import Pixels, Views
from ttt3r_ros.model.network.heads import LinearHeads
from ttt3r_ros.model.network.state import RecurrentState
from ttt3r_ros.model.network.view import OptionalOutputs, PointMap, View

if TYPE_CHECKING:
    from ttt3r_ros.model.network.blocks import Mlp
    from ttt3r_ros.model.network.config import NetworkConfig
    from ttt3r_ros.model.network.heads import HeadOutput
    from ttt3r_ros.model.network.network import Ttt3r
    from ttt3r_ros.model.network.rope import RotaryTable
    from ttt3r_ros.model.network.view import StepOutput


# Views; the same for sequences of any length, so that one set of kernels serves them all.
ENCODED_TOGETHER = 2


def unroll(network: Ttt3r, views: Views, *, world: bool = True) -> Answers:
    """Run all views in order; a view with reset starts from the initial state."""
    batch, count = views.images.shape[:2]
    features = torch.cat(
        [_encode(network, part) for part in views.images.split(ENCODED_TOGETHER, dim=1)], dim=1
    )
    initial = network.initial_state(batch)
    state = initial
    outputs = []
    for index in range(count):
        if index:
            state = restart(state, initial, views.resets[:, index])
        view = View(image=views.images[:, index])
        output, state = network.advance(view, features[:, index], state, OptionalOutputs(world=world))
        outputs.append(output)
    return _stack(outputs)


def _encode(network: Ttt3r, images: Tensor) -> Tensor:
    return network.encode(View(image=images.flatten(0, 1))).unflatten(0, images.shape[:2])


def restart(state: RecurrentState, initial: RecurrentState, resets: Tensor) -> RecurrentState:
    """Restart where ``resets`` (B,) is true."""
    here = resets[:, None, None]
    return RecurrentState(
        tokens=torch.where(here, initial.tokens, state.tokens),
        memory=torch.where(here, initial.memory, state.memory),
        fresh=state.fresh | resets,
    )


def _stack(outputs: list[StepOutput]) -> Answers:
    worlds = [output.world for output in outputs if output.world is not None]
    return Answers(
        camera=_stacked_maps([output.camera for output in outputs]),
        world=_stacked_maps(worlds) if worlds else None,
        pose=torch.stack([output.pose for output in outputs], dim=1),
    )


def _stacked_maps(maps: list[PointMap]) -> PointMap:
    return PointMap(
        torch.stack([one.points for one in maps], dim=1),
        torch.stack([one.confidence for one in maps], dim=1),
    )


class SparseHeads(LinearHeads):
    """The linear heads where only every ``step``-th row and column of pixels is computed.

    Under autocast their hidden layers are computed in half precision, the rest is not.
    """

    def __init__(self, config: NetworkConfig, step: int) -> None:
        super().__init__(config)
        self.step = step
        self.offset = torch.zeros(2, dtype=torch.long)

    @classmethod
    def into(cls, network: Ttt3r, step: int) -> SparseHeads:
        """Let a network have sparse heads with the weights of its own."""
        heads = cls(network.config, step).to(network.pose_token.device)
        heads.load_state_dict(network.downstream_head.state_dict())
        network.downstream_head = heads
        return heads

    def forward(
        self,
        layers: tuple[Tensor, ...],
        grid: tuple[int, int],
        rotary: RotaryTable,
        outputs: OptionalOutputs,
    ) -> HeadOutput:
        """Run the heads as the network does, but for the pixels that are left out."""
        dense = self._run(layers, grid, rotary, outputs)
        with torch.autocast(layers[-1].device.type, enabled=False):
            return replace(dense, pose=self.pose_head(layers[-1][:, 0].float()))

    def _dense(self, proj: Mlp, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        patch = self.config.patch_size
        pixels = Pixels.every(self.step, (patch, patch), self.offset)

        def select(layer: Tensor) -> Tensor:
            layer = layer.unflatten(0, (-1, patch, patch)).index_select(1, pixels.rows)
            return layer.index_select(2, pixels.columns).flatten(0, 2)

        hidden = F.gelu(proj.fc1(tokens))
        with torch.autocast(hidden.device.type, enabled=False):
            raw = F.linear(hidden.float(), select(proj.fc2.weight), select(proj.fc2.bias))
        return F.pixel_shuffle(raw.transpose(1, 2).unflatten(2, grid), patch // self.step)
