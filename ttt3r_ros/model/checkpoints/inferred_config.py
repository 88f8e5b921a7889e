# SPDX-License-Identifier: Apache-2.0
"""Network configuration from the shapes of a checkpoint's tensors, and its check against a stated one."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NoReturn

import torch

from ttt3r_ros.errors import CheckpointError, ConfigError
from ttt3r_ros.model.network.config import DptWidths, NetworkConfig

_log = logging.getLogger(__name__)

Tensors = Mapping[str, torch.Tensor]

RGB_PREFIXES = ("downstream_head.dpt_rgb.", "downstream_head.rgb_proj.")
METADATA_KEY = "ttt3r_config"
_HEAD_COUNTS = ("enc_num_heads", "dec_num_heads", "state_dec_num_heads")
_HEAD_WIDTH = 64  # of every attention head of the published encoder and image decoder


def infer_config(tensors: Tensors, stated: NetworkConfig | None) -> NetworkConfig:
    """Return the stated configuration, completed and checked by the tensors' shapes.

    Without a stated one, fields that no shape determines have defaults. Raises `CheckpointError`.
    """
    known = _fields_from_shapes(tensors)
    try:
        config = NetworkConfig.from_mapping(_complete_fields(known)) if stated is None else stated
        config = replace(config, dpt=known.pop("dpt", config.dpt))
        config = _with_memory_ratio(config, known.pop("memory_mlp_ratio", None))
    except ConfigError as error:
        _fail(f"no usable configuration: {error}")
    if config.rgb_head and known.get("rgb_head") is False:
        config = replace(config, rgb_head=False)
    known.pop("mlp_ratio", None)  # rounded to a width, so compare shapes instead
    wrong = [
        f"{name} is {getattr(config, name)!r}, {value!r} by shape"
        for name, value in known.items()
        if getattr(config, name) != value
    ]
    if wrong:
        _fail("the configuration contradicts the tensors: " + "; ".join(wrong))
    return config


def _with_memory_ratio(config: NetworkConfig, ratio: float | None) -> NetworkConfig:
    """Replace the pose memory's MLP ratio unless the stated one gives the same hidden width."""
    width = 2 * config.dec_embed_dim
    if ratio is None or int(width * ratio) == int(width * config.memory_mlp_ratio):
        return config
    return replace(config, memory_mlp_ratio=ratio)


def _complete_fields(known: Mapping[str, Any]) -> dict[str, Any]:
    """Complete the fields known from shapes with defaults, and log a warning that lists them."""
    needed = ("enc_embed_dim", "enc_depth", "dec_embed_dim", "dec_depth", "state_size", "local_mem_size")
    missing = [name for name in (*needed, "head_type") if not known.get(name)]
    if missing:
        _fail(f"no configuration in the file, and no tensors that determine {', '.join(missing)}")
    side = 512 if known["head_type"] == "dpt" else 224
    assumed = {**_assume_head_counts(known), "img_size": (side, side)}
    _log.warning(
        "no configuration in the checkpoint; read from shapes, with %s and the published modes",
        ", ".join(f"{name}={value}" for name, value in assumed.items()),
    )
    return {**known, **assumed}


def _assume_head_counts(known: Mapping[str, Any]) -> dict[str, int]:
    published = NetworkConfig.published_512_dpt()
    encoder, decoder = known["enc_embed_dim"], known["dec_embed_dim"]
    if (encoder, decoder) == (published.enc_embed_dim, published.dec_embed_dim):
        return {name: getattr(published, name) for name in _HEAD_COUNTS}
    heads = {}
    for name, width in zip(_HEAD_COUNTS, (encoder, decoder, decoder), strict=True):
        heads[name], rest = divmod(width, _HEAD_WIDTH)
        if rest:
            _fail(
                f"no configuration in the file, and {name} cannot be assumed for a width of {width}; the "
                f"configuration must be in args.model of a .pth or as {METADATA_KEY!r} in the metadata "
                "of a .safetensors"
            )
    return heads


