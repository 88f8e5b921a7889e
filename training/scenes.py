# SPDX-License-Identifier: Apache-2.0
"""Furnished rooms, many at a time: boxes and upright cylinders inside a box seen from within."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from training.camera_paths import Style, uniform
from training.transfer import to_device

if TYPE_CHECKING:
    from training.textures import TextureBank

CLEARANCE_M = 0.35


@dataclass(frozen=True)
class Furniture:
    """A class of solids: how many there may be, their sizes (half extents) and where they stand [m]."""

    materials: tuple[str, ...]
    count: int
    half: tuple[tuple[float, float], ...]
    foot: tuple[float, float] = (0.0, 0.0)  # height of the lower face
    at_wall: bool = True
    cylinder: bool = False
    fills: bool = False  # one image over the whole face, as a poster
    moves: bool = False
    tall: bool = False  # from floor to ceiling


FURNITURE = (
    Furniture(("wood", "books"), 6, ((0.25, 0.8), (0.12, 0.3), (0.35, 1.05))),
    Furniture(("cloth",), 3, ((0.4, 0.9), (0.2, 0.45), (0.18, 0.45))),
    Furniture(("poster",), 6, ((0.2, 0.55), (0.01, 0.02), (0.2, 0.55)), (0.7, 1.4), fills=True),
    Furniture(("window",), 2, ((0.4, 0.8), (0.02, 0.04), (0.35, 0.6)), (0.7, 1.2), fills=True),
    Furniture(("wood", "wall"), 2, ((0.1, 0.25), (0.1, 0.25), (1.0, 1.0)), tall=True),
    Furniture(("wood",), 3, ((0.35, 0.7), (0.25, 0.45), (0.02, 0.04)), (0.4, 0.8), at_wall=False),
    Furniture(("carton", "cloth", "wood"), 7, ((0.1, 0.35), (0.1, 0.35), (0.1, 0.4)), at_wall=False),
    Furniture(("ceramic",), 4, ((0.07, 0.2), (0.07, 0.2), (0.12, 0.45)), at_wall=False, cylinder=True),
    Furniture(("ceramic", "carton"), 4, ((0.05, 0.15), (0.05, 0.15), (0.06, 0.16)), (0.4, 1.2)),
    Furniture(("cloth", "carton"), 2, ((0.12, 0.25), (0.1, 0.2), (0.3, 0.8)), at_wall=False, moves=True),
)
SOLIDS = 1 + sum(kind.count for kind in FURNITURE)  # the room itself is solid 0
FACES = 6


@dataclass(frozen=True)
class Scenes:
    """B scenes of P solids; solid 0 is the room."""

    center: Tensor  # (B, P, 3)
    half: Tensor  # (B, P, 3); zero where a place is left empty
    yaw: Tensor  # (B, P)
    cylinder: Tensor  # (P,) bool
    velocity: Tensor  # (B, P, 3) [m/s]
    image: Tensor  # (B, P, FACES) index into the texture bank
    tint: Tensor  # (B, P, FACES, 3)
    texels_per_m: Tensor  # (B, P); zero: the image fills each face
    light: Tensor  # (B, L, 3) positions
    brightness: Tensor  # (B, L, 3)
    ambient: Tensor  # (B, 3)

    def to(self, device: str) -> Scenes:
        """Move to a device."""
        return Scenes(**{name: to_device(value, device) for name, value in vars(self).items()})


def draw_scenes(
    rng: torch.Generator,
    style: Style,
    path_m: Tensor,
    time_s: Tensor,
    bank: TextureBank,
    moving_share: float = 0.25,
) -> Scenes:
    """Draw one scene around each path (B, T, 3) walked at times (B, T); nothing comes nearer than `CLEARANCE_M`."""
    count = path_m.shape[0]
    size = torch.stack([uniform(rng, (count,), *bounds) for bounds in style.room], dim=1)
    reach = (path_m[..., :2].abs().amax(dim=1) + 2 * CLEARANCE_M) * 2
    size[:, :2] = torch.maximum(size[:, :2], reach)
    size[:, 2] = torch.maximum(size[:, 2], path_m[..., 2].amax(dim=1) + CLEARANCE_M)
    center = torch.zeros(count, 1, 3)
    center[:, 0, 2] = size[:, 2] / 2
    parts = [_Part(center, size[:, None] / 2, torch.zeros(count, 1), torch.zeros(count, 1, 3))]
    spread = (size[:, 0] * size[:, 1] / 30.0).clamp(min=1.0).sqrt()
    parts += [_furnish(rng, kind, size, spread, (path_m, time_s), moving_share) for kind in FURNITURE]
    image, tint, texels_per_m = _paint(rng, count, bank)
    light = (2 * torch.rand((count, 2, 3), generator=rng) - 1) * 0.4 * size[:, None]
    light[..., 2] = size[:, None, 2] * uniform(rng, (count, 2), 0.6, 0.97)
    warm = torch.tensor([1.1, 1.0, 0.85])
    brightness = uniform(rng, (count, 2, 1), 0.3, 1.6) * warm ** uniform(rng, (count, 2, 1), -1.0, 1.5)
    kinds = [False] + [kind.cylinder for kind in FURNITURE for _ in range(kind.count)]
    return Scenes(
        center=torch.cat([part.center for part in parts], dim=1),
        half=torch.cat([part.half for part in parts], dim=1),
        yaw=torch.cat([part.yaw for part in parts], dim=1),
        cylinder=torch.tensor(kinds),
        velocity=torch.cat([part.velocity for part in parts], dim=1),
        image=image,
        tint=tint,
        texels_per_m=texels_per_m,
        light=light,
        brightness=brightness,
        ambient=uniform(rng, (count, 1), 0.3, 0.8).expand(-1, 3).clone(),
    )


@dataclass(frozen=True)
class _Part:
    center: Tensor
    half: Tensor
    yaw: Tensor
    velocity: Tensor


def _furnish(
    rng: torch.Generator,
    kind: Furniture,
    size: Tensor,
    spread: Tensor,
    walk: tuple[Tensor, Tensor],
    moving: float,
) -> _Part:
    shape = (size.shape[0], kind.count)
    half = torch.stack([uniform(rng, shape, *bounds) for bounds in kind.half], dim=-1)
    half = half * spread[:, None, None] ** torch.tensor([1.0, 1.0, 0.5])
    if kind.cylinder:
        half[..., 1] = half[..., 0]
    if kind.tall:
        half[..., 2] = size[:, None, 2] / 2
    foot = uniform(rng, shape, *kind.foot) * spread[:, None] ** 0.5
    room = size[:, None, :2] / 2
    if kind.at_wall:
        wall = torch.randint(4, shape, generator=rng)
        yaw = wall * (torch.pi / 2)
        along_y = (wall % 2 == 0)[..., None]  # wall 0 lies at +x, its furniture faces the room
        facing = torch.where(along_y, half[..., :2].flip(-1), half[..., :2])
        place = (2 * torch.rand((*shape, 2), generator=rng) - 1) * (room - facing)
        edge = (room - facing) * torch.where(wall < 2, 1.0, -1.0)[..., None]
        at = torch.where(torch.cat((along_y, ~along_y), dim=-1), edge, place)
        yaw = yaw + torch.pi / 2
    else:
        yaw = uniform(rng, shape, -torch.pi, torch.pi)
        at = (2 * torch.rand((*shape, 2), generator=rng) - 1) * (room - 0.3).clamp(min=0.1)
    center = torch.cat((at, (foot + half[..., 2])[..., None]), dim=-1)
    velocity = torch.zeros(*shape, 3)
    there = torch.rand(shape, generator=rng) < 0.75
    if kind.moves:
        velocity[..., :2] = uniform(rng, (*shape, 2), -0.6, 0.6)
        there &= (torch.rand((shape[0], 1), generator=rng) < moving).expand(shape)
    part = _Part(center, half, yaw, velocity)
    there &= _clear(part, *walk)
    return replace(part, half=half * there[..., None])


def _clear(part: _Part, path_m: Tensor, time_s: Tensor) -> Tensor:
    """Return which solids (B, K) leave the path (B, T, 3) clear at all times (B, T)."""
    center = part.center[:, None] + part.velocity[:, None] * time_s[:, :, None, None]
    offset = path_m[:, :, None] - center
    cos, sin = part.yaw.cos()[:, None], part.yaw.sin()[:, None]
    local = torch.stack(
        (
            cos * offset[..., 0] + sin * offset[..., 1],
            cos * offset[..., 1] - sin * offset[..., 0],
            offset[..., 2],
        ),
        dim=-1,
    )
    gap = (local.abs() - part.half[:, None]).clamp(min=0).norm(dim=-1)
    return gap.amin(dim=1) > CLEARANCE_M


def _paint(rng: torch.Generator, count: int, bank: TextureBank) -> tuple[Tensor, Tensor, Tensor]:
    walls = [_choose(rng, ("wall",), (count, 4), bank), _choose(rng, ("floor",), (count, 1), bank)]
    room = torch.cat((*walls, _choose(rng, ("ceiling", "wall"), (count, 1), bank)), dim=1)
    room = room[:, None]
    solids = [_choose(rng, kind.materials, (count, kind.count), bank) for kind in FURNITURE]
    image = torch.cat((room, torch.cat(solids, dim=1)[..., None].expand(-1, -1, FACES)), dim=1)
    value = 0.3 * torch.randn((count, SOLIDS, FACES, 1), generator=rng)
    hue = 0.15 * torch.randn((count, SOLIDS, FACES, 3), generator=rng)
    value[:, 1:] = value[:, 1:, :1]
    hue[:, 1:] = hue[:, 1:, :1]
    tint = (value + hue).exp()
    texels_per_m = uniform(rng, (count, SOLIDS), 70.0, 260.0)
    texels_per_m[:, 0] = uniform(rng, (count,), 55.0, 130.0)
    fills = torch.tensor([False] + [kind.fills for kind in FURNITURE for _ in range(kind.count)])
    return image, tint, texels_per_m * ~fills


def _choose(
    rng: torch.Generator, materials: tuple[str, ...], shape: tuple[int, ...], bank: TextureBank
) -> Tensor:
    firsts = torch.tensor([bank.groups[name][0] for name in materials])
    kind = torch.randint(len(materials), shape, generator=rng)
    within = torch.randint(2**31, shape, generator=rng) % bank.groups[materials[0]][1]
    return firsts[kind] + within
