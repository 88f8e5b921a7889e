# SPDX-License-Identifier: Apache-2.0
"""Initial weights whose attention compares images.

From random weights a recurrent transformer needs millions of frames until its attention matches the image with the
state. These weights match them from the start. The channels of the decoder have three parts: the position of a token
(PLACE), its matched position in the state (MATCH) and its appearance (APPEARANCE). Some heads of the first layers are
set:

* encoder tokens gather the mean colors around them, which identify a place after the camera has moved;
* state tokens contain their own place and attend to the image there to copy its appearance;
* image tokens attend to the state at their own place to copy it, and by appearance to copy the matched position.

Heads that attend by place act as a convolution (d'Ascoli et al., ConViT, 2021); equal keys and queries follow
Trockman and Kolter, Mimetic initialization, 2023. Training changes every weight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ttt3r_ros.model.checkpoints.networks import seeded_network
from ttt3r_ros.model.network.rope import state_positions

if TYPE_CHECKING:
    from ttt3r_ros.model.network.attention import CrossAttention
    from ttt3r_ros.model.network.config import NetworkConfig
    from ttt3r_ros.model.network.network import Ttt3r

WIRED_LAYERS = 2  # of the image decoder
PLACE_GAIN = 4.5  # logit per wired frequency where query and key share a place
APPEARANCE_GAIN = 1.6
RESIDUAL_GAIN = 0.2  # of the other heads, so that they do not dominate
TYPICAL_DEPTH_M = 2.5
CELL, SHIFTS = 3, (0, -1, 1, -2, 2)  # a color, and the patches whose colors are gathered


def initial_network(
    config: NetworkConfig, seed: int, patches: Tensor | None = None, rule: str = "ttt3r"
) -> Ttt3r:
    """Build the network to train; ``patches`` (K, 3 * patch * patch) in [-1, 1] are samples of images."""
    network = seeded_network(config, seed, rule, ray_maps=False).train().requires_grad_()
    rng = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        _hush(network)
        context = CELL * len(SHIFTS) ** 2 if config.enc_depth > 1 and config.enc_num_heads > 3 else 0
        if patches is not None:
            _see_typical_patches(network.patch_embed.proj, patches, context, rng)
        if context:
            _wire_encoder(network)
        _wire_decoders(network, context, rng)
        _predict_typical_room(network)
    return network


def _hush(network: Ttt3r) -> None:
    block: Any
    for block in (*network.enc_blocks, *network.dec_blocks, *network.dec_blocks_state):
        for layer in (block.attn.proj, block.mlp.fc2):
            layer.weight *= RESIDUAL_GAIN
    for block in (*network.dec_blocks, *network.dec_blocks_state):
        block.cross_attn.proj.weight *= RESIDUAL_GAIN


def _see_typical_patches(proj: nn.Conv2d, patches: Tensor, context: int, rng: torch.Generator) -> None:
    """Let the embedding be the mean color, then a random turn of half-whitened principal components.

    Channels up to ``context`` are left for the colors of the neighbors.
    """
    center = patches.mean(dim=0)
    centered = patches - center
    pixels = patches.shape[1] // CELL
    weight = torch.zeros(proj.out_channels, patches.shape[1])
    first = 0
    if context:
        average = torch.eye(CELL).repeat_interleave(pixels, dim=1) / pixels
        values, vectors = torch.linalg.eigh((centered @ average.T).T.cov())
        weight[:CELL] = (vectors / values.clamp(min=1e-6).sqrt()).T @ average
        first = context
    values, vectors = torch.linalg.eigh(centered.T @ centered / len(centered))
    count = min((proj.out_channels - first) // 2, values.numel())
    components = (vectors[:, -count:] * values[-count:].clamp(min=1e-6) ** -0.35).T
    rest = _orthonormal(proj.out_channels - first, count, rng) @ components
    weight[first:] = rest / (centered @ rest.T).std()
    proj.weight.copy_(weight.view_as(proj.weight))
    assert proj.bias is not None
    proj.bias.copy_(-(weight @ center))


def _wire_encoder(network: Ttt3r) -> None:
    """Gather the mean colors of five by five patches: first along rows, then along columns."""
    config = network.config
    width = config.enc_embed_dim // config.enc_num_heads
    gathered = CELL
    block: Any
    for axis, block in zip((1, 0), network.enc_blocks, strict=False):
        attn = block.attn
        for head, shift in enumerate(SHIFTS[1:]):
            offset = (0, shift) if axis == 1 else (shift, 0)
            _attend_by_place(attn.qkv, attn.qkv, head, config.enc_num_heads, config.rope_base, offset)
            first = gathered * (head + 1)
            values = attn.qkv.weight[2 * config.enc_embed_dim :]
            _copy(
                values,
                attn.proj.weight,
                head * width,
                slice(0, gathered),
                slice(first, first + gathered),
            )
        gathered *= len(SHIFTS)


def _wire_decoders(network: Ttt3r, context: int, rng: torch.Generator) -> None:
    config = network.config
    dim, heads = config.dec_embed_dim, config.dec_num_heads
    width = dim // heads
    quarter = dim // 4
    place, appearance = slice(0, quarter), slice(2 * quarter, dim)

    # Image tokens start as appearance only, state tokens as place only.
    embed = torch.zeros(dim, config.enc_embed_dim)
    embed[appearance] = _orthonormal(dim - 2 * quarter, config.enc_embed_dim, rng) * 1.4
    embed[:, context:] *= 0.4 if context else 1.0  # detail does not stay when the camera moves
    network.decoder_embed.weight.copy_(embed)
    tokens = 0.02 * torch.randn(config.state_size, dim, generator=rng)
    tokens[:, place] += place_code(config, quarter)
    turn = _orthonormal(config.enc_embed_dim, dim, rng)  # (E, C)
    network.decoder_embed_state.weight.copy_(turn.T)
    network.register_tokens.weight.copy_(tokens @ turn.T)

    block: Any
    for block in network.dec_blocks[:WIRED_LAYERS]:
        cross = block.cross_attn
        for head, part in enumerate(_parts(quarter, width)):
            _attend_by_place(cross.projq, cross.projk, head, heads, config.rope_base)
            _copy(cross.projv.weight, cross.proj.weight, head * width, part, part)
        first = -(-quarter // width)
        for head, part in enumerate(_parts(quarter, width), start=first):
            _attend_by_appearance(cross, head, width, appearance, rng)
            matched = slice(part.start + quarter, part.stop + quarter)
            _copy(cross.projv.weight, cross.proj.weight, head * width, part, matched)
    first_state_block: Any = network.dec_blocks_state[0]
    cross = first_state_block.cross_attn
    width = dim // config.state_dec_num_heads
    for head, part in enumerate(_parts(dim - 2 * quarter, width)):
        _attend_by_place(cross.projq, cross.projk, head, config.state_dec_num_heads, config.rope_base)
        shifted = slice(part.start + appearance.start, part.stop + appearance.start)
        _copy(cross.projv.weight, cross.proj.weight, head * width, shifted, shifted)


def place_code(config: NetworkConfig, channels: int) -> Tensor:
    """Return the places (state_size, channels) of the state tokens.

    Half are rows and columns as they are, so that a displacement is a difference; half are their sines and cosines.
    """
    positions = state_positions(config.state_size, config.state_pe).float()
    centered = (positions - positions.mean(dim=0)) / positions.std(dim=0)
    plain = centered.repeat(1, channels // 4)
    frequencies = 1.4 / 1.5 ** torch.arange(channels // 8)
    angles = positions[:, :, None] * frequencies
    waves = 1.4 * torch.cat((angles.sin(), angles.cos()), dim=-1).flatten(1)
    return torch.cat((plain, waves), dim=1)


def _parts(channels: int, width: int) -> list[slice]:
    return [slice(start, min(start + width, channels)) for start in range(0, channels, width)]


def _attend_by_place(
    query: nn.Linear,
    key: nn.Linear,
    head: int,
    heads: int,
    base: float,
    offset: tuple[int, int] = (0, 0),
) -> None:
    """Let a head attend to the token at ``offset`` (rows, columns), independent of its content."""
    width = query.in_features // heads
    quarter = width // 4
    frequencies = base ** (-torch.arange(quarter) / quarter)
    size = (PLACE_GAIN * width**0.5) ** 0.5 * (frequencies > 0.25)
    fused = query is key  # rows of queries, keys and values in one layer
    rows_q = slice(head * width, (head + 1) * width)
    rows_k = (
        slice(rows_q.start + query.in_features, rows_q.stop + query.in_features) if fused else rows_q
    )
    for layer, rows, shift in ((query, rows_q, offset), (key, rows_k, (0, 0))):
        layer.weight[rows] *= 0.1
        parts = [torch.stack(((f := frequencies * s).cos(), f.sin())) * size for s in shift]
        layer.bias[rows] = torch.cat([part.flatten() for part in parts])


def _attend_by_appearance(
    cross: CrossAttention, head: int, width: int, appearance: slice, rng: torch.Generator
) -> None:
    """Let a head attend to similar tokens; fast rotary channels would bind it to the place."""
    rows = slice(head * width, (head + 1) * width)
    quarter = width // 4
    slow = (torch.arange(quarter) >= quarter // 4).float().repeat(4)
    weight = torch.zeros(width, cross.projq.in_features)
    weight[:, appearance] = (
        _orthonormal(width, appearance.stop - appearance.start, rng) * slow[:, None] * APPEARANCE_GAIN
    )
    cross.projq.weight[rows] = weight
    cross.projk.weight[rows] = weight


def _copy(values: Tensor, out: Tensor, first: int, source: slice, target: slice) -> None:
    """Let a head whose channels begin at ``first`` add channels ``source`` of the attended tokens to ``target``."""
    size = source.stop - source.start
    rows = slice(first, first + size)
    values[rows] = 0.0
    values[rows, source] = torch.eye(size)
    out[:, rows] = 0.0
    out[target, rows] = torch.eye(size)


def _predict_typical_room(network: Ttt3r) -> None:
    """Initialize the heads to predict a wall at a typical distance and an identity pose."""
    heads: Any = network.downstream_head
    pixels = network.config.patch_size**2
    for name in ("proj", "cross_proj"):
        layer = getattr(heads, name).fc2
        layer.weight *= 0.1
        layer.bias[2 * pixels : 3 * pixels] = torch.log1p(torch.tensor(TYPICAL_DEPTH_M))
    heads.pose_head.mlp.fc2.weight *= 0.1
    heads.pose_head.mlp.fc2.bias[3] = 1.0


def _orthonormal(rows: int, columns: int, rng: torch.Generator) -> Tensor:
    """Return a random matrix with orthonormal rows, or columns where there are more rows."""
    tall = torch.randn(max(rows, columns), min(rows, columns), generator=rng)
    q = torch.linalg.qr(tall).Q
    return q if rows >= columns else q.T
