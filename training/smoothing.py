# SPDX-License-Identifier: Apache-2.0
"""Heads without the noise between neighboring pixels.

Where a loss looks at every n-th pixel, each pixel of a patch has an answer of its own from few examples, and depth
shows a fine weave. Every answer becomes the one that a plane through its surroundings within the patch has there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from training.growth import DENSE_HEADS

if TYPE_CHECKING:
    from ttt3r_ros.model.network.config import NetworkConfig

CHANNELS = 4  # x, y, z, confidence
REACH = 0.75  # standard deviation of the surroundings, in steps between the pixels of a loss


def smoothed_heads(tensors: dict[str, Tensor], config: NetworkConfig, step: int) -> dict[str, Tensor]:
    """Return a network's tensors with smooth linear heads, for a loss on every ``step``-th pixel."""
    if step == 1 or config.head_type != "linear":
        return tensors
    fit = local_lines(config.patch_size, REACH * step)
    return {
        name: _smooth(value, fit) if name.startswith(DENSE_HEADS) else value
        for name, value in tensors.items()
    }


def local_lines(count: int, sigma: float) -> Tensor:
    """Return the matrix (count, count) that gives each of equidistant values the value of a line fitted around it."""
    place = torch.arange(count, dtype=torch.float64)
    rows = []
    for here in place:
        offset = place - here
        weight = torch.exp(-(offset**2) / (2 * sigma**2))
        basis = torch.stack((torch.ones_like(offset), offset), dim=1)
        weighted = basis * weight[:, None]
        rows.append(torch.linalg.solve(basis.T @ weighted, weighted.T)[0])
    return torch.stack(rows)


def _smooth(rows: Tensor, fit: Tensor) -> Tensor:
    """Smooth along both axes of a patch; ``rows`` (4 * patch * patch, ...) are the outputs of a layer."""
    pixels = rows.double().unflatten(0, (CHANNELS, *fit.shape))
    smooth = torch.einsum("ij,kl,cjl...->cik...", fit, fit, pixels)
    return smooth.flatten(0, 2).to(rows.dtype)
