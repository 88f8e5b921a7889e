# SPDX-License-Identifier: Apache-2.0
"""Initialization of a larger network to compute the function of a smaller one.

Larger patches see the same part of the image in more pixels: the embedding averages them, the heads repeat their
answers. New layers come last and add nothing until they are trained, as their outputs are zero (after Chen et al.,
Net2Net, 2016).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from ttt3r_ros.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

    from ttt3r_ros.model.network.config import NetworkConfig

LAYER = re.compile(r"(enc_blocks|dec_blocks|dec_blocks_state)\.(\d+)\.")
SILENT = ("attn.proj.", "cross_attn.proj.", "mlp.fc2.")  # what a block adds to its tokens
DENSE_HEADS = ("downstream_head.proj.fc2.", "downstream_head.cross_proj.fc2.")


def grow(
    small: dict[str, Tensor],
    small_config: NetworkConfig,
    config: NetworkConfig,
    fresh: dict[str, Tensor],
) -> dict[str, Tensor]:
    """Return the tensors of a network of ``config``; ``fresh`` are its usual initial tensors.

    Raises:
        CheckpointError: the networks differ in more than patch size, image size and depth.
    """
    factor, rest = divmod(config.patch_size, small_config.patch_size)
    same = replace(
        small_config,
        patch_size=config.patch_size,
        img_size=config.img_size,
        enc_depth=config.enc_depth,
        dec_depth=config.dec_depth,
    )
    shrinks = config.enc_depth < small_config.enc_depth or config.dec_depth < small_config.dec_depth
    if same != config or rest or shrinks or config.head_type != "linear":
        msg = f"{small_config} cannot grow into {config}; expected larger patches or more layers alone"
        raise CheckpointError(msg)
    return {name: _grow(name, value, small, factor) for name, value in fresh.items()}


def _grow(name: str, fresh: Tensor, small: dict[str, Tensor], factor: int) -> Tensor:
    if name not in small and LAYER.match(name):
        return fresh * 0.0 if any(part in name for part in SILENT) else fresh
    value = small[name]
    if name == "patch_embed.proj.weight":
        return value.repeat_interleave(factor, 2).repeat_interleave(factor, 3) / factor**2
    if name.startswith(DENSE_HEADS):
        patch = round((value.shape[0] / 4) ** 0.5)
        pixels = value.unflatten(0, (4, patch, patch))
        return pixels.repeat_interleave(factor, 1).repeat_interleave(factor, 2).flatten(0, 2)
    return value
