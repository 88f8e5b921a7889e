# SPDX-License-Identifier: Apache-2.0
"""Muon for the matrices of the blocks, AdamW for all else, on one flat gradient.

Muon (Jordan et al., 2024) replaces the momentum of a matrix by the nearest matrix with equal singular values, by
Newton-Schulz iterations, so that rare directions are learned as fast as common ones; scaled by the size of the matrix
as Moonlight does (Liu et al., 2025, arXiv 2502.16982) one learning rate serves all. Matrices of one shape are
corrected together.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WEIGHT_DECAY = 0.05  # of the matrices; gains, biases and single tokens have no reason to be small
ADAM_BETAS, ADAM_EPS = (0.9, 0.95), 1e-8
MOMENTUM = 0.95
# Of a matrix's update at a learning rate of 1; Moonlight has 0.2, as AdamW late in a run.
UPDATE_RMS = 0.6
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
# What enters and leaves the network is left to AdamW.
BY_ADAM = (
    "patch_embed",
    "register_tokens",
    "decoder_embed",
    "downstream_head.proj.fc2",
    "downstream_head.cross_proj.fc2",
    "downstream_head.pose_head",
)


class Optimizer:
    """Updates parameters in place, using tensors alone, as CUDA graphs require."""

    def __init__(self, network: nn.Module) -> None:
        named = list(network.named_parameters())
        self._parameters: list[Tensor] = [parameter for _, parameter in named]
        self._sizes = [parameter.numel() for parameter in self._parameters]
        inner = [_is_inner_matrix(name, parameter) for name, parameter in named]
        self._rest = [index for index, is_inner in enumerate(inner) if not is_inner]
        self._groups: dict[tuple[int, ...], list[int]] = {}
        for index, parameter in enumerate(self._parameters):
            if inner[index]:
                self._groups.setdefault(tuple(parameter.shape), []).append(index)
        self._decay = torch.cat([_decay(self._parameters[index]).flatten() for index in self._rest])
        self._factors = torch.ones(3, device=self._decay.device)  # learning rate, two bias corrections
        self._steps = 0
        self._mean, self._square = torch.zeros_like(self._decay), torch.zeros_like(self._decay)
        self._momenta = [
            torch.zeros(len(members), *shape, device=self._decay.device)
            for shape, members in self._groups.items()
        ]

    def prepare(self, rate: float) -> None:
        """Set the learning rate of the next step."""
        self._steps += 1
        factors = [rate, *(1 - beta**self._steps for beta in ADAM_BETAS)]
        for factor, value in zip(self._factors, factors, strict=True):
            factor.fill_(value)

    @torch.no_grad()
    def step(self, gradient: Tensor) -> None:
        """Update the parameters by a flat gradient, in the order of the network's parameters."""
        parts = gradient.split(self._sizes)
        self._adam(torch.cat([parts[index] for index in self._rest]))
        for (shape, members), momentum in zip(self._groups.items(), self._momenta, strict=True):
            stacked = torch.stack([parts[index] for index in members]).unflatten(1, shape)
            self._muon([self._parameters[index] for index in members], stacked, momentum)

    def _adam(self, gradient: Tensor) -> None:
        rate, mean_unbiased, square_unbiased = self._factors
        self._mean.lerp_(gradient, 1 - ADAM_BETAS[0])
        self._square.lerp_(gradient * gradient, 1 - ADAM_BETAS[1])
        size = (self._square / square_unbiased).sqrt() + ADAM_EPS
        update = self._mean / mean_unbiased / size
        parameters = [self._parameters[index] for index in self._rest]
        current = torch.cat([parameter.flatten() for parameter in parameters])
        _assign(parameters, current - rate * (update + self._decay * current))

    def _muon(self, parameters: list[Tensor], gradient: Tensor, momentum: Tensor) -> None:
        rate = self._factors[0]
        momentum.lerp_(gradient, 1 - MOMENTUM)
        ahead = torch.lerp(gradient, momentum, MOMENTUM)  # Nesterov
        update = orthogonalize(ahead) * (-UPDATE_RMS * max(gradient.shape[-2:]) ** 0.5 * rate)
        torch._foreach_mul_(parameters, 1 - rate * WEIGHT_DECAY)
        torch._foreach_add_(parameters, list(update.unbind(0)))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state needed to resume a run."""
        momenta = {f"momentum {index}": value for index, value in enumerate(self._momenta)}
        steps = torch.tensor(self._steps)
        return {"steps": steps, "mean": self._mean, "square": self._square} | momenta

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore a state of `state_dict`."""
        for name, value in self.state_dict().items():
            value.copy_(state[name])
        self._steps = int(state["steps"])


def orthogonalize(matrices: Tensor) -> Tensor:
    """Return matrices (K, rows, columns) with the same singular vectors and singular values of about 1."""
    x = matrices.bfloat16() if matrices.device.type != "cpu" else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    a, b, c = NEWTON_SCHULZ
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).to(matrices.dtype)


def _is_inner_matrix(name: str, parameter: Tensor) -> bool:
    return parameter.ndim == 2 and parameter.shape[0] > 1 and not name.startswith(BY_ADAM)


def _decay(parameter: Tensor) -> Tensor:
    is_matrix = parameter.ndim >= 2 and parameter.shape[0] > 1
    return torch.full_like(parameter, WEIGHT_DECAY if is_matrix else 0.0, requires_grad=False)


def _assign(parameters: list[Tensor], flat: Tensor) -> None:
    parts = flat.split([parameter.numel() for parameter in parameters])
    torch._foreach_copy_(
        parameters, [part.view_as(p) for part, p in zip(parts, parameters, strict=True)]
    )
