# SPDX-License-Identifier: Apache-2.0
"""In which arithmetic a network computes.

Only products of matrices and convolutions become cheaper. The residual streams, the normalizations, the gate, the
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
    """Return the arithmetic to use; 'auto' takes bfloat16 where it is faster.

    That is where the hardware has instructions for it, and on a processor where layers are wide enough to gain more
    than converting costs (benchmarks/results.csv).

    Raises:
        DeviceError: the device cannot compute so.
    """
    cuda = device.startswith("cuda")
    fast = torch.cuda.get_device_capability(device) >= (8, 0) if cuda else _processor_has_bfloat16()
    if requested == "auto":
        return "bfloat16" if fast and (cuda or not is_narrow(network)) else "float32"
    if requested == "int8" and cuda:
        msg = f"precision int8 runs on the processor only, not on {device}; expected float32, bfloat16 or float16"
        raise DeviceError(msg)
    if requested in HALF and not fast and not cuda:
        logger.warning(
            "this processor has no instructions for %s; precision float32 is faster here", requested
        )
    return requested


def use_precision(network: Ttt3r, precision: str) -> Ttt3r:
    """Change the arithmetic of a network in place, once, and return it.

    The pose memory waits for its weights, not for products, and attention and heads have no int8. With int8 they are in
    bfloat16 where the processor has it.
    """
    heads = network.downstream_head
    heads.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # for convolutions: the same numbers
    if precision == "float32":
        return network
    beside_int8 = torch.bfloat16 if _processor_has_bfloat16() else torch.float32
    half = HALF.get(precision, beside_int8)
    network.attention_dtype = half
    for part in (network.enc_blocks, network.dec_blocks, network.dec_blocks_state):
        if precision == "int8":
            replace(part, nn.Linear, partial(Int8Linear, out_dtype=half))
        else:
            _halve(part, half)
    if network.patch_embed_ray_map is not None:
        _halve(network.enc_blocks_ray_map, half)
    for part in (network.pose_retriever.read_blocks, network.pose_retriever.write_blocks):
        _halve(part, half)
    heads.compute_in(half)
    return network


def _halve(part: nn.Module, dtype: torch.dtype) -> None:
    replace(part, nn.Linear, partial(HalfLinear, dtype=dtype))
    replace(part, nn.LayerNorm, partial(HalfNorm, dtype=dtype))


def _processor_has_bfloat16() -> bool:
    # Private, yet the only place where torch tells; a processor of which it tells nothing counts as one without.
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported and supported())
