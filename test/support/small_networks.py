# SPDX-License-Identifier: Apache-2.0
"""Small networks with seeded weights, and images for them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from ttt3r_ros.errors import NonFiniteError
from ttt3r_ros.model.network.config import DptWidths, NetworkConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ttt3r_ros.model.network.state import RecurrentState
    from ttt3r_ros.model.runtime.backend import Answer, TorchBackend
    from ttt3r_ros.types import Prediction, UInt8Array

LINEAR = NetworkConfig(
    enc_embed_dim=64, enc_depth=2, enc_num_heads=4, dec_embed_dim=48, dec_depth=4, dec_num_heads=4,
    state_dec_num_heads=2, state_size=20, local_mem_size=8, head_type="linear", img_size=(64, 64),
)  # fmt: skip
DPT = replace(LINEAR, head_type="dpt", dpt=DptWidths(32, 16, (12, 24, 48, 96)))


def images(batch: int, seed: int = 0, height: int = 48, width: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, height, width, generator=generator) * 2 - 1


def noise(seed: int, height: int = 60, width: int = 80) -> UInt8Array:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def walk(backend: TorchBackend, images: Sequence[UInt8Array]) -> RecurrentState:
    state = backend.initial_state()
    for rgb in images:
        _, state = backend.step(rgb, state)
    return state


def good(answer: Answer) -> tuple[Prediction, RecurrentState]:
    assert not isinstance(answer, NonFiniteError)
    return answer
