# SPDX-License-Identifier: Apache-2.0
"""Prediction heads: decoder tokens to pose, points, confidence and color."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttt3r_ros.errors import ConfigError
from ttt3r_ros.model.network.blocks import Mlp, ModulatedBlock
from ttt3r_ros.model.network.dpt import DptHead
from ttt3r_ros.model.network.low_precision import HalfLinear
from ttt3r_ros.model.network.view import PointMap

if TYPE_CHECKING:
    from ttt3r_ros.model.network.config import NetworkConfig
    from ttt3r_ros.model.network.config_checks import ModeBounds
    from ttt3r_ros.model.network.rope import RotaryTable
    from ttt3r_ros.model.network.view import OptionalOutputs


HIDDEN_RATIO = 4  # MLP ratio of the heads, independent of that of the blocks


@dataclass(frozen=True)
class HeadOutput:
    """Outputs of the heads for one view; fields as in `StepOutput`."""

    camera: PointMap
    pose: Tensor
    world: PointMap | None
    rgb: Tensor | None


class Heads(nn.Module, ABC):
    """All heads; subclasses implement the dense ones."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.pose_head = PoseHead(config.dec_embed_dim, config.pose_mode)
        self.final_transform = nn.ModuleList(
            ModulatedBlock(config.dec_embed_dim, config.dec_num_heads) for _ in range(2)
        )

    def forward(
        self,
        layers: tuple[Tensor, ...],
        grid: tuple[int, int],
        rotary: RotaryTable,
        outputs: OptionalOutputs,
    ) -> HeadOutput:
        """Run the pose head, the camera-frame head and the optional heads of ``outputs``.

        ``layers`` are the encoder features and the decoder tokens at half depth, three quarters and the end. The
        last one begins with the pose token. ``grid`` is the patch grid.

        Raises:
            ConfigError: ``outputs.rgb`` without an rgb head.
        """
        if outputs.rgb and not self.config.rgb_head:
            msg = "outputs.rgb is True, but these weights have no rgb head"
            raise ConfigError(msg)
        # The exponentials need the range and precision of float32.
        with torch.autocast(layers[-1].device.type, enabled=False):
            return self._run(tuple(layer.float() for layer in layers), grid, rotary, outputs)

    def _run(
        self,
        layers: tuple[Tensor, ...],
        grid: tuple[int, int],
        rotary: RotaryTable,
        outputs: OptionalOutputs,
    ) -> HeadOutput:
        pose_token, tokens = layers[-1][:, :1], layers[-1][:, 1:]
        inputs = (*layers[:-1], tokens)
        return HeadOutput(
            camera=self.point_map(self.camera_map(inputs, grid)),
            pose=self.pose_head(pose_token[:, 0]),
            world=self._world(inputs, pose_token, grid, rotary) if outputs.world else None,
            rgb=decode_colors(self.rgb_map(inputs, grid)) if outputs.rgb else None,
        )

    def _world(
        self, inputs: tuple[Tensor, ...], pose_token: Tensor, grid: tuple[int, int], rotary: RotaryTable
    ) -> PointMap:
        tokens = inputs[-1]
        for block in self.final_transform:
            tokens = block(tokens, pose_token, rotary)
        return self.point_map(self.world_map((*inputs[:-1], tokens), grid))

    def point_map(self, raw: Tensor) -> PointMap:
        """Decode raw channels (B, 4, H, W) to points and confidence."""
        raw = raw.permute(0, 2, 3, 1)
        return PointMap(
            points=decode_vectors(raw[..., :3], self.config.depth_mode),
            confidence=decode_confidence(raw[..., 3], self.config.conf_mode),
        )

    @abstractmethod
    def set_compute_dtype(self, dtype: torch.dtype) -> None:
        """Set the type of the dense heads; the pose head stays in float32."""

    @abstractmethod
    def camera_map(self, inputs: tuple[Tensor, ...], grid: tuple[int, int]) -> Tensor:
        """Return the raw camera-frame map (B, 4, H, W)."""

    @abstractmethod
    def world_map(self, inputs: tuple[Tensor, ...], grid: tuple[int, int]) -> Tensor:
        """Return the raw world-frame map (B, 4, H, W) from pose-conditioned tokens."""

    @abstractmethod
    def rgb_map(self, inputs: tuple[Tensor, ...], grid: tuple[int, int]) -> Tensor:
        """Return the raw color map (B, 3, H, W)."""


