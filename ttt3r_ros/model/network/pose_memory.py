# SPDX-License-Identifier: Apache-2.0
"""The pose memory: associates the appearance of images with their pose tokens."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ttt3r_ros.model.network.blocks import DecoderBlock

DEPTH = 2


class PoseMemory(nn.Module):
    """Reads a pose token for an image's key, and writes one back.

    A memory (B, M, 2C) has M slots, each a key and a pose token of C channels. The blocks are decoder blocks. As
    there is one query to read and one entry to write, cheaper variants of their forward pass suffice.
    """

    def __init__(self, slots: int, feature_dim: int, dim: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.mem = nn.Parameter(torch.zeros(1, slots, 2 * dim))
        self.masked_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.proj_q = nn.Linear(feature_dim, dim)
        self.read_blocks = _blocks(2 * dim, heads, mlp_ratio)
        self.write_blocks = _blocks(2 * dim, heads, mlp_ratio)

    def key(self, features: Tensor) -> Tensor:
        """Return the key of an image with encoder features (B, N, F): (B, 1, C)."""
        return self.proj_q(features.mean(dim=1, keepdim=True))

    def read(self, memory: Tensor, key: Tensor) -> Tensor:
        """Return the pose token for a key, both (B, 1, C)."""
        query = torch.cat((key, self.masked_token.expand_as(key)), dim=-1)
        for block in self.read_blocks:
            query = cast("DecoderBlock", block).forward_single_query(query, memory)
        return query[..., key.shape[-1] :]

    def write(self, memory: Tensor, key: Tensor, pose_token: Tensor) -> Tensor:
        """Return the memory after writing a key and a pose token, both (B, 1, C)."""
        entry = torch.cat((key, pose_token), dim=-1)
        for block in self.write_blocks:
            memory = cast("DecoderBlock", block).forward_single_context(memory, entry)
        return memory


def _blocks(dim: int, heads: int, mlp_ratio: float) -> nn.ModuleList:
    return nn.ModuleList(DecoderBlock(dim, heads, mlp_ratio) for _ in range(DEPTH))
