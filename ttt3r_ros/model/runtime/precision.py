# SPDX-License-Identifier: Apache-2.0
"""Numeric precision of a network.

Only matrix products and convolutions run in lower precision. Residual streams, normalizations, the gate, the
recurrent state, the pose head and the last layer before the exponentials stay in float32: their errors would add up.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn

from ttt3r_ros.errors import DeviceError
from ttt3r_ros.model.network.low_precision import HalfLinear, HalfNorm, Int8Linear, replace
from ttt3r_ros.model.runtime.threads import is_narrow

if TYPE_CHECKING:
    from ttt3r_ros.model.network.config import NetworkConfig
    from ttt3r_ros.model.network.network import Ttt3r

logger = logging.getLogger(__name__)

HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_precision(requested: str, device: str, network: NetworkConfig) -> str:
    """Return the precision to use; 'auto' selects bfloat16 where it is faster.

    It is faster where the hardware has instructions for it. On a CPU the layers must also be wide enough to gain more
    than the conversion costs (benchmarks/results.csv).

    Raises:
        DeviceError: the device does not support the precision.
    """
    cuda = device.startswith("cuda")
    fast = torch.cuda.get_device_capability(device) >= (8, 0) if cuda else _processor_has_bfloat16()
    if requested == "auto":
        return "bfloat16" if fast and (cuda or not is_narrow(network)) else "float32"
    if requested == "int8" and cuda:
        msg = f"precision int8 runs on the CPU only, not on {device}; expected float32, bfloat16 or float16"
        raise DeviceError(msg)
    if requested in HALF and not fast and not cuda:
        logger.warning("this CPU has no instructions for %s; precision float32 is faster", requested)
    return requested


def use_precision(network: Ttt3r, precision: str) -> Ttt3r:
    """Change the precision of a network in place and return it; call it once only.

    With int8, the pose memory (bound by memory bandwidth), attention and heads use bfloat16 where the CPU supports
    it, else float32.
    """
    heads = network.downstream_head
    heads.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # faster convolutions, equal results
    if precision == "float32":
        return network
    int8_companion = torch.bfloat16 if _processor_has_bfloat16() else torch.float32
    half = HALF.get(precision, int8_companion)
    network.attention_dtype = half
    for part in (network.enc_blocks, network.dec_blocks, network.dec_blocks_state):
        if precision == "int8":
            replace(part, nn.Linear, partial(Int8Linear, out_dtype=half))
        else:
            _use_half(part, half)
    if network.patch_embed_ray_map is not None:
        _use_half(network.enc_blocks_ray_map, half)
    for part in (network.pose_retriever.read_blocks, network.pose_retriever.write_blocks):
        _use_half(part, half)
    heads.set_compute_dtype(half)
    return network


def _use_half(part: nn.Module, dtype: torch.dtype) -> None:
    replace(part, nn.Linear, partial(HalfLinear, dtype=dtype))
    replace(part, nn.LayerNorm, partial(HalfNorm, dtype=dtype))


def _processor_has_bfloat16() -> bool:
    # Private, but torch has no public query. Without it the CPU counts as unsupported.
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported and supported())