class DptHeads(Heads):
    """Convolutional dense heads over four layers."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.dpt_self = DptHead(config, channels=4)
        self.dpt_cross = DptHead(config, channels=4)
        if config.rgb_head:
            self.dpt_rgb = DptHead(config, channels=3)

    def set_compute_dtype(self, dtype: torch.dtype) -> None:
        """Set the type of the convolutions."""
        for head in (self.dpt_self, self.dpt_cross, *([self.dpt_rgb] if self.config.rgb_head else [])):
            head.set_compute_dtype(dtype)

    def camera_map(self, inputs: tuple[Tensor, ...], grid: tuple[int, int]) -> Tensor:
        """Return the raw camera-frame map (B, 4, H, W)."""
        return self.dpt_self(inputs, grid)

    def world_map(self, inputs: tuple[Tensor, ...], grid: tuple[int, int]) -> Tensor:
        """Return the raw world-frame map (B, 4, H, W) from pose-conditioned tokens."""
        return self.dpt_cross(inputs, grid)

    def rgb_map(self, inputs: tuple[Tensor, ...], grid: tuple[int, int]) -> Tensor:
        """Return the raw color map (B, 3, H, W)."""
        return self.dpt_rgb(inputs, grid)


class LinearHeads(Heads):
    """One MLP that predicts all pixels of a patch."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        dim, pixels = config.dec_embed_dim, config.patch_size**2
        hidden = HIDDEN_RATIO * dim
        self.proj = Mlp(dim, hidden, 4 * pixels)
        self.cross_proj = Mlp(dim, hidden, 4 * pixels)
        if config.rgb_head:
            self.rgb_proj = Mlp(dim, hidden, 3 * pixels)

    def set_compute_dtype(self, dtype: torch.dtype) -> None:
        """Set the type of the first of the two layers."""
        for proj in (self.proj, self.cross_proj, *([self.rgb_proj] if self.config.rgb_head else [])):
            proj.fc1 = HalfLinear(proj.fc1, dtype, torch.float32)

    def _dense(self, proj: Mlp, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        patches = (
            proj(tokens).transpose(1, 2).unflatten(2, grid)
        )  # (B, channels * pixels, rows, columns)
        return F.pixel_shuffle(patches, self.config.patch_size)

    def camera_map(self, inputs: tuple[Tensor, ...], grid: tuple[int, int]) -> Tensor:
        """Return the raw camera-frame map (B, 4, H, W), with points flipped to the front of the camera."""
        raw = self._dense(self.proj, inputs[-1], grid)
        return torch.cat((raw[:, :3] * raw[:, 2:3].sign(), raw[:, 3:]), dim=1)

    def world_map(self, inputs: tuple[Tensor, ...], grid: tuple[int, int]) -> Tensor:
        """Return the raw world-frame map (B, 4, H, W) from pose-conditioned tokens."""
        return self._dense(self.cross_proj, inputs[-1], grid)

    def rgb_map(self, inputs: tuple[Tensor, ...], grid: tuple[int, int]) -> Tensor:
        """Return the raw color map (B, 3, H, W)."""
        return self._dense(self.rgb_proj, inputs[-1], grid)


class PoseHead(nn.Module):
    """Predicts translation and unit quaternion from the pose token."""

    def __init__(self, dim: int, mode: ModeBounds) -> None:
        super().__init__()
        self.mode = mode
        self.mlp = Mlp(dim, HIDDEN_RATIO * dim, 7)

    def forward(self, token: Tensor) -> Tensor:
        """Map (B, C) to (B, 7): x, y, z, then w, x, y, z with w >= 0."""
        raw = self.mlp(token)
        quaternion = F.normalize(raw[:, 3:], dim=-1, eps=1e-12)
        flipped = torch.where(quaternion[:, :1] < 0, -quaternion, quaternion)
        return torch.cat((decode_vectors(raw[:, :3], self.mode), flipped), dim=-1)


def decode_vectors(raw: Tensor, mode: ModeBounds) -> Tensor:
    """Map raw vectors (..., 3) to meters; 'exp' covers centimeters to kilometers."""
    kind = mode[0]
    if kind == "linear":
        return raw
    # Not raw.norm(), which takes ten times as long for three values on a CPU.
    length = raw.square().sum(dim=-1, keepdim=True).clamp(min=1e-16).sqrt()
    unit = raw / length
    return unit * (torch.expm1(length) if kind == "exp" else length.square())


def decode_confidence(raw: Tensor, mode: ModeBounds) -> Tensor:
    """Map raw confidence into its range."""
    kind, low, high = mode
    if kind == "exp":
        return low + raw.exp().clamp(max=high - low)
    return low + (high - low) * torch.sigmoid(raw)


def decode_colors(raw: Tensor) -> Tensor:
    """Map raw color (B, 3, H, W) into (B, H, W, 3) strictly inside (-1, 1)."""
    bounded = torch.sigmoid(raw) * (1 - 2e-6) + 1e-6
    return (bounded - 0.5).permute(0, 2, 3, 1) * 2