def _fields_from_shapes(tensors: Tensors) -> dict[str, Any]:
    """Return the configuration fields that the tensors determine."""
    patch = _shape(tensors, "patch_embed.proj.weight", 4)
    decoder = _shape(tensors, "decoder_embed.weight", 2)
    tokens = _shape(tensors, "register_tokens.weight", 2)
    memory = _shape(tensors, "pose_retriever.mem", 3)
    known: dict[str, Any] = {
        "enc_embed_dim": patch and patch[0],
        "patch_size": patch and patch[3],
        "dec_embed_dim": decoder and decoder[0],
        "mlp_ratio": _mlp_ratio(tensors, "enc_blocks.0"),
        "state_size": tokens and tokens[0],
        "local_mem_size": memory and memory[1],
        "memory_mlp_ratio": _mlp_ratio(tensors, "pose_retriever.read_blocks.0"),
        "ray_enc_depth": _count_blocks(tensors, "enc_blocks_ray_map."),
    }
    # Depths of 0 are kept: they contradict a configuration that states a billion blocks.
    depths = {f"{part}_depth": _count_blocks(tensors, f"{part}_blocks.") for part in ("enc", "dec")}
    return {name: value for name, value in known.items() if value} | depths | _head_fields(tensors)


def _mlp_ratio(tensors: Tensors, block: str) -> float | None:
    """Return a ratio that gives the hidden width of a block, None when the block is absent."""
    shape = _shape(tensors, f"{block}.mlp.fc1.weight", 2)
    if not shape:
        return None
    hidden, width = shape
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else math.nextafter(ratio, math.inf)


def _head_fields(tensors: Tensors) -> dict[str, Any]:
    known: dict[str, Any] = {}
    if _count_blocks(tensors, "dec_blocks."):
        known["norm_im2_in_dec"] = "dec_blocks.0.norm_y.weight" in tensors
    if has_prefix(("downstream_head.",), tensors):
        is_dpt = has_prefix(("downstream_head.dpt_self.",), tensors)
        known["head_type"] = "dpt" if is_dpt else "linear"
        known["rgb_head"] = has_prefix(RGB_PREFIXES, tensors)
        if is_dpt:
            known["dpt"] = _dpt_widths(tensors)
    return known


def _dpt_widths(tensors: Tensors) -> DptWidths:
    head = "downstream_head.dpt_self."
    fused = _shape(tensors, f"{head}scratch.layer1_rn.weight", 4)
    last = _shape(tensors, f"{head}head.4.weight", 4)
    layers = [_shape(tensors, f"{head}act_postprocess.{i}.0.weight", 4) for i in range(4)]
    if not fused or not last or not all(layers):
        _fail(
            f"the widths of {head}* cannot be read from scratch.layer1_rn, head.4, act_postprocess.*.0"
        )
    first, second, third, fourth = (layer[0] for layer in layers)
    return DptWidths(fused[0], last[1], (first, second, third, fourth))


def _shape(tensors: Tensors, name: str, rank: int) -> tuple[int, ...]:
    """Return the shape of a tensor, () if it is absent."""
    if name not in tensors:
        return ()
    shape = tuple(tensors[name].shape)
    if len(shape) != rank or 0 in shape:
        _fail(f"{name} has shape {shape}; expected {rank} non-empty axes")
    return shape


def _count_blocks(tensors: Tensors, prefix: str) -> int:
    return len({name.removeprefix(prefix).split(".")[0] for name in tensors if name.startswith(prefix)})


def has_prefix(prefixes: tuple[str, ...], names: Mapping[str, Any]) -> bool:
    """Return whether any name begins with one of the prefixes."""
    return any(name.startswith(prefixes) for name in names)


def _fail(message: str) -> NoReturn:
    raise CheckpointError(message)
