# SPDX-License-Identifier: Apache-2.0
"""Checkpoint files: weights with their network configuration, checked for consistency."""

from __future__ import annotations

import hashlib
import logging
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import safetensors
import safetensors.torch
import torch

from ttt3r_ros.errors import CheckpointError, ConfigError
from ttt3r_ros.model.checkpoints.inferred_config import (
    METADATA_KEY,
    RGB_PREFIXES,
    Tensors,
    has_prefix,
    infer_config,
)
from ttt3r_ros.model.checkpoints.pickle_reader import read_container
from ttt3r_ros.model.network.config import NetworkConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = logging.getLogger(__name__)

# Branches that are optional in a checkpoint and in a network, but only as a whole.
RAY_MAP_PREFIXES = (
    "patch_embed_ray_map.",
    "enc_blocks_ray_map.",
    "enc_norm_ray_map.",
)
OPTIONAL_GROUPS = (RGB_PREFIXES, RAY_MAP_PREFIXES)
RESET_KEY = "ttt3r_reset_interval"
DEFAULT_RESET_INTERVAL = 100  # of the long experiments of arXiv 2509.26645

_ALIAS = re.compile(r"(downstream_head\..+\.scratch\.)layer_rn\.([0-3])\.weight")
_UNUSED = re.compile(
    r"mask_token|masked_(img|ray_map)_token|enc_pos_embed|dec_pos_embed|prediction_head\..*|.*\.refinenet4\.resConfUnit1\..*"
)
_WEIGHT_TYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_MAX_LISTED, _MAX_ECHO = 20, 80
_HASH_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Checkpoint:
    """Weights under the network's tensor names, their configuration, and the identity of the file."""

    config: NetworkConfig
    tensors: dict[str, torch.Tensor]
    sha256: str  # of the file
    name: str
    reset_interval: int = DEFAULT_RESET_INTERVAL  # frames, 0: never


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Load a published ``.pth`` or a ``.safetensors`` of `save_checkpoint`.

    A missing configuration is derived from the shapes and from defaults, with a warning. Raises `CheckpointError`.
    """
    path = Path(path)
    is_safetensors = path.suffix == ".safetensors"
    content = _read_safetensors(path) if is_safetensors else _read_pickle(path)
    try:
        tensors = rename_to_canonical(content.tensors)
        config = infer_config(tensors, content.config)
    except CheckpointError as error:
        msg = f"{path}: {error}"
        raise CheckpointError(msg) from error
    return Checkpoint(config, tensors, _sha256(path), path.stem, content.reset_interval)


def save_checkpoint(
    path: Path | str,
    tensors: Tensors,
    config: NetworkConfig,
    reset_interval: int = DEFAULT_RESET_INTERVAL,
) -> None:
    """Write a safetensors file, replacing an existing one. Raises `OSError`."""
    metadata = {METADATA_KEY: config.to_json(), RESET_KEY: str(reset_interval), "format": "pt"}
    try:
        safetensors.torch.save_file(_unshare(tensors), path, metadata=metadata)
    except safetensors.SafetensorError as error:
        raise OSError(str(error)) from error


def check_tensors(expected: Mapping[str, tuple[int, ...]], tensors: Tensors) -> None:
    """Raise `CheckpointError` unless the tensors are finite and have the names and shapes of the network.

    ``expected`` maps names to shapes. A whole group of `OPTIONAL_GROUPS` may be absent on either side.
    """
    one_sided = [g for g in OPTIONAL_GROUPS if has_prefix(g, expected) != has_prefix(g, tensors)]
    skipped = tuple(prefix for group in one_sided for prefix in group)
    required = {name for name in expected if not name.startswith(skipped)}
    given = {name for name in tensors if not name.startswith(skipped)}
    misshaped = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(expected[name])}"
        for name in sorted(required & given)
        if tuple(tensors[name].shape) != tuple(expected[name])
    ]
    problems = [
        _listing("missing", sorted(required - given)),
        _listing("unexpected", sorted(given - required)),
        _listing("of another shape", misshaped),
    ]
    if any(problems):
        _fail("the weights do not fit the network: " + "; ".join(filter(None, problems)))
    _check_values(tensors)


def _listing(what: str, names: list[str]) -> str:
    if not names:
        return ""
    rest = ", ..." if len(names) > _MAX_LISTED else ""
    return f"{len(names)} {what}: {', '.join(names[:_MAX_LISTED])}{rest}"


def _check_values(tensors: Tensors) -> None:
    for name, tensor in tensors.items():
        if tensor.dtype not in _WEIGHT_TYPES:
            _fail(f"tensor {name} has type {tensor.dtype}; expected one of {_WEIGHT_TYPES}")
        if tensor.numel() and not all(math.isfinite(extreme) for extreme in torch.aminmax(tensor)):
            _fail(f"tensor {name} holds NaN or infinite values; expected finite weights")


class _Content(NamedTuple):
    """Content of a checkpoint file."""

    tensors: dict[str, torch.Tensor]
    config: NetworkConfig | None
    reset_interval: int = DEFAULT_RESET_INTERVAL


def _read_pickle(path: Path) -> _Content:
    container = read_container(path)
    if container.model_string is None:
        return _Content(container.tensors, None)
    try:
        return _Content(container.tensors, NetworkConfig.from_model_string(container.model_string))
    except (CheckpointError, ConfigError) as error:
        msg = f"{path}: {error}"
        raise CheckpointError(msg) from error


def _read_safetensors(path: Path) -> _Content:
    try:
        with safetensors.safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        text = metadata.get(METADATA_KEY)
        config = None if text is None else NetworkConfig.from_json(text)
        return _Content(tensors, config, _reset_interval(metadata))
    except (OSError, safetensors.SafetensorError, ConfigError) as error:
        msg = f"{path}: not a usable safetensors file: {error}"
        raise CheckpointError(msg) from error


def _reset_interval(metadata: Mapping[str, str]) -> int:
    text = metadata.get(RESET_KEY, str(DEFAULT_RESET_INTERVAL))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        msg = f"{RESET_KEY} in the metadata is {text[:_MAX_ECHO]!r}; expected a number of frames"
        raise ConfigError(msg)
    return int(text)


def rename_to_canonical(raw: Tensors) -> dict[str, torch.Tensor]:
    """Rename the tensors of all published variants to the network's names."""
    if raw and all(name.startswith("module.") for name in raw):
        raw = {name.removeprefix("module."): tensor for name, tensor in raw.items()}
    tensors = {
        name: t for name, t in raw.items() if not (_ALIAS.fullmatch(name) or _UNUSED.fullmatch(name))
    }
    for name, tensor in raw.items():
        alias = _ALIAS.fullmatch(name)
        if alias:
            _merge_alias(tensors, f"{alias[1]}layer{int(alias[2]) + 1}_rn.weight", name, tensor)
    if not any(name.startswith("dec_blocks_state") for name in tensors):
        _copy_decoder_to_state(tensors)
    return tensors


def _merge_alias(
    tensors: dict[str, torch.Tensor], canonical: str, alias: str, tensor: torch.Tensor
) -> None:
    existing = tensors.setdefault(canonical, tensor)
    if existing.shape != tensor.shape:
        _fail(f"{alias} has shape {tuple(tensor.shape)}, but {canonical} has {tuple(existing.shape)}")


def _copy_decoder_to_state(tensors: dict[str, torch.Tensor]) -> None:
    # In weights from before the state decoder, it is a copy of the image decoder.
    names = [name for name in tensors if name.startswith("dec_blocks.")]
    if names:
        _log.warning("no dec_blocks_state in the checkpoint; using copies of its dec_blocks")
    for name in names:
        tensors["dec_blocks_state." + name.removeprefix("dec_blocks.")] = tensors[name].clone()


def _unshare(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Return contiguous tensors that share no memory, as safetensors requires."""
    addresses: set[int] = set()
    separate = {}
    for name, tensor in tensors.items():
        address = tensor.untyped_storage().data_ptr()
        separate[name] = tensor.contiguous().clone() if address in addresses else tensor.contiguous()
        addresses.add(address)
    return separate


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _fail(message: str) -> NoReturn:
    raise CheckpointError(message)
