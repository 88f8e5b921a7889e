# SPDX-License-Identifier: Apache-2.0
"""Ray casting of whole batches of frames in PyTorch: linear light and exact depth at pixel centers.

Frames are cast in chunks: few at a time stay in a processor's cache, many keep a GPU busy. A processor takes one
solid after the other and leaves out those that are not in view; a GPU takes all of a ray's in one compiled kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from training.textures import SIDE, TextureBank

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from training.scenes import Scenes

_EPS = 1e-9
_GPU_CHUNK = 64  # frames
ROTATED_GRID_PX = ((-0.125, -0.375), (0.375, -0.125), (0.125, 0.375), (-0.375, 0.125))


@dataclass(frozen=True)
class Cameras:
    """F pinhole cameras, pixel centers at integer coordinates."""

    T_world_camera: Tensor  # (F, 4, 4) optical
    focal_px: Tensor  # (F,)
    width: int
    height: int

    def part(self, frames: Tensor) -> Cameras:
        """Return some of the cameras."""
        return Cameras(self.T_world_camera[frames], self.focal_px[frames], self.width, self.height)

    def rays(self, offset_px: tuple[float, float] = (0.0, 0.0)) -> Tensor:
        """Return rays of unit depth (F, 3, R) in the world, row-major, ``offset_px`` from the pixel centers."""
        device = self.focal_px.device
        v, u = torch.meshgrid(
            torch.arange(self.height, device=device, dtype=torch.float32),
            torch.arange(self.width, device=device, dtype=torch.float32),
            indexing="ij",
        )
        x = (u.flatten() + offset_px[0] - (self.width - 1) / 2)[None] / self.focal_px[:, None]
        y = (v.flatten() + offset_px[1] - (self.height - 1) / 2)[None] / self.focal_px[:, None]
        return self.T_world_camera[:, :3, :3] @ torch.stack((x, y, torch.ones_like(x)), dim=1)


@dataclass(frozen=True)
class Shot:
    """Images of F cameras."""

    light: Tensor  # (F, H, W, 3) linear
    depth: Tensor  # (F, H, W) meters along the optical axis


@dataclass(frozen=True)
class _Frames:
    """The solids of the scene that each frame of a chunk looks at, at its own time."""

    scene: Tensor  # (F,)
    center: Tensor  # (F, P, 3)
    half: Tensor
    cos: Tensor  # (F, P)
    sin: Tensor
    cylinder: Tensor  # (P,) bool


def render(
    scenes: Scenes,
    scene: Tensor,
    time_s: Tensor,
    cameras: Cameras,
    bank: TextureBank,
    *,
    shadows: bool = True,
    smooth: bool = True,
) -> Shot:
    """Render frames; ``scene`` (F,) and ``time_s`` (F,) are the scene and time of each camera.

    ``smooth`` takes the light of a pixel from four rays; depth always is that of its center.
    """
    on_cpu = scene.device.type == "cpu"
    shade = _shade if on_cpu else _compiled_shade()
    lights, depths = [], []
    for part in _chunks(scene.shape[0], 1 if on_cpu else _GPU_CHUNK, scene.device):
        few = cameras.part(part)
        light, depth = shade(
            scenes, scene[part], time_s[part], few, bank, shadows=shadows, smooth=smooth
        )
        lights.append(light)
        depths.append(depth)
    light, depth = torch.cat(lights)[: scene.shape[0]], torch.cat(depths)[: scene.shape[0]]
    size = (cameras.height, cameras.width)
    return Shot(light.unflatten(1, size), depth.unflatten(1, size))


def _chunks(frames: int, size: int, device: torch.device) -> Iterator[Tensor]:
    """Yield indices of ``size`` frames at a time; the last restart at 0, because a kernel is compiled for one size."""
    for start in range(0, frames, size):
        yield (start + torch.arange(size, device=device)) % frames


@cache
def _compiled_shade() -> Callable[..., tuple[Tensor, Tensor]]:
    return torch.compile(_shade, dynamic=False, fullgraph=True)


def _shade(
    scenes: Scenes,
    scene: Tensor,
    time_s: Tensor,
    cameras: Cameras,
    bank: TextureBank,
    *,
    shadows: bool,
    smooth: bool,
) -> tuple[Tensor, Tensor]:
    frames = _frames(scenes, scene, time_s)
    origin = cameras.T_world_camera[:, :3, 3, None]
    center = cameras.rays()
    depth, solid = _cast(frames, origin, center, room=True)
    pixel_rad = 1.0 / cameras.focal_px[:, None]
    if not smooth:
        return _radiance(
            scenes, frames, origin, center, (depth, solid), pixel_rad, bank, shadows=shadows
        ), depth
    rays = torch.cat([cameras.rays(offset) for offset in ROTATED_GRID_PX], dim=2)
    hit = _cast(frames, origin, rays, room=True)
    light = _radiance(scenes, frames, origin, rays, hit, pixel_rad * 0.6, bank, shadows=shadows)
    return light.unflatten(1, (len(ROTATED_GRID_PX), -1)).mean(dim=1), depth


def _radiance(
    scenes: Scenes,
    frames: _Frames,
    origin: Tensor,
    rays: Tensor,
    hit: tuple[Tensor, Tensor],
    pixel_rad: Tensor,
    bank: TextureBank,
    *,
    shadows: bool,
) -> Tensor:
    """Return the light (F, R, 3) that comes along rays which end at ``hit``, smoothed over ``pixel_rad``."""
    depth, solid = hit
    points = origin + depth[:, None] * rays
    normal, image, u, v, texel_m, tint = _surface(scenes, frames, points, solid)
    length = _dot(rays, rays).sqrt()
    slant = _dot(rays, normal).abs() / length
    footprint_m = depth * length * pixel_rad / slant.clamp(min=0.06).sqrt()
    albedo = bank.sample(image, u, v, (footprint_m / texel_m).clamp(min=1e-3).log2()) * tint
    light = scenes.ambient[frames.scene][:, None] * (0.8 + 0.2 * normal[:, 2, :, None])
    for index in range(scenes.light.shape[1]):
        lamp = scenes.light[frames.scene, index][:, :, None]
        received = _irradiance(frames, lamp, points, normal, shadows=shadows and index == 0)
        light = light + received[..., None] * scenes.brightness[frames.scene, index][:, None]
    return albedo * light


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """Return products (F, R) of vectors (F, 3, R); reductions over a middle axis are slow on processors."""
    return first[:, 0] * second[:, 0] + first[:, 1] * second[:, 1] + first[:, 2] * second[:, 2]


def _irradiance(
    frames: _Frames, lamp: Tensor, points: Tensor, normal: Tensor, *, shadows: bool
) -> Tensor:
    """Return how much of a lamp's light (F, R) falls on each point."""
    towards = lamp - points
    square = _dot(towards, towards)
    cosine = _dot(towards, normal).clamp(min=0) * square.rsqrt()
    received = 3.0 * cosine / (1.0 + square / 4.0)
    if shadows:
        # From the lamp, so that a surface is not in its own shadow: occluders before the point.
        reach, _ = _cast(frames, lamp, -towards, room=False)
        received = received * torch.where(reach < 0.995, 0.35, 1.0)
    return received


