# SPDX-License-Identifier: Apache-2.0
"""The network computed without optimizations, as published: the baseline of each technique in `ttt3r_ros.model`.

Names of shortcuts are those of `SHORTCUTS`; `without` takes some away for as long as its block lasts.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not

from ttt3r_ros.model.network.attention import (
    CrossAttention,
    SelfAttention,
    merge_heads,
    split_heads,
)
from ttt3r_ros.model.network.blocks import DecoderBlock
from ttt3r_ros.model.network.dpt import FusionUnit
from ttt3r_ros.model.network.network import Ttt3r
from ttt3r_ros.model.network.rope import rotary_table, rotate

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from torch import Tensor

# The decoders' attention maps, kept to the end of a step as the published code keeps them; None: not in a decoder.
_kept_maps: list[Tensor] | None = None

SHORTCUTS = ("fused attention", "rotary tables", "pose memory", "convolution order")


@contextmanager
def without(shortcuts: set[str]) -> Iterator[None]:
    """Take shortcuts away."""
    replacements: dict[str, list[tuple[type, str, Any]]] = {
        "fused attention": [
            (SelfAttention, "forward", _self_attention),
            (CrossAttention, "forward", _cross_attention),
            (Ttt3r, "decode", _keeping_maps(Ttt3r.decode)),
        ],
        "rotary tables": [(Ttt3r, "_rotary", _rotary)],
        "pose memory": [
            (DecoderBlock, "forward_single_query", _whole_block),
            (DecoderBlock, "forward_single_context", _whole_block),
        ],
        "convolution order": [(FusionUnit, "forward", _fusion)],
    }
    with ExitStack() as stack:
        for name in shortcuts:
            for owner, method, long_way in replacements[name]:
                stack.enter_context(mock.patch.object(owner, method, long_way))
        yield


def _self_attention(self: SelfAttention, x: Tensor, rotary: Any = None) -> Tensor:
    q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
    attended, _ = _by_map(rotate(q, rotary), rotate(k, rotary), v)
    projected: Tensor = self.proj(attended)
    return projected


def _cross_attention(
    self: CrossAttention,
    x: Tensor,
    context: Tensor,
    rotary: Any = None,
    rotary_context: Any = None,
    *,
    with_logit: bool = False,
) -> tuple[Tensor, Tensor | None]:
    q = rotate(split_heads(self.projq(x), self.heads), rotary)
    k = rotate(split_heads(self.projk(context), self.heads), rotary_context)
    attended, logits = _by_map(q, k, split_heads(self.projv(context), self.heads))
    return self.proj(attended), logits.mean(dim=(1, 3)) if with_logit else None


def _by_map(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    logits = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    if _kept_maps is not None:
        _kept_maps.append(logits.clone())
    return merge_heads(logits.softmax(dim=-1) @ v), logits


def _keeping_maps(decode: Any) -> Any:
    def wrapper(self: Ttt3r, *args: Any, **kwargs: Any) -> Any:
        global _kept_maps  # noqa: PLW0603
        _kept_maps = []
        try:
            return decode(self, *args, **kwargs)
        finally:
            _kept_maps = None

    return wrapper


def _rotary(
    self: Ttt3r, _: Any, positions: Any, width: int, device: torch.device, dtype: torch.dtype
) -> Any:
    return rotary_table(positions().to(device), width, self.config.rope_base, dtype)


def _whole_block(self: DecoderBlock, x: Tensor, context: Tensor) -> Tensor:
    return self.forward(x, context)[0]


def _fusion(self: FusionUnit, x: Tensor, skip: Tensor | None = None) -> Tensor:
    if skip is not None:
        x = x + self.resConfUnit1(skip)
    fused: Tensor = self.out_conv(self.upsample(self.resConfUnit2(x)))
    return fused
