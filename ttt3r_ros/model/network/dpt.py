# SPDX-License-Identifier: Apache-2.0
"""The dense prediction head: four token layers fused from coarse to fine by convolutions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from ttt3r_ros.model.network.config import NetworkConfig


class DptHead(nn.Module):
    """Predicts ``channels`` values per pixel from encoder features and three decoder layers."""

    def __init__(self, config: NetworkConfig, channels: int) -> None:
        super().__init__()
        widths, dim = config.dpt, config.dec_embed_dim
        a, b, c, d = widths.layer_dims
        self.act_postprocess = nn.ModuleList(
            (
                nn.Sequential(
                    nn.Conv2d(config.enc_embed_dim, a, 1), nn.ConvTranspose2d(a, a, 4, stride=4)
                ),
                nn.Sequential(nn.Conv2d(dim, b, 1), nn.ConvTranspose2d(b, b, 2, stride=2)),
                nn.Sequential(nn.Conv2d(dim, c, 1)),
                nn.Sequential(nn.Conv2d(dim, d, 1), nn.Conv2d(d, d, 3, stride=2, padding=1)),
            )
        )
        self.scratch = Fusion(widths.layer_dims, widths.feature_dim)
        self.head = nn.Sequential(
            nn.Conv2d(widths.feature_dim, widths.last_dim, 3, padding=1),
            Upsample(),
            nn.Conv2d(widths.last_dim, widths.last_dim, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(widths.last_dim, channels, 1),
        )
        self._dtype = torch.float32

    def forward(self, layers: tuple[Tensor, ...], grid: tuple[int, int]) -> Tensor:
        """Map four layers (B, N, C_i) to (B, channels, H, W).

        The two middle layers begin with the pose token, which is dropped.
        """
        count = grid[0] * grid[1]
        maps = [
            process(layer[:, -count:].to(self._dtype).transpose(1, 2).unflatten(2, grid))
            for process, layer in zip(self.act_postprocess, layers, strict=True)
        ]
        hidden = self.head[:-1](self.scratch(maps))
        return self.head[-1](hidden.float())

    def set_compute_dtype(self, dtype: torch.dtype) -> None:
        """Set the type of all layers but the last, which feeds the exponentials."""
        self._dtype = dtype
        for part in (self.act_postprocess, self.scratch, self.head[:-1]):
            part.to(dtype)


class Fusion(nn.Module):
    """Projects four scales to one width and adds them from coarse to fine."""

    def __init__(self, layer_dims: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn = (
            nn.Conv2d(dim, width, 3, padding=1, bias=False) for dim in layer_dims
        )
        self.refinenet1 = FusionUnit(width)
        self.refinenet2 = FusionUnit(width)
        self.refinenet3 = FusionUnit(width)
        self.refinenet4 = FusionUnit(width, with_skip=False)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Map features at 4, 2, 1 and 1/2 times the token grid to (B, width, 8 rows, 8 columns)."""
        fine, middle, grid, coarse = maps
        skip = self.layer3_rn(grid)
        path = self.refinenet4(self.layer4_rn(coarse))
        path = path[
            :, :, : skip.shape[2], : skip.shape[3]
        ]  # an odd grid was rounded up by the stride of 2
        path = self.refinenet3(path, skip)
        path = self.refinenet2(path, self.layer2_rn(middle))
        return self.refinenet1(path, self.layer1_rn(fine))


class FusionUnit(nn.Module):
    """Adds a skip connection, refines, doubles the resolution."""

    def __init__(self, width: int, *, with_skip: bool = True) -> None:
        super().__init__()
        if with_skip:
            self.resConfUnit1 = ResidualConv(width)
        self.resConfUnit2 = ResidualConv(width)
        self.upsample = Upsample()
        self.out_conv = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """Map (B, width, h, w) to (B, width, 2h, 2w)."""
        if skip is not None:
            x = x + self.resConfUnit1(skip)
        # A 1x1 convolution commutes with interpolation (weights add up to 1) and is cheaper before it.
        return self.upsample(self.out_conv(self.resConfUnit2(x)))


class ResidualConv(nn.Module):
    """Two convolutions with a residual connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return refined features of the same shape."""
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class Upsample(nn.Module):
    """Bilinear doubling with aligned corners."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, C, 2h, 2w)."""
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