def _frames(scenes: Scenes, scene: Tensor, time_s: Tensor) -> _Frames:
    center = scenes.center[scene] + scenes.velocity[scene] * time_s[:, None, None]
    yaw = scenes.yaw[scene]
    return _Frames(scene, center, scenes.half[scene], yaw.cos(), yaw.sin(), scenes.cylinder)


def _cast(frames: _Frames, origin: Tensor, rays: Tensor, *, room: bool) -> tuple[Tensor, Tensor]:
    """Return range (F, R) in multiples of the ray and the solid (F, R) that each ray meets first."""
    if room:
        inverse = 1.0 / torch.where(rays.abs() < _EPS, _EPS, rays)
        far = (frames.half[:, 0, :, None] * inverse.abs()) - (
            origin - frames.center[:, 0, :, None]
        ) * inverse
        nearest = far.amin(dim=1)
    else:
        nearest = torch.full_like(rays[:, 0], torch.inf)
    if rays.device.type == "cpu":
        return _nearest_in_turn(frames, origin, rays, nearest)
    return _nearest_at_once(frames, origin, rays, nearest)


def _nearest_in_turn(
    frames: _Frames, origin: Tensor, rays: Tensor, nearest: Tensor
) -> tuple[Tensor, Tensor]:
    solid = torch.zeros(nearest.shape, dtype=torch.long, device=nearest.device)
    tubes = frames.cylinder.tolist()
    for index in _in_view(frames, origin, rays):
        entry = _entries(frames, slice(index, index + 1), origin, rays, tube=tubes[index])[:, 0]
        closer = entry < nearest
        nearest = torch.where(closer, entry, nearest)
        solid = solid.masked_fill(closer, index)
    return nearest, solid


