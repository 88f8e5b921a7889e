# SPDX-License-Identifier: Apache-2.0
"""Networks with their weights: from a checkpoint, from tensors, or seeded."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ttt3r_ros.model.checkpoint import (
    RAY_MAP_PREFIXES,
    RGB_PREFIXES,
    check_tensors,
    has_any,
    load_checkpoint,
)
from ttt3r_ros.model.network import Ttt3r
from ttt3r_ros.model.network_config import NetworkConfig

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

logger = logging.getLogger(__name__)

# 19 million parameters, a third of them in the pose memory: keeps up with a camera on two processor cores.
SMALL = NetworkConfig(
    enc_embed_dim=256,
    enc_depth=6,
    enc_num_heads=4,
    dec_embed_dim=160,
    dec_depth=4,
    dec_num_heads=4,
    state_dec_num_heads=4,
    state_size=96,
    local_mem_size=32,
    ray_enc_depth=1,
    head_type="linear",
    rgb_head=False,
    img_size=(224, 160),
)

# Convolutions seeded at full size add up to hundreds before the exponential of the DPT head.
_DPT_LAST_LAYER = ".head.4"
_DPT_LAST_LAYER_GAIN = 0.01


def tensor_shapes(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every tensor of a network."""
    with torch.device("meta"):
        network = Ttt3r(config)
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def load_tensors(config: NetworkConfig, tensors: Mapping[str, Tensor], rule: str = "ttt3r") -> Ttt3r:
    """Build a network around tensors under the published names; they are used, not copied.

    Raises:
        CheckpointError: tensors are missing, unexpected or of the wrong shape.
    """
    config = replace(config, rgb_head=config.rgb_head and has_any(RGB_PREFIXES, tensors))
    with torch.device("meta"):
        network = Ttt3r(config, rule, ray_maps=has_any(RAY_MAP_PREFIXES, tensors))
    check_tensors({name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}, tensors)
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    return network.eval().requires_grad_(requires_grad=False)


def load_network(path: Path, rule: str = "ttt3r") -> tuple[Ttt3r, str]:
    """Build the network of a checkpoint file; also return the first digits of the file's SHA-256."""
    checkpoint = load_checkpoint(path)
    network = load_tensors(checkpoint.config, checkpoint.tensors, rule)
    logger.info("weights %s (sha256 %s)", checkpoint.name, checkpoint.sha256[:12])
    return network, checkpoint.sha256[:12]


def seeded_network(
    config: NetworkConfig = SMALL, seed: int = 0, rule: str = "ttt3r", *, ray_maps: bool = True
) -> Ttt3r:
    """Build an untrained network, the same for the same seed; its geometry means nothing."""
    with torch.device("meta"):
        network = Ttt3r(config, rule, ray_maps=ray_maps)
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for path, module in network.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            _initialise(module, name, parameter, generator)
        if path.endswith(_DPT_LAST_LAYER):
            module.weight.data.mul_(_DPT_LAST_LAYER_GAIN)
    return network.eval().requires_grad_(requires_grad=False)


@torch.no_grad()
def _initialise(module: nn.Module, name: str, parameter: Tensor, generator: torch.Generator) -> None:
    if isinstance(module, nn.LayerNorm):
        parameter.fill_(1.0 if name == "weight" else 0.0)
    elif name == "bias":
        parameter.zero_()
    elif isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        nn.init.xavier_uniform_(parameter.view(parameter.shape[0], -1), generator=generator)
    else:  # tokens and the pose memory
        nn.init.normal_(parameter, std=0.02, generator=generator)
