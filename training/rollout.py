# SPDX-License-Identifier: Apache-2.0
"""The network over a sequence of views, as it runs in a stream, but with gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from training.losses import Answers
from training.views import Truth, Views
from ttt3r_ros.model.state import RecurrentState
from ttt3r_ros.model.view import Outputs, PointMap, View

if TYPE_CHECKING:
    from ttt3r_ros.model.network import Ttt3r
    from ttt3r_ros.model.view import NetworkOutput


def unroll(network: Ttt3r, views: Views, *, world: bool = True) -> Answers:
    """Show all views in order; a reset view meets a state that has seen nothing."""
    batch, count = views.images.shape[:2]
    features = network.encode(View(image=views.images.flatten(0, 1))).unflatten(0, (batch, count))
    initial = network.initial_state(batch)
    state = initial
    outputs = []
    for index in range(count):
        if index:
            state = restarted(state, initial, views.resets[:, index])
        view = View(image=views.images[:, index])
        output, state = network.advance(view, features[:, index], state, Outputs(world=world))
        outputs.append(output)
    return _stacked(outputs)


def restarted(state: RecurrentState, initial: RecurrentState, resets: Tensor) -> RecurrentState:
    """Begin anew where ``resets`` (B,) says so."""
    here = resets[:, None, None]
    return RecurrentState(
        tokens=torch.where(here, initial.tokens, state.tokens),
        memory=torch.where(here, initial.memory, state.memory),
        fresh=state.fresh | resets,
    )


def _stacked(outputs: list[NetworkOutput]) -> Answers:
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


def thinned(
    answers: Answers, truth: Truth, offset: tuple[int, int], step: int = 2
) -> tuple[Answers, Truth]:
    """Keep every ``step``-th pixel along both axes: neighbours say nearly the same, and cost as much."""
    rows, columns = slice(offset[0], None, step), slice(offset[1], None, step)

    def points(value: Tensor) -> Tensor:
        return value[:, :, rows, columns]

    def thin(value: PointMap) -> PointMap:
        return PointMap(points(value.points), points(value.confidence))

    return (
        Answers(
            thin(answers.camera), None if answers.world is None else thin(answers.world), answers.pose
        ),
        Truth(points(truth.points_camera), points(truth.points_world), truth.T_first_camera),
    )