def _nearest_at_once(
    frames: _Frames, origin: Tensor, rays: Tensor, nearest: Tensor
) -> tuple[Tensor, Tensor]:
    """Do the same for all solids together; never formed in memory where it is compiled."""
    entry, index = _entries(frames, slice(1, None), origin, rays, tube=frames.cylinder[1:, None]).min(
        dim=1
    )
    closer = entry < nearest
    return torch.where(closer, entry, nearest), torch.where(closer, index + 1, 0)


def _in_view(frames: _Frames, origin: Tensor, rays: Tensor) -> list[int]:
    """Return the solids that any ray of the chunk may meet; exact culling pays for single frames only."""
    there = frames.half[:, :, 0] > 0
    if rays.shape[0] == 1:
        # The rays of a frame lie in the cone around their mean; a shadow's do not, and are not culled much.
        unit = rays[0] * _dot(rays, rays)[0].rsqrt()
        axis = unit.mean(dim=1)
        axis = axis / axis.norm().clamp(min=_EPS)
        opening = torch.acos((axis @ unit).amin().clamp(-1, 1))
        offset = frames.center[0] - origin[0].T
        distance = offset.norm(dim=1).clamp(min=_EPS)
        radius = frames.half[0].norm(dim=1)
        angle = torch.acos((offset @ axis / distance).clamp(-1, 1))
        margin = torch.asin((radius / distance).clamp(max=1.0))
        there = there & ((angle < opening + margin) | (distance < radius))[None]
    return [index for index in there.any(dim=0).nonzero()[:, 0].tolist() if index > 0]


def _entries(
    frames: _Frames,
    solids: slice,
    origin: Tensor,
    rays: Tensor,
    *,
    tube: bool | Tensor,
) -> Tensor:
    """Return where rays enter each of K solids (F, K, R), infinity where they do not.

    ``tube`` selects the cylinders: all, none, or a mask (K, 1).
    """
    cos, sin = frames.cos[:, solids, None], frames.sin[:, solids, None]
    half_x, half_y, half_z = frames.half[:, solids, :, None].unbind(dim=2)
    x, y, z = (origin[:, None] - frames.center[:, solids, :, None]).unbind(dim=2)
    sx, sy = cos * x + sin * y, cos * y - sin * x
    dx = cos * rays[:, None, 0] + sin * rays[:, None, 1]
    dy = cos * rays[:, None, 1] - sin * rays[:, None, 0]
    near, far = _slab(z, rays[:, None, 2], half_z)
    if tube is True:
        spans = [_tube(sx, sy, dx, dy, half_x)]
    else:
        spans = [_slab(sx, dx, half_x), _slab(sy, dy, half_y)]
        if isinstance(tube, Tensor):
            near_tube, far_tube = _tube(sx, sy, dx, dy, half_x)
            spans = [
                (torch.where(tube, near_tube, near_box), torch.where(tube, far_tube, far_box))
                for near_box, far_box in spans
            ]
    for enters, leaves in spans:
        near, far = torch.maximum(near, enters), torch.minimum(far, leaves)
    return torch.where((near > 0) & (near < far), near, torch.inf)


