# SPDX-License-Identifier: Apache-2.0
"""Pre-norm transformer blocks of the encoder, the decoders and the pose memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from ttt3r_ros.model.network.attention import CrossAttention, SelfAttention

if TYPE_CHECKING:
    from ttt3r_ros.model.network.rope import RotaryTable

LAYER_NORM_EPS = 1e-6


def layer_norm(dim: int) -> nn.LayerNorm:
    """Return a LayerNorm with this network's epsilon."""
    return nn.LayerNorm(dim, eps=LAYER_NORM_EPS)


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, dim: int, hidden: int, out: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, out)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., dim) to (..., out)."""
        return self.fc2(F.gelu(self.fc1(x)))


class EncoderBlock(nn.Module):
    """Self-attention, then an MLP."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = layer_norm(dim)
        self.attn = SelfAttention(dim, heads)
        self.norm2 = layer_norm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), dim)

    def forward(self, x: Tensor, rotary: RotaryTable | None) -> Tensor:
        """Return the next tokens (B, N, C)."""
        x = x + self.attn(self.norm1(x), rotary)
        return x + self.mlp(self.norm2(x))


class DecoderBlock(nn.Module):
    """Self-attention, attention to a context, then an MLP."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float, *, norm_context: bool = True) -> None:
        super().__init__()
        self.norm1 = layer_norm(dim)
        self.attn = SelfAttention(dim, heads)
        self.cross_attn = CrossAttention(dim, heads)
        self.norm2 = layer_norm(dim)
        self.norm3 = layer_norm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), dim)
        self.norm_y = layer_norm(dim) if norm_context else nn.Identity()

    def forward(
        self,
        x: Tensor,
        context: Tensor,
        rotary: RotaryTable | None = None,
        rotary_context: RotaryTable | None = None,
        *,
        with_logit: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the next tokens (B, N, C) and, ``with_logit``, their mean cross-attention logits (B, N)."""
        x = x + self.attn(self.norm1(x), rotary)
        attended, logit = self.cross_attn(
            self.norm2(x), self.norm_y(context), rotary, rotary_context, with_logit=with_logit
        )
        x = x + attended
        return x + self.mlp(self.norm3(x)), logit

    def forward_single_query(self, x: Tensor, context: Tensor) -> Tensor:
        """Return the result of `forward` for a single token (B, 1, C), at lower cost."""
        x = x + self.attn.forward_single(self.norm1(x))
        x = x + self.cross_attn.forward_single_query(self.norm2(x), self.norm_y(context))
        return x + self.mlp(self.norm3(x))

    def forward_single_context(self, x: Tensor, context: Tensor) -> Tensor:
        """Return the result of `forward` for a context of a single token (B, 1, C), at lower cost."""
        x = x + self.attn(self.norm1(x))
        x = x + self.cross_attn.forward_single_context(self.norm_y(context))
        return x + self.mlp(self.norm3(x))


class ModulatedNorm(nn.Module):
    """LayerNorm whose shift and scale come from a condition."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = layer_norm(dim)
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(dim, 2 * dim))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Modulate tokens (B, N, C) by a condition (B, 1, C)."""
        shift, scale = self.mlp(condition).chunk(2, dim=-1)
        return self.norm(x) * (1 + scale) + shift


class ModulatedBlock(nn.Module):
    """An encoder block conditioned on the pose token."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = ModulatedNorm(dim)
        self.attn = SelfAttention(dim, heads)
        self.norm2 = ModulatedNorm(dim)
        self.mlp = Mlp(dim, 4 * dim, dim)

    def forward(self, x: Tensor, condition: Tensor, rotary: RotaryTable) -> Tensor:
        """Return the next tokens (B, N, C), given the condition (B, 1, C)."""
        x = x + self.attn(self.norm1(x, condition), rotary)
        return x + self.mlp(self.norm2(x, condition))
