# SPDX-License-Identifier: Apache-2.0
"""Networks with their weights: from a checkpoint, from tensors, or seeded."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ttt3r_ros.model.checkpoints.checkpoint import (
    RAY_MAP_PREFIXES,
    check_tensors,
    load_checkpoint,
)
from ttt3r_ros.model.checkpoints.inferred_config import RGB_PREFIXES, has_prefix
from ttt3r_ros.model.network.network import Ttt3r

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ttt3r_ros.model.network.config import NetworkConfig

logger = logging.getLogger(__name__)

# The default weights, made by `training/`; see the model card in the same folder.
PACKAGE_WEIGHTS = Path(__file__).resolve().parents[2] / "weights" / "ttt3r_small.safetensors"

# At full size, seeded convolutions reach values in the hundreds before the exponential of the DPT head.
_DPT_LAST_LAYER = ".head.4"
_DPT_LAST_LAYER_GAIN = 0.01
_ID_DIGITS = 12


def tensor_shapes(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a network's tensors by name."""
    with torch.device("meta"):
        network = Ttt3r(config)
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def load_tensors(config: NetworkConfig, tensors: Mapping[str, Tensor], rule: str = "ttt3r") -> Ttt3r:
    """Build a network that uses the given tensors without copying them.

    Raises:
        CheckpointError: tensors are missing, unexpected or of the wrong shape.
    """
    config = replace(config, rgb_head=config.rgb_head and has_prefix(RGB_PREFIXES, tensors))
    with torch.device("meta"):
        network = Ttt3r(config, rule, ray_maps=has_prefix(RAY_MAP_PREFIXES, tensors))
    check_tensors({name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}, tensors)
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    return network.eval().requires_grad_(requires_grad=False)


@dataclass(frozen=True)
class LoadedNetwork:
    """A network and the metadata of its file."""

    network: Ttt3r
    description: str  # file name and the first digits of its SHA-256
    reset_interval: int  # recommended frames between state resets, 0: never


def load_network(path: Path, rule: str = "ttt3r") -> LoadedNetwork:
    """Load the network of a checkpoint file."""
    checkpoint = load_checkpoint(path)
    network = load_tensors(checkpoint.config, checkpoint.tensors, rule)
    description = f"{path.name} (sha256 {checkpoint.sha256[:12]})"
    logger.info("weights %s", description)
    return LoadedNetwork(network, description, checkpoint.reset_interval)


def network_id(network: Ttt3r) -> str:
    """Return the first 12 digits of the SHA-256 of names, types, shapes and values of a network's tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.cpu().flatten().numpy())
    return digest.hexdigest()[:_ID_DIGITS]


def seeded_network(
    config: NetworkConfig, seed: int = 0, rule: str = "ttt3r", *, ray_maps: bool = True
) -> Ttt3r:
    """Build an untrained network, reproducible by its seed; its output is meaningless."""
    with torch.device("meta"):
        network = Ttt3r(config, rule, ray_maps=ray_maps)
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for path, module in network.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            _initialize(module, name, parameter, generator)
        if path.endswith(_DPT_LAST_LAYER):
            module.weight.data.mul_(_DPT_LAST_LAYER_GAIN)
    return network.eval().requires_grad_(requires_grad=False)


@torch.no_grad()
def _initialize(module: nn.Module, name: str, parameter: Tensor, generator: torch.Generator) -> None:
    if isinstance(module, nn.LayerNorm):
        parameter.fill_(1.0 if name == "weight" else 0.0)
    elif name == "bias":
        parameter.zero_()
    elif isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        nn.init.xavier_uniform_(parameter.view(parameter.shape[0], -1), generator=generator)
    else:  # tokens and the pose memory
        nn.init.normal_(parameter, std=0.02, generator=generator)