def _slab(start: Tensor, ray: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    inverse = 1.0 / torch.where(ray.abs() < _EPS, _EPS, ray)
    middle, reach = -start * inverse, half * inverse.abs()
    return middle - reach, middle + reach


def _tube(sx: Tensor, sy: Tensor, dx: Tensor, dy: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    a = (dx * dx + dy * dy).clamp(min=1e-12)
    b = dx * sx + dy * sy
    discriminant = b * b - a * (sx * sx + sy * sy - radius * radius)
    root = discriminant.clamp(min=0).sqrt()
    return torch.where(discriminant > 0, (-b - root) / a, torch.inf), (-b + root) / a


def _surface(
    scenes: Scenes, frames: _Frames, points: Tensor, solid: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return normal (F, 3, R), image, texel coordinates u, v, meters per texel (F, R), tint (F, R, 3)."""
    scene = frames.scene
    row = torch.arange(scene.shape[0], device=scene.device)[:, None]
    cos, sin = frames.cos[row, solid], frames.sin[row, solid]
    center, half = (value[row, solid].movedim(-1, 1) for value in (frames.center, frames.half))
    offset = points - center
    local = torch.stack(
        (cos * offset[:, 0] + sin * offset[:, 1], cos * offset[:, 1] - sin * offset[:, 0], offset[:, 2]),
        dim=1,
    )
    is_room, is_tube = solid == 0, scenes.cylinder[solid]
    share = (local / half.clamp(min=1e-6)).abs()
    radial = (local[:, 0] ** 2 + local[:, 1] ** 2).sqrt()
    along_x = torch.where(is_tube, radial / half[:, 0].clamp(min=1e-6), share[:, 0])
    along_y = torch.where(is_tube, 0.0, share[:, 1])
    # Which face: the axis along which the point lies farthest out.
    axis = torch.where(along_y > along_x, 1, 0)
    axis = torch.where(share[:, 2] > torch.maximum(along_x, along_y), 2, axis)
    side = torch.gather(local, 1, axis[:, None])[:, 0] > 0
    sign = torch.where(side ^ is_room, 1.0, -1.0)
    on_tube = is_tube & (axis == 0)
    one = torch.nn.functional.one_hot(axis, 3).movedim(-1, 1) * sign[:, None]
    nx = torch.where(on_tube, local[:, 0] / radial.clamp(min=1e-6), one[:, 0].float())
    ny = torch.where(on_tube, local[:, 1] / radial.clamp(min=1e-6), one[:, 1].float())
    normal = torch.stack((cos * nx - sin * ny, cos * ny + sin * nx, one[:, 2].float()), dim=1)

    # Across and down each face, in meters from its corner.
    around = (torch.atan2(local[:, 1], local[:, 0]) + torch.pi) * half[:, 0]
    across = torch.where(axis == 0, local[:, 1] + half[:, 1], local[:, 0] + half[:, 0])
    down = torch.where(axis == 2, local[:, 1] + half[:, 1], half[:, 2] - local[:, 2])
    width = 2 * torch.where(axis == 0, half[:, 1], half[:, 0])
    height = 2 * torch.where(axis == 2, half[:, 1], half[:, 2])
    across = torch.where(on_tube, around, across)
    width = torch.where(on_tube, 2 * torch.pi * half[:, 0], width)
    density = scenes.texels_per_m[scene][row, solid]
    fills = density == 0
    per_u, per_v = torch.where(fills, SIDE / width, density), torch.where(fills, SIDE / height, density)
    face = 2 * axis + side.long()
    image = scenes.image[scene][row, solid, face]
    tint = scenes.tint[scene][row, solid, face]
    return normal, image, across * per_u - 0.5, down * per_v - 0.5, (per_u * per_v).rsqrt(), tint
