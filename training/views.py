# SPDX-License-Identifier: Apache-2.0
"""From stored clips to inputs and targets of the network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from training.transfer import to_device

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.sequences import Clips


@dataclass(frozen=True)
class Truth:
    """Ground truth for B sequences of V views; lengths in meters."""

    points_camera: Tensor  # (B, V, H, W, 3) optical frame
    points_world: Tensor  # (B, V, H, W, 3) frame of the segment's first camera
    T_first_camera: Tensor  # (B, V, 4, 4)


@dataclass(frozen=True)
class Views:
    """B sequences of V views, with their segments: a reset makes its view the first of a new world."""

    images: Tensor  # (B, V, 3, H, W) in [-1, 1]
    resets: Tensor  # (B, V) bool; always true for view 0
    truth: Truth


@dataclass(frozen=True)
class Pixels:
    """The pixels of the loss: a loss on every n-th is nearly as good, and cheaper."""

    rows: Tensor  # (h,)
    columns: Tensor  # (w,)
    size: tuple[int, int]  # height and width of the images

    @classmethod
    def every(cls, step: int, size: tuple[int, int], offset: Tensor) -> Pixels:
        """Choose every ``step``-th row and column of (height, width), beginning at ``offset`` (2,)."""
        rows, columns = (torch.arange(0, side, step, device=offset.device) for side in size)
        return cls(rows + offset[0], columns + offset[1], size)

    @classmethod
    def all(cls, maps: Tensor) -> Pixels:
        """Choose every pixel of maps (..., H, W)."""
        offset = torch.zeros(2, dtype=torch.long, device=maps.device)
        return cls.every(1, (maps.shape[-2], maps.shape[-1]), offset)


@dataclass(frozen=True)
class Draw:
    """Batch of a step, as tensors on the device."""

    clips: Clips  # (B, V)
    resets: Tensor  # (B, V) bool
    mirrored: Tensor  # (B,) bool
    offset: Tensor  # (2,) first row and column that the loss looks at

    def tensors(self) -> tuple[Tensor, ...]:
        """Return all of them in one order."""
        return (*vars(self.clips).values(), self.resets, self.mirrored, self.offset)

    def map(self, function: Callable[[Tensor], Tensor]) -> Draw:
        """Return the same with a function applied to every tensor."""
        clips = {name: function(value) for name, value in vars(self.clips).items()}
        rest = (function(value) for value in (self.resets, self.mirrored, self.offset))
        return Draw(replace(self.clips, **clips), *rest)


def draw(
    clips: Clips,
    rng: torch.Generator,
    batch: int,
    views: int,
    reset_share: float = 0.0,
    span: float = 1.0,
    pixel_step: int = 1,
) -> Draw:
    """Draw subsequences at an even stride, half of them backwards, half mirrored.

    ``span`` is the fraction of a clip that the longest may cover.
    """
    count, frames = clips.rgb.shape[:2]
    clip = torch.randint(count, (batch,), generator=rng)
    longest = max(1, round(span * (frames - 1)) // max(1, views - 1))
    stride = 1 + (torch.rand(batch, generator=rng) * longest).long()
    first = (torch.rand(batch, generator=rng) * (frames - stride * (views - 1))).long()
    frame = first[:, None] + stride[:, None] * torch.arange(views)
    backwards = torch.rand(batch, generator=rng) < 0.5
    frame = torch.where(backwards[:, None], frame.flip(1), frame)
    mirrored = torch.rand(batch, generator=rng) < 0.5
    resets = torch.rand((batch, views), generator=rng) < reset_share
    resets[:, 0] = True
    offset = torch.randint(pixel_step, (2,), generator=rng)
    device = str(clips.rgb.device)
    picked = clips.pick(to_device(clip, device), to_device(frame, device))
    return Draw(picked, *(to_device(value, device) for value in (resets, mirrored, offset)))


def prepare(
    clips: Clips,
    resets: Tensor | None = None,
    mirrored: Tensor | None = None,
    pixels: Pixels | None = None,
) -> Views:
    """Turn clips (B, V) into views; those ``mirrored`` (B,) are flipped left-right. The truth is that of ``pixels``."""
    rgb, depth, poses = clips.rgb, clips.depth, clips.T_world_camera
    if resets is None:
        resets = torch.zeros(rgb.shape[:2], dtype=torch.bool, device=rgb.device)
        resets[:, 0] = True
    if mirrored is not None:
        rgb = torch.where(mirrored[:, None, None, None, None], rgb.flip(-1), rgb)
        depth = torch.where(mirrored[:, None, None, None], depth.flip(-1), depth)
        is_x = torch.arange(4, device=poses.device) == 0
        flip = torch.where(mirrored[:, None] & is_x, -1.0, 1.0)[:, None]
        poses = poses * flip[..., None] * flip[..., None, :]
    if pixels is None:
        pixels = Pixels.all(depth)
    T_first_camera = in_first_camera(poses, resets)
    depth = depth.index_select(-2, pixels.rows).index_select(-1, pixels.columns).float()
    points = unproject(depth, clips.focal_px, pixels)
    R, t = T_first_camera[..., :3, :3], T_first_camera[..., :3, 3]
    points_world = (points.flatten(2, 3) @ R.mT + t[:, :, None]).unflatten(2, points.shape[2:4])
    return Views(rgb.float() / 127.5 - 1.0, resets, Truth(points, points_world, T_first_camera))


def in_first_camera(T_world_camera: Tensor, resets: Tensor) -> Tensor:
    """Return poses (B, V, 4, 4) in the camera of the last reset up to each view (B, V)."""
    index = torch.arange(resets.shape[1], device=resets.device)
    last = torch.where(resets, index, 0).cummax(dim=1).values
    T_world_first = T_world_camera[torch.arange(resets.shape[0], device=resets.device)[:, None], last]
    return rigid_inverse(T_world_first) @ T_world_camera


def unproject(depth: Tensor, focal_px: Tensor, pixels: Pixels | None = None) -> Tensor:
    """Return points (B, V, h, w, 3) of depth (B, V, h, w) at ``pixels``, or all, of centered cameras (B,)."""
    pixels = pixels or Pixels.all(depth)
    v = (pixels.rows - (pixels.size[0] - 1) / 2)[:, None]
    u = (pixels.columns - (pixels.size[1] - 1) / 2)[None]
    scaled = depth / focal_px[:, None, None, None]
    return torch.stack((u * scaled, v * scaled, depth), dim=-1)


def rigid_inverse(T: Tensor) -> Tensor:
    """Return the inverse of rigid motions (..., 4, 4)."""
    R_inverse = T[..., :3, :3].mT
    inverted = torch.zeros_like(T)
    inverted[..., :3, :3] = R_inverse
    inverted[..., :3, 3:] = -R_inverse @ T[..., :3, 3:]
    inverted[..., 3, 3] = 1.0
    return inverted
