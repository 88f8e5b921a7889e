# SPDX-License-Identifier: Apache-2.0
"""Layers of cheaper arithmetic, put in the place of those of a finished network."""

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
    """Weights and arithmetic of half the width; takes any floating type, gives the half one or ``out_dtype``."""

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
    """Computes in float32 and gives half the width: converted once, for whatever layers come next."""

    def __init__(self, layer: nn.LayerNorm, dtype: torch.dtype) -> None:
        super().__init__(layer.normalized_shape, layer.eps, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.out_dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        """Normalize the last dimension."""
        return super().forward(x).to(self.out_dtype)


class Int8Linear(nn.Module):
    """Weights in int8, a scale for each output; the input is rounded by its own range. Processor only."""

    def __init__(self, layer: nn.Linear, out_dtype: torch.dtype) -> None:
        super().__init__()
        weight = layer.weight.float()
        scales = weight.abs().amax(dim=1).clamp(min=1e-12).double() / 127
        zeros = torch.zeros(len(scales), dtype=torch.int64)
        with warnings.catch_warnings():
            # torch means to remove its quantized tensors one day; there is no other int8 product in it yet.
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
    """Tell whether pairs of products are added in 16 bits, which only inputs of 7 bits never overflow.

    So they are on x86 without VNNI; the answer would be wrong by a fifth. What does not say counts as such.
    """
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return not (capabilities.get("avx512_vnni") or capabilities.get("avx_vnni"))


def replace(module: nn.Module, kind: type[LayerT], replacement: Callable[[LayerT], nn.Module]) -> None:
    """Replace every layer of a kind below a module, in place."""
    for name, child in module.named_children():
        if isinstance(child, kind):
            setattr(module, name, replacement(child))
        else:
            replace(child, kind, replacement)
