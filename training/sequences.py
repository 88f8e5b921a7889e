# SPDX-License-Identifier: Apache-2.0
"""Image sequences with exact depth and poses; every one is a function of its seed alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from training.camera_paths import STYLES, Paths, uniform
from training.render import Cameras, render
from training.scenes import draw_scenes
from training.transfer import to_device

if TYPE_CHECKING:
    from training.textures import TextureBank


@dataclass(frozen=True)
class Clips:
    """B sequences of T frames."""

    rgb: Tensor  # (B, T, 3, H, W) uint8
    depth: Tensor  # (B, T, H, W) meters; float16 to save memory (error below 0.05 %)
    T_world_camera: Tensor  # (B, T, 4, 4) float32
    focal_px: Tensor  # (B,)

    def __len__(self) -> int:
        return self.rgb.shape[0]

    def pick(self, clip: Tensor, frame: Tensor) -> Clips:
        """Take frames (N, V) of clips (N,)."""
        row = clip[:, None]
        return Clips(
            self.rgb[row, frame],
            self.depth[row, frame],
            self.T_world_camera[row, frame],
            self.focal_px[clip],
        )

    def crop(self, height: int, width: int) -> Clips:
        """Cut the middle out of every frame."""
        top, left = (self.rgb.shape[-2] - height) // 2, (self.rgb.shape[-1] - width) // 2
        rows, columns = slice(top, top + height), slice(left, left + width)
        return replace(self, rgb=self.rgb[..., rows, columns], depth=self.depth[..., rows, columns])


@dataclass(frozen=True)
class Recipe:
    """Properties of sequences."""

    width: int = 160
    height: int = 112
    frames: int = 16
    interval_s: tuple[float, float] = (0.1, 0.3)
    styles: tuple[tuple[str, float], ...] = (("handheld", 0.8), ("driving", 0.1), ("flying", 0.1))
    fov_deg: tuple[float, float] = (52.0, 78.0)  # across the long side
    moving_share: float = 0.25
    shadows: bool = True
    smooth: bool = True  # four rays a pixel


def make_clips(
    seed: tuple[int, ...], count: int, recipe: Recipe, bank: TextureBank, device: str = "cpu"
) -> Clips:
    """Make ``count`` sequences of one style, drawn with the sequences."""
    rng = torch.Generator().manual_seed(_mix_seed(seed))
    names, weights = zip(*recipe.styles, strict=True)
    drawn = torch.multinomial(torch.tensor(weights), 1, generator=rng)
    style = STYLES[names[int(drawn)]]
    paths = Paths.draw(rng, count, style)
    interval_s = uniform(rng, (count, 1), *recipe.interval_s)
    time_s = uniform(rng, (count, 1), 0.0, 4.0) + interval_s * torch.arange(recipe.frames)
    poses = paths.poses(time_s)
    scene_s = time_s - time_s.mean(dim=1, keepdim=True)
    scenes = draw_scenes(rng, style, poses[..., :3, 3], scene_s, bank, recipe.moving_share)
    fov = uniform(rng, (count,), *recipe.fov_deg).deg2rad()
    focal = max(recipe.width, recipe.height) / 2 / (fov / 2).tan()

    scene = torch.arange(count).repeat_interleave(recipe.frames)
    cameras = Cameras(
        to_device(poses.flatten(0, 1), device),
        to_device(focal.repeat_interleave(recipe.frames), device),
        recipe.width,
        recipe.height,
    )
    shot = render(
        scenes.to(device),
        to_device(scene, device),
        to_device(scene_s.flatten(), device),
        cameras,
        bank,
        shadows=recipe.shadows,
        smooth=recipe.smooth,
    )
    size = (count, recipe.frames)
    rgb = develop(rng, shot.light.unflatten(0, size))
    return Clips(
        rgb, shot.depth.unflatten(0, size).half(), to_device(poses, device), to_device(focal, device)
    )


def develop(rng: torch.Generator, light: Tensor) -> Tensor:
    """Turn linear light (B, T, H, W, 3) into 8-bit images (B, T, 3, H, W) as a cheap camera does.

    Exposure, color balance, vignetting, blur and noise belong to the camera and so to the sequence; the
    exposure also drifts a little.
    """
    count, frames, height, width, _ = light.shape
    device = str(light.device)

    def per_clip(low: float, high: float, *shape: int) -> Tensor:
        return to_device(uniform(rng, (count, 1, 1, 1, *(shape or (1,))), low, high), device)

    drift = to_device((0.06 * torch.randn((count, frames, 1, 1, 1), generator=rng)).exp(), device)
    mean = light.mean(dim=(1, 2, 3, 4), keepdim=True).clamp(min=1e-4)
    v, u = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    off_axis = to_device((u * u + v * v) * 0.5, device)[None, None, ..., None]
    exposed = light * (per_clip(0.2, 0.5) / mean) * drift * per_clip(0.92, 1.08, 3)
    exposed = exposed / (1 + per_clip(0.0, 0.3) * off_axis)
    levels = (1 - torch.exp(-exposed)).clamp(min=1e-4) ** (1 / 2.2)
    image = levels.movedim(-1, 2)  # (B, T, 3, H, W)
    soft = F.avg_pool2d(
        F.pad(image.flatten(0, 1), (1, 1, 1, 1), mode="replicate"), 3, stride=1
    ).unflatten(0, (count, frames))
    image = torch.lerp(image, soft, per_clip(0.0, 0.8))
    gray = to_device(torch.rand((count, 1, 1, 1, 1), generator=rng) < 0.1, device)
    image = torch.where(gray, image.mean(dim=2, keepdim=True), image)
    strength = per_clip(0.0, 0.02)
    noise_rng = torch.Generator(device).manual_seed(int(torch.randint(2**31, (1,), generator=rng)))
    noise = torch.randn(image.shape, generator=noise_rng, device=device) * strength
    return ((image + noise) * 255).round().clamp(0, 255).to(torch.uint8)


def _mix_seed(seed: tuple[int, ...]) -> int:
    """Fold several numbers into one seed."""
    value = 0
    for part in seed:
        value = (value * 0x9E3779B97F4A7C15 + part + 0x7F4A7C15) % 2**63
    return value
