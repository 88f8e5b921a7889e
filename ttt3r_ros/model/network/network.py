# SPDX-License-Identifier: Apache-2.0
"""The TTT3R network: maps an image and a state to geometry and the next state (arXiv 2509.26645, 2501.12387)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from ttt3r_ros.errors import ImageError
from ttt3r_ros.model.network.blocks import DecoderBlock, EncoderBlock, layer_norm
from ttt3r_ros.model.network.config import RAY_ENCODER_HEADS
from ttt3r_ros.model.network.heads import DptHeads, LinearHeads
from ttt3r_ros.model.network.pose_memory import PoseMemory
from ttt3r_ros.model.network.rope import RotaryTable, grid_positions, rotary_table, state_positions
from ttt3r_ros.model.network.state import RecurrentState
from ttt3r_ros.model.network.update_rules import UpdateInputs, update_rule
from ttt3r_ros.model.network.view import Internals, OptionalOutputs, StepOutput, View, patch_grid

if TYPE_CHECKING:
    from collections.abc import Callable

    from ttt3r_ros.model.network.config import NetworkConfig
    from ttt3r_ros.model.network.heads import HeadOutput

_MAX_TABLES = 64  # of all image sizes
RAY_MAP_RATIO = 4.0  # MLP ratio, fixed in the published network


def run_sequentially(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[Any, Any]:
    """Return both results; the default of `Ttt3r.run_both`."""
    return first(), second()


class Decoded(NamedTuple):
    """Result of the two decoders."""

    state: Tensor  # (B, S, C) the candidate state
    layers: tuple[Tensor, Tensor, Tensor]  # (B, 1 + N, C) at half, three quarters, the end
    gate_logit: Tensor  # (B, S)


class Ttt3r(nn.Module):
    """A recurrent transformer over views; parameter names are those of the published checkpoints."""

    def __init__(self, config: NetworkConfig, rule: str = "ttt3r", *, ray_maps: bool = True) -> None:
        super().__init__()
        self.config = config
        self.rule = update_rule(rule)
        enc, dec = config.enc_embed_dim, config.dec_embed_dim

        self.patch_embed = PatchEmbed(3, enc, config.patch_size)
        self.enc_blocks = nn.ModuleList(
            EncoderBlock(enc, config.enc_num_heads, config.mlp_ratio) for _ in range(config.enc_depth)
        )
        self.enc_norm = layer_norm(enc)

        self.patch_embed_ray_map = None
        if ray_maps:
            self.patch_embed_ray_map = PatchEmbed(6, enc, config.patch_size)
            self.enc_blocks_ray_map = nn.ModuleList(
                EncoderBlock(enc, RAY_ENCODER_HEADS, RAY_MAP_RATIO) for _ in range(config.ray_enc_depth)
            )
            self.enc_norm_ray_map = layer_norm(enc)

        # Not nn.Embedding(...): its initialization on the meta device loads torch's compiler, 1.4 s.
        tokens = torch.empty(config.state_size, enc)
        self.register_tokens = nn.Embedding.from_pretrained(tokens, freeze=False)
        self.decoder_embed_state = nn.Linear(enc, dec)
        self.pose_token = nn.Parameter(torch.zeros(1, 1, dec))
        self.pose_retriever = PoseMemory(
            config.local_mem_size, enc, dec, config.dec_num_heads, config.memory_mlp_ratio
        )

        self.decoder_embed = nn.Linear(enc, dec)
        self.dec_blocks = self._decoder(config.dec_num_heads)
        self.dec_norm = layer_norm(dec)
        self.dec_blocks_state = self._decoder(config.state_dec_num_heads)
        self.dec_norm_state = layer_norm(dec)

        self.downstream_head = DptHeads(config) if config.head_type == "dpt" else LinearHeads(config)
        self._tables: dict[tuple[object, ...], RotaryTable] = {}
        self.attention_dtype = torch.float32  # of queries and keys in encoder and decoders
        self.run_both: Callable[..., tuple[Any, Any]] = run_sequentially

    def _decoder(self, heads: int) -> nn.ModuleList:
        config = self.config
        return nn.ModuleList(
            DecoderBlock(
                config.dec_embed_dim, heads, config.mlp_ratio, norm_context=config.norm_im2_in_dec
            )
            for _ in range(config.dec_depth)
        )

    def initial_state(self, batch: int = 1) -> RecurrentState:
        """Return the state before the first view of a stream."""
        tokens = self.decoder_embed_state(self.register_tokens.weight)
        return RecurrentState(
            tokens=tokens.expand(batch, -1, -1),
            memory=self.pose_retriever.mem.expand(batch, -1, -1),
            fresh=torch.ones(batch, dtype=torch.bool, device=tokens.device),
        )

    def step(
        self, view: View, state: RecurrentState, outputs: OptionalOutputs | None = None
    ) -> tuple[StepOutput, RecurrentState]:
        """Run one view; return its output and the next state. ``state`` is not modified."""
        return self.advance(view, self.encode(view), state, outputs)

    def advance(
        self, view: View, features: Tensor, state: RecurrentState, outputs: OptionalOutputs | None = None
    ) -> tuple[StepOutput, RecurrentState]:
        """Run the second half of a step, given the view's features (B, N, F)."""
        grid = patch_grid(view.source(), self.config.patch_size)

        # Read the pose token of similar views
        key = self.pose_retriever.key(features)
        pose_token = self.read_memory(state, key)

        # Decode image and state
        decoded = self.decode(features, pose_token, state, grid)
        memory = self.pose_retriever.write(state.memory, key, decoded.layers[-1][:, :1])

        # Predict the geometry, then update the state
        heads = self.run_heads(features, decoded, grid, outputs or OptionalOutputs())
        next_state = self.update_state(view, state, decoded, memory)

        internals = Internals(
            features, pose_token, decoded.layers, decoded.gate_logit, decoded.state, memory
        )
        return StepOutput(heads.camera, heads.pose, heads.world, heads.rgb, internals), next_state

    def encode(self, view: View) -> Tensor:
        """Return the features of the image, of the ray map, or their sum, (B, N, F)."""
        patch_grid(view.source(), self.config.patch_size)  # raises on an invalid view
        features = [
            self._encode_image(view.image) if view.image is not None else None,
            self._encode_ray_map(view.ray_map) if view.ray_map is not None else None,
        ]
        present = [part for part in features if part is not None]
        return present[0] if len(present) == 1 else present[0] + present[1]

    def _encode_image(self, image: Tensor) -> Tensor:
        x = self.patch_embed(image)
        rotary = self._grid_rotary(image, self.config.enc_embed_dim // self.config.enc_num_heads)
        for block in self.enc_blocks:
            x = block(x, rotary)
        return self.enc_norm(x)

    def _encode_ray_map(self, ray_map: Tensor) -> Tensor:
        if self.patch_embed_ray_map is None:
            msg = "this checkpoint has no ray-map encoder; expected a view with an image only"
            raise ImageError(msg)
        x = self.patch_embed_ray_map(ray_map)
        rotary = self._grid_rotary(ray_map, self.config.enc_embed_dim // RAY_ENCODER_HEADS)
        for block in self.enc_blocks_ray_map:
            x = block(x, rotary)
        return self.enc_norm_ray_map(x)

    def read_memory(self, state: RecurrentState, key: Tensor) -> Tensor:
        """Return the decoder's pose token (B, 1, C): a parameter for the first view, else read from the memory."""
        token = self.pose_retriever.read(state.memory, key)
        return torch.where(state.fresh[:, None, None], self.pose_token.to(token.dtype), token)

    def decode(
        self, features: Tensor, pose_token: Tensor, state: RecurrentState, grid: tuple[int, int]
    ) -> Decoded:
        """Run both decoders; each layer attends to the previous layer of the other decoder."""
        config = self.config
        image = torch.cat((pose_token, self.decoder_embed(features)), dim=1)
        tokens = state.tokens
        image_width = config.dec_embed_dim // config.dec_num_heads
        state_width = config.dec_embed_dim // config.state_dec_num_heads
        image_rotary, state_rotary = (
            (self._token_rotary(grid, width, image.device), self._state_rotary(width, image.device))
            for width in (image_width, state_width)
        )
        layers, logits = [image], []
        for image_block, state_block in zip(self.dec_blocks, self.dec_blocks_state, strict=True):
            (image, _), (tokens, logit) = self.run_both(
                partial(image_block, image, tokens, *image_rotary),
                partial(state_block, tokens, image, *reversed(state_rotary), with_logit=True),
            )
            layers.append(image)
            logits.append(logit)
        layers[-1] = self.dec_norm(image)
        depth = config.dec_depth
        return Decoded(
            state=self.dec_norm_state(tokens),
            layers=(layers[depth * 2 // 4], layers[depth * 3 // 4], layers[depth]),
            gate_logit=torch.stack(logits).mean(dim=0),
        )

    def run_heads(
        self, features: Tensor, decoded: Decoded, grid: tuple[int, int], outputs: OptionalOutputs
    ) -> HeadOutput:
        """Run the heads on the encoder features and the decoder layers."""
        width = self.config.dec_embed_dim // self.config.dec_num_heads
        rotary = self._patch_rotary(grid, width, features.device, torch.float32)
        return self.downstream_head((features, *decoded.layers), grid, rotary, outputs)

    def update_state(
        self, view: View, state: RecurrentState, decoded: Decoded, memory: Tensor
    ) -> RecurrentState:
        """Blend the candidate state into the state by the update rule; replace the pose memory.

        A first view replaces the whole state. A view without an image, or with ``update`` off, changes nothing.
        """
        alpha = self.rule(UpdateInputs(decoded.gate_logit, decoded.state, state.tokens))
        alpha = torch.where(state.fresh[:, None], 1.0, alpha)[..., None].to(
            state.tokens.dtype
        )  # (B, S, 1)
        blended = alpha * decoded.state + (1 - alpha) * state.tokens
        fresh = torch.zeros_like(state.fresh)
        if view.image is None:
            return RecurrentState(state.tokens, state.memory, fresh)
        if view.update is None:
            return RecurrentState(blended, memory, fresh)
        updates = view.update[:, None, None]
        return RecurrentState(
            torch.where(updates, blended, state.tokens),
            torch.where(updates, memory, state.memory),
            fresh,
        )

    # Rotary tables depend on sizes only and are cached.

    def _grid_rotary(self, image: Tensor, width: int) -> RotaryTable:
        grid = patch_grid(image, self.config.patch_size)
        return self._patch_rotary(grid, width, image.device, self.attention_dtype)

    def _patch_rotary(
        self, grid: tuple[int, int], width: int, device: torch.device, dtype: torch.dtype
    ) -> RotaryTable:
        return self._rotary(("patches", grid), lambda: grid_positions(*grid), width, device, dtype)

    def _token_rotary(self, grid: tuple[int, int], width: int, device: torch.device) -> RotaryTable:
        def positions() -> Tensor:
            pose_token = torch.full((1, 2), -1)
            return torch.cat((pose_token, grid_positions(*grid)))

        return self._rotary(("tokens", grid), positions, width, device, self.attention_dtype)

    def _state_rotary(self, width: int, device: torch.device) -> RotaryTable:
        config = self.config

        def positions() -> Tensor:
            return state_positions(config.state_size, config.state_pe)

        return self._rotary(("state",), positions, width, device, self.attention_dtype)

    def _rotary(
        self,
        key: tuple[object, ...],
        positions: Callable[[], Tensor],
        width: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> RotaryTable:
        key = (*key, width, device, dtype)
        if key not in self._tables:
            if len(self._tables) >= _MAX_TABLES:
                self._tables.clear()
            self._tables[key] = rotary_table(positions().to(device), width, self.config.rope_base, dtype)
        return self._tables[key]


class PatchEmbed(nn.Module):
    """Embeds the patches of an image."""

    def __init__(self, channels: int, dim: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, patch, stride=patch)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, channels, H, W) to (B, N, dim), row-major."""
        # The memory layout of the blocks' outputs, so that all blocks share one compiled form.
        return self.proj(image).flatten(2).transpose(1, 2).contiguous()
