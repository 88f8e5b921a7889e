# SPDX-License-Identifier: Apache-2.0
"""Layers of lower precision that replace those of a trained network."""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

LayerT = TypeVar("LayerT", bound=nn.Module)


class HalfLinear(nn.Linear):
    """A linear layer in 16 bits; the input has any floating type, the output ``out_dtype`` or ``dtype``."""

    def __init__(
        self, layer: nn.Linear, dtype: torch.dtype, out_dtype: torch.dtype | None = None
    ) -> None:
        super().__init__(layer.in_features, layer.out_features, device="meta")
        self.weight = nn.Parameter(layer.weight.to(dtype), requires_grad=False)
        self.bias = nn.Parameter(layer.bias.to(dtype), requires_grad=False)
        self.out_dtype = out_dtype or dtype

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        return F.linear(x.to(self.weight.dtype), self.weight, self.bias).to(self.out_dtype)


class HalfNorm(nn.LayerNorm):
    """Normalizes in float32 and returns 16 bits, converted once for all following layers."""

    def __init__(self, layer: nn.LayerNorm, dtype: torch.dtype) -> None:
        super().__init__(layer.normalized_shape, layer.eps, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.out_dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        """Normalize the last dimension."""
        return super().forward(x).to(self.out_dtype)


class Int8Linear(nn.Module):
    """A linear layer with int8 weights, one scale per output, and dynamic input quantization. CPU only."""

    def __init__(self, layer: nn.Linear, out_dtype: torch.dtype) -> None:
        super().__init__()
        weight = layer.weight.float()
        scales = weight.abs().amax(dim=1).clamp(min=1e-12).double() / 127
        zeros = torch.zeros(len(scales), dtype=torch.int64)
        with warnings.catch_warnings():
            # torch plans to remove its quantized tensors, but has no other int8 matrix product yet.
            warnings.simplefilter("ignore", UserWarning)
            quantized = torch.quantize_per_channel(weight, scales, zeros, axis=0, dtype=torch.qint8)
        self._packed = torch.ops.quantized.linear_prepack(quantized, layer.bias.float())
        self._seven_bits = _int16_sums_overflow()
        self._out_dtype = out_dtype

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        product: Tensor = torch.ops.quantized.linear_dynamic(
            x.float().contiguous(), self._packed, self._seven_bits
        )
        return product.to(self._out_dtype)


@cache
def _int16_sums_overflow() -> bool:
    """Return whether the CPU adds pairs of int8 products in 16 bits, which overflows unless inputs have 7 bits.

    This is the case on x86 without VNNI; the results would be wrong by a fifth. Unknown CPUs count as such.
    """
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return not (capabilities.get("avx512_vnni") or capabilities.get("avx_vnni"))


def replace(module: nn.Module, kind: type[LayerT], replacement: Callable[[LayerT], nn.Module]) -> None:
    """Replace all layers of type ``kind`` below a module, in place."""
    for name, child in module.named_children():
        if isinstance(child, kind):
            setattr(module, name, replacement(child))
        else:
            replace(child, kind, replacement)
