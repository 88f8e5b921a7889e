# SPDX-License-Identifier: Apache-2.0
"""Self- and cross-attention without attention maps of all heads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttt3r_ros.model.network.rope import rotate

if TYPE_CHECKING:
    from ttt3r_ros.model.network.rope import RotaryTable

_LONG_CONTEXT, _HEADS_PER_GROUP = 256, 4


class SelfAttention(nn.Module):
    """Attention of tokens (B, N, C) to each other."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, rotary: RotaryTable | None = None) -> Tensor:
        """Return the attended tokens (B, N, C)."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = rotate(qkv[:2], rotary)  # (B, heads, N, D)
        return self.proj(merge_heads(attend(q, k, qkv[2])))

    def forward_single(self, x: Tensor) -> Tensor:
        """Return the result of `forward` for a single token (B, 1, C): the softmax over one key is 1."""
        value, weight = slice(2 * x.shape[-1], None), self.qkv.weight
        return self.proj(F.linear(x.to(weight.dtype), weight[value], self.qkv.bias[value]))


class CrossAttention(nn.Module):
    """Attention of queries (B, N, C) to a context (B, M, C)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projq = nn.Linear(dim, dim)
        self.projk = nn.Linear(dim, dim)
        self.projv = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)

    def forward(
        self,
        x: Tensor,
        context: Tensor,
        rotary: RotaryTable | None = None,
        rotary_context: RotaryTable | None = None,
        *,
        with_logit: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the attended tokens and, ``with_logit``, the mean attention logit of each query (B, N)."""
        q = rotate(split_heads(self.projq(x), self.heads), rotary)
        k = rotate(split_heads(self.projk(context), self.heads), rotary_context)
        v = split_heads(self.projv(context), self.heads)
        attended = self.proj(merge_heads(attend(q, k, v)))
        return attended, mean_logit(q, k) if with_logit else None

    def forward_single_context(self, context: Tensor) -> Tensor:
        """Return the attended token of every query for a context of a single key (B, 1, C)."""
        return self.proj(self.projv(context))

    def forward_single_query(self, x: Tensor, context: Tensor) -> Tensor:
        """Return the attended token of a single query (B, 1, C) without keys and values of the context (B, M, C).

        The key projection is applied to the query: W_q x . W_k c = (W_k' W_q x) . c. The bias of the keys adds a
        constant to all logits and cancels. The value projection follows the weighted sum, whose weights add up to 1.
        """
        width = int(x.shape[-1]) // self.heads
        context = context.to(self.projk.weight.dtype)
        q = self.projq(x).unflatten(-1, (self.heads, width)).squeeze(1)  # (B, heads, D)
        folded = torch.einsum("bhd,hdc->bhc", q, self.projk.weight.unflatten(0, (self.heads, width)))
        pooled = F.scaled_dot_product_attention(
            folded, context, context, scale=width**-0.5
        )  # (B, heads, C)
        values = torch.einsum(
            "bhc,hdc->bhd", pooled, self.projv.weight.unflatten(0, (self.heads, width))
        )
        return self.proj(values.flatten(1) + self.projv.bias)[:, None]


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return softmax(q k' / sqrt(D)) v for q, k, v of (B, heads, N or M, D).

    On a CPU torch's fused kernel is as slow in bfloat16 as in float32; separate oneDNN products are faster. They run
    on a few heads at a time, so that the attention maps stay in the CPU's cache.
    """
    long = k.shape[2] >= _LONG_CONTEXT
    if not (long and q.dtype == torch.bfloat16 and q.device.type == "cpu"):
        return F.scaled_dot_product_attention(q, k, v)
    groups = [
        tensor.contiguous().split(_HEADS_PER_GROUP, dim=1) for tensor in (q * _logit_scale(q), k, v)
    ]
    return torch.cat(
        [torch.softmax(q @ k.transpose(-1, -2), dim=-1) @ v for q, k, v in zip(*groups, strict=True)],
        dim=1,
    )


def mean_logit(q: Tensor, k: Tensor) -> Tensor:
    """Average the scaled logits of q (B, heads, N, D) over heads and keys, (B, N), without computing each logit.

    The mean over keys of q·k is q·(mean of k).
    """
    mean_key = k.mean(dim=2, keepdim=True, dtype=torch.float32)
    scale = _logit_scale(q) / int(q.shape[1])
    return (q * (mean_key * scale)).sum(dim=(1, 3))


def _logit_scale(q: Tensor) -> float:
    # Converted to int first: while tracing, a size is a tensor and its power would be float32.
    return float(int(q.shape[-1]) ** -0.5)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Reshape (B, N, C) to (B, heads, N, C / heads)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """Reshape (B, heads, N, D) to (B, N, heads * D)."""
    return x.transpose(1, 2).flatten(2)
