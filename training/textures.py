# SPDX-License-Identifier: Apache-2.0
"""A bank of surface images with all their mip levels, sampled on its own device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ttt3r_ros.synthetic.textures import MATERIALS, make_texture

SIDE = 256  # texels
LEVELS = SIDE.bit_length()
# Starts of the levels of one image, and how many texels it has in all.
STARTS = [sum((SIDE >> k) ** 2 for k in range(level)) for level in range(LEVELS)]
TEXELS = sum((SIDE >> k) ** 2 for k in range(LEVELS))


@dataclass(frozen=True)
class TextureBank:
    """Images of linear albedo, in groups of materials."""

    texels: Tensor  # (images * TEXELS, 3) float32
    starts: Tensor  # (LEVELS,) of one image's levels
    groups: dict[str, tuple[int, int]]  # material: its first image, and how many it has

    @classmethod
    def make(cls, seed: int, per_material: int = 12, device: str = "cpu") -> TextureBank:
        """Paint ``per_material`` images of every material; the same for the same seed."""
        rng = np.random.default_rng([seed, 7])
        images: list[Tensor] = []
        groups = {}
        for kind in MATERIALS:
            groups[kind] = (len(images), per_material)
            for _ in range(per_material):
                image = torch.from_numpy(
                    np.clip(make_texture(kind, rng, (SIDE, SIDE)), 0.01, 1.6)
                ).float()
                images.append(_pyramid(image))
        return cls(torch.cat(images).to(device), torch.tensor(STARTS, device=device), groups)

    def sample(self, image: Tensor, u: Tensor, v: Tensor, lod: Tensor) -> Tensor:
        """Return colors (..., 3), trilinear, repeating; ``u``, ``v`` are level-0 texels with integer centers."""
        lod = lod.clamp(0, LEVELS - 1.001)
        level = lod.floor()
        fine = self._bilinear(image, u, v, level)
        coarse = self._bilinear(image, u, v, level + 1)
        return torch.lerp(fine, coarse, (lod - level)[..., None])

    def _bilinear(self, image: Tensor, u: Tensor, v: Tensor, level: Tensor) -> Tensor:
        shrink = torch.exp2(-level)
        x, y = (u + 0.5) * shrink - 0.5, (v + 0.5) * shrink - 0.5
        x0, y0 = x.floor(), y.floor()
        left, top, whole = x0.long(), y0.long(), level.long()
        side = torch.full_like(whole, SIDE) >> whole
        base = image * TEXELS + self.starts[whole]
        upper, lower = base + (top & (side - 1)) * side, base + ((top + 1) & (side - 1)) * side
        left, right = left & (side - 1), (left + 1) & (side - 1)
        fx, fy = (x - x0)[..., None], (y - y0)[..., None]
        above = torch.lerp(self.texels[upper + left], self.texels[upper + right], fx)
        below = torch.lerp(self.texels[lower + left], self.texels[lower + right], fx)
        return torch.lerp(above, below, fy)


def _pyramid(image: Tensor) -> Tensor:
    """Return all levels (TEXELS, 3) of an image (SIDE, SIDE, 3)."""
    levels = [image]
    while levels[-1].shape[0] > 1:
        p = levels[-1]
        levels.append((p[::2, ::2] + p[1::2, ::2] + p[::2, 1::2] + p[1::2, 1::2]) / 4)
    return torch.cat([level.reshape(-1, 3) for level in levels])
