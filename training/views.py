# SPDX-License-Identifier: Apache-2.0
"""From stored clips to what the network is shown and what it should have said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from training.sequences import Clips


@dataclass(frozen=True)
class Truth:
    """The right answers for B sequences of V views; lengths in metres."""

    points_camera: Tensor  # (B, V, H, W, 3) optical frame
    points_world: Tensor  # (B, V, H, W, 3) frame of the segment's first camera
    T_first_camera: Tensor  # (B, V, 4, 4)


@dataclass(frozen=True)
class Views:
    """B sequences of V views, with their segments: a reset makes its view the first of a new world."""

    images: Tensor  # (B, V, 3, H, W) in [-1, 1]
    resets: Tensor  # (B, V) bool; always true for view 0
    truth: Truth


def draw_views(
    clips: Clips,
    rng: torch.Generator,
    batch: int,
    views: int,
    reset_share: float = 0.0,
    span: float = 1.0,
) -> Views:
    """Draw subsequences at an even stride, half of them backwards, half mirrored.

    ``span`` is the share of a clip that the longest may cover.
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
    device = clips.rgb.device
    picked = clips.pick(clip.to(device), frame.to(device))
    return prepare(picked, resets.to(device), mirrored.to(device))


def prepare(clips: Clips, resets: Tensor | None = None, mirrored: Tensor | None = None) -> Views:
    """Turn clips (B, V) into views; those ``mirrored`` (B,) are seen in a mirror."""
    rgb, depth, poses = clips.rgb, clips.depth.float(), clips.T_world_camera
    if resets is None:
        resets = torch.zeros(rgb.shape[:2], dtype=torch.bool, device=rgb.device)
        resets[:, 0] = True
    if mirrored is not None:
        rgb = torch.where(mirrored[:, None, None, None, None], rgb.flip(-1), rgb)
        depth = torch.where(mirrored[:, None, None, None], depth.flip(-1), depth)
        flip = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0], device=poses.device))
        poses = torch.where(mirrored[:, None, None, None], flip @ poses @ flip, poses)
    T_first_camera = in_first_camera(poses, resets)
    points = unprojected(depth, clips.focal_px)
    R, t = T_first_camera[..., :3, :3], T_first_camera[..., :3, 3]
    points_world = (points.flatten(2, 3) @ R.mT + t[:, :, None]).unflatten(2, points.shape[2:4])
    return Views(rgb.float() / 127.5 - 1.0, resets, Truth(points, points_world, T_first_camera))


def in_first_camera(T_world_camera: Tensor, resets: Tensor) -> Tensor:
    """Return poses (B, V, 4, 4) in the camera of the last reset up to each view (B, V)."""
    index = torch.arange(resets.shape[1], device=resets.device)
    last = torch.where(resets, index, 0).cummax(dim=1).values
    T_world_first = T_world_camera[torch.arange(resets.shape[0], device=resets.device)[:, None], last]
    return rigid_inverse(T_world_first) @ T_world_camera


def unprojected(depth: Tensor, focal_px: Tensor) -> Tensor:
    """Return points (B, V, H, W, 3) of depth (B, V, H, W) for a centred camera of ``focal_px`` (B,)."""
    height, width = depth.shape[-2:]
    v, u = torch.meshgrid(
        torch.arange(height, device=depth.device) - (height - 1) / 2,
        torch.arange(width, device=depth.device) - (width - 1) / 2,
        indexing="ij",
    )
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
