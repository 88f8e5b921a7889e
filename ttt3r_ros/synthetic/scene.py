# SPDX-License-Identifier: Apache-2.0
"""A furnished room of boxes and cylinders: ray casting and radiance.

The world is z-up with its origin in the middle of the floor. Light is baked once, with soft shadows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.synthetic.texture_atlas import SurfaceTextures, TextureAtlas
from ttt3r_ros.synthetic.textures import MATERIALS, make_texture

if TYPE_CHECKING:
    from ttt3r_ros.synthetic.texture_atlas import IntArray
    from ttt3r_ros.types import Float32Array, Float64Array

Triple = tuple[float, float, float]
# One part: kind, position along the wall (or x), gap to the wall (or y), half extents, height of its lower face.
Part = tuple[str, float, float, Triple, float]

MIN_CLEARANCE_M = 0.4
FACES = 7  # -x +x -y +y -z +z of a box; -z +z and the side of a cylinder
SIDE = 6
TEXEL_M = 0.004
WALL_PIECES: tuple[tuple[Part, ...], ...] = (
    (("wood", 0, 0, (0.55, 0.16, 0.98), 0), ("books", 0, 0.32, (0.51, 0.005, 0.93), 0.05)),
    (("window", 0, 0, (0.6, 0.03, 0.5), 1.0), ("cloth", 0, 0, (0.45, 0.2, 0.22), 0)),
    (("wood", 0, 0, (0.6, 0.24, 0.42), 0), ("poster", 0.1, 0, (0.38, 0.015, 0.3), 1.2),
     ("ceramic", -0.35, 0.12, (0.09, 0.09, 0.15), 0.84), ("carton", 0.3, 0.1, (0.13, 0.1, 0.09), 0.84)),
    (("cloth", 0, 0.2, (0.75, 0.32, 0.21), 0), ("cloth", 0, 0, (0.75, 0.1, 0.42), 0),
     ("poster", 0, 0, (0.5, 0.015, 0.35), 1.25)),
    (("poster", 0, 0, (0.42, 0.015, 0.55), 0.95),),
    (("carton", -0.2, 0.05, (0.25, 0.2, 0.2), 0), ("carton", -0.22, 0.08, (0.19, 0.16, 0.15), 0.4),
     ("wood", 0.4, 0.03, (0.21, 0.21, 0.24), 0), ("poster", 0.2, 0, (0.35, 0.015, 0.35), 1.25)),
    (("wood", 0, 0, (0.7, 0.12, 0.44), 0), ("books", 0, 0.24, (0.66, 0.005, 0.38), 0.04),
     ("poster", -0.1, 0, (0.3, 0.015, 0.4), 1.15), ("ceramic", 0.4, 0.05, (0.07, 0.07, 0.2), 0.88)),
)  # fmt: skip
FLOOR_PIECES: tuple[tuple[Part, ...], ...] = (
    (("wood", 0, 0, (0.62, 0.36, 0.02), 0.70), ("wood", -0.5, 0, (0.025, 0.3, 0.35), 0),
     ("wood", 0.5, 0, (0.025, 0.3, 0.35), 0), ("ceramic", 0.25, 0.1, (0.07, 0.07, 0.11), 0.74),
     ("carton", -0.2, -0.05, (0.16, 0.11, 0.05), 0.74)),
    (("ceramic", 0, 0, (0.17, 0.17, 0.23), 0),),
    (("carton", 0, 0, (0.24, 0.19, 0.17), 0), ("carton", 0.03, 0.02, (0.15, 0.13, 0.1), 0.34)),
)  # fmt: skip


@dataclass(frozen=True)
class Solid:
    """A box rotated about z, or an upright cylinder of radius ``half[0]``."""

    kind: str
    center: Float64Array  # (3,)
    half: Float64Array  # (3,) half extents
    R_world_solid: Float64Array

    @property
    def flat(self) -> bool:
        """Return whether one image fills each face and the solid casts no shadow."""
        return self.kind in {"poster", "window", "books"}

    def distance_m(self, points: Float64Array) -> Float64Array:
        """Return the distance of points (N, 3) to the surface; 0 inside."""
        local = (points - self.center) @ self.R_world_solid
        if self.kind == "ceramic":
            local[:, 0], local[:, 1] = np.hypot(local[:, 0], local[:, 1]), 0.0
        distance: Float64Array = np.linalg.norm(np.maximum(np.abs(local) - self.half, 0.0), axis=1)
        return distance

    def intersect(self, origin: Float64Array, rays: Float64Array) -> tuple[Float64Array, IntArray]:
        """Return range (in multiples of the ray; inf: no intersection) and face where rays (3, N) enter."""
        start = (origin - self.center) @ self.R_world_solid
        local = rotate(self.R_world_solid.T, rays)
        near, far = _slabs(start, local, self.half)
        if self.kind == "ceramic":
            near[0], far[0] = _cylinder(start, local, self.half[0])
            near[1], far[1] = near[0], far[0]
        axis, entry = near.argmax(axis=0), near.max(axis=0)
        face = 2 * axis + (np.take_along_axis(local, axis[None], axis=0)[0] < 0.0)
        if self.kind == "ceramic":
            face[axis == 0] = SIDE
        return np.where((entry > 0.0) & (entry < far.min(axis=0)), entry, np.inf), face

    def sample_face(self, face: int, count: int) -> tuple[Float64Array, Float64Array]:
        """Return a grid of points (3, count^2) from edge to edge of a face, and their outward normals."""
        down, across = np.divide(np.mgrid[0:count, 0:count].reshape(2, -1), max(count - 1, 1))
        if face == SIDE:  # starts at world -x at any rotation of the cylinder
            angle = 2.0 * np.pi * (across - 0.5)
            normal = np.stack([np.cos(angle), np.sin(angle), 0.0 * angle])
            rise = np.outer((0.0, 0.0, self.half[2]), 1.0 - 2.0 * down)
            return normal * self.half[0] + rise + self.center[:, None], normal
        u, v = _face_axes(face)
        normal = np.outer(np.eye(3)[face // 2] * (2 * (face % 2) - 1), np.ones_like(down))
        local = normal * self.half[:, None]
        local[u], local[v] = self.half[u] * (2.0 * across - 1.0), self.half[v] * (1.0 - 2.0 * down)
        turn = self.R_world_solid
        return rotate(turn, local) + self.center[:, None], rotate(turn, normal)


def rotate(rotation: Float64Array, vectors: Float64Array) -> Float64Array:
    """Return vectors (3, N) rotated by a matrix (3, 3)."""
    # Without BLAS, whose rounding depends on the number of threads.
    return np.stack(
        [row[0] * vectors[0] + row[1] * vectors[1] + row[2] * vectors[2] for row in rotation]
    )


def rotation_about(axis: int, angle: float) -> Float64Array:
    """Return the rotation by ``angle`` rad about coordinate axis 0, 1 or 2."""
    c, s = np.cos(angle), np.sin(angle)
    order = np.roll((0, 1, 2), axis)
    rotation: Float64Array = np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])[np.ix_(order, order)]
    return rotation


def _face_axes(face: int) -> tuple[int, int]:
    return ((1, 2), (0, 2), (0, 1), (0, 2))[face // 2]


def _slabs(
    start: Float64Array, rays: Float64Array, half: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Return (3, N) entries into and exits from the slabs |x|, |y|, |z| < half."""
    inverse = 1.0 / np.where(np.abs(rays) < 1e-12, 1e-12, rays)
    middle, reach = -start[:, None] * inverse, half[:, None] * np.abs(inverse)
    return middle - reach, middle + reach


def _cylinder(
    start: Float64Array, rays: Float64Array, radius: float
) -> tuple[Float64Array, Float64Array]:
    """Return entries into and exits from an infinite upright cylinder around the origin."""
    a = np.maximum(rays[0] ** 2 + rays[1] ** 2, 1e-12)
    b = rays[0] * start[0] + rays[1] * start[1]
    discriminant = b * b - a * (start[0] ** 2 + start[1] ** 2 - radius**2)
    root = np.sqrt(np.maximum(discriminant, 0.0))
    return np.where(discriminant > 0.0, (-b - root) / a, np.inf), (-b + root) / a


def _solid(part: Part, R_world_piece: Float64Array, at: Triple) -> Solid:
    kind, x, y, half, bottom = part
    return Solid(kind, R_world_piece @ (x, y, bottom + half[2]) + at, np.array(half), R_world_piece)


class Scene:
    """The room (solid 0, seen from inside), its furniture, and the baked light."""

    def __init__(self, rng: np.random.Generator, path_m: Float64Array) -> None:
        half = np.array([rng.uniform(2.85, 3.15), rng.uniform(2.4, 2.6), 1.35])
        self.solids = [Solid("room", np.array([0.0, 0.0, half[2]]), half, np.eye(3))]
        self._furnish_walls(rng)
        self._furnish_floor(rng, path_m)
        self._textures = _make_textures(rng, self.solids)
        self._light = self._bake(rng)

    def cast(
        self, origin: Float64Array, rays: Float64Array, *, shadow: bool = False
    ) -> tuple[Float64Array, IntArray]:
        """Return range (in multiples of the ray) and surface of the first intersection of each ray (3, N)."""
        exits = _slabs(origin - self.solids[0].center, rays, self.solids[0].half)[1]
        axis, nearest = exits.argmin(axis=0), exits.min(axis=0)
        surface = 2 * axis + (np.take_along_axis(rays, axis[None], axis=0)[0] > 0.0)
        unit = rays / np.sqrt(rays[0] ** 2 + rays[1] ** 2 + rays[2] ** 2)
        for index, solid in enumerate(self.solids[1:], start=1):
            if shadow and solid.flat:
                continue
            near = _rays_near(solid, origin, unit)
            entry, face = solid.intersect(origin, rays[:, near])
            closer = entry < nearest[near]
            nearest[near[closer]] = entry[closer]
            surface[near[closer]] = index * FACES + face[closer]
        return nearest, surface

    def clearance_m(self, points: Float64Array) -> Float64Array:
        """Return the distance of points (N, 3) to the nearest surface; not positive inside a solid."""
        walls = (self.solids[0].half - np.abs(points - self.solids[0].center)).min(axis=1)
        distances = [walls] + [solid.distance_m(points) for solid in self.solids[1:]]
        nearest: Float64Array = np.min(distances, axis=0)
        return nearest

    def radiance(
        self, origin: Float64Array, rays: Float64Array, pixel_rad: float
    ) -> tuple[Float32Array, Float64Array, IntArray]:
        """Return light (3, N), range and surface of the first intersection of each ray (3, N)."""
        ranges, surface = self.cast(origin, rays)
        points = (origin[:, None] + ranges * rays).astype(np.float32)
        footprint_m = (ranges * pixel_rad).astype(np.float32)
        light = self._textures.radiance(
            self._light, surface, points, rays.astype(np.float32), footprint_m
        )
        return light, ranges, surface

    def _furnish_walls(self, rng: np.random.Generator) -> None:
        slots = [(wall, s) for wall in range(4) for s in ((-1.9, 0.0, 1.9), (-0.95, 0.95))[wall % 2]]
        for (wall, along), number in zip(slots, rng.permutation(len(slots)), strict=True):
            turn = rotation_about(2, wall * np.pi / 2.0)
            reach = self.solids[0].half[1 - wall % 2]
            for kind, x, gap, half, bottom in WALL_PIECES[number % len(WALL_PIECES)]:
                part = (kind, along + x, reach - gap - half[1], half, bottom)
                self.solids.append(_solid(part, turn, (0.0, 0.0, 0.0)))

    def _furnish_floor(self, rng: np.random.Generator, path_m: Float64Array) -> None:
        placed: list[Triple] = []
        for piece in FLOOR_PIECES:
            radius = max(np.hypot(abs(x) + half[0], abs(y) + half[1]) for _, x, y, half, _ in piece)
            for _ in range(200):
                x0, y0 = rng.uniform(-1.0, 1.0, size=2) * (2.2 - radius, 1.6 - radius)
                turn = rotation_about(2, rng.uniform(0.0, 2.0 * np.pi))
                parts = [_solid(part, turn, (x0, y0, 0.0)) for part in piece]
                apart = all(np.hypot(x0 - x, y0 - y) > radius + r for x, y, r in placed)
                if apart and min(part.distance_m(path_m).min() for part in parts) > MIN_CLEARANCE_M:
                    placed.append((x0, y0, radius))
                    self.solids += parts
                    break

    def _bake(self, rng: np.random.Generator) -> TextureAtlas:
        """Return the light on each surface: ambient light, and area lights with soft shadows."""
        patches = [
            solid.sample_face(face, 16 if index else 64)
            for index, solid in enumerate(self.solids)
            for face in range(FACES)
        ]
        points, normals = (np.concatenate(arrays, axis=1) for arrays in zip(*patches, strict=True))
        normals[:, : FACES * 64 * 64] *= -1.0
        light = np.full(points.shape, 0.2)
        for center, extent, color in self._lamps():
            for _ in range(10):
                lamp = center + rng.uniform(-1.0, 1.0, size=3) * extent
                light += 0.1 * np.outer(color, self._irradiance(lamp, points, normals))
        ends = np.cumsum([patch[0].shape[1] for patch in patches])[:-1]
        maps = np.split(light.T, ends)
        return TextureAtlas([part.reshape(int(len(part) ** 0.5), -1, 3) for part in maps])

    def _lamps(self) -> tuple[tuple[Float64Array, Triple, Triple], ...]:
        """Return center, half extents and color of a warm lamp, daylight and a bright ceiling."""
        half = self.solids[0].half
        return (
            (np.array([0.5, -0.4, 2.1]), (0.2, 0.2, 0.1), (2.2, 1.9, 1.5)),
            (half * (-0.75, 0.78, 1.3), (0.5, 0.1, 0.5), (1.1, 1.3, 1.6)),
            (half * (0.0, 0.0, 1.98), (0.9 * half[0], 0.9 * half[1], 0.0), (1.0, 1.0, 1.0)),
        )

    def _irradiance(
        self, lamp: Float64Array, points: Float64Array, normals: Float64Array
    ) -> Float64Array:
        rays = points - lamp[:, None]
        length = np.sqrt((rays**2).sum(axis=0))
        cosine = -(rays * normals).sum(axis=0) / length
        lit = np.flatnonzero(cosine > 0.0)
        clear = self.cast(lamp, rays[:, lit], shadow=True)[0] > 1.0 - 0.01 / length[lit]
        received: Float64Array = np.zeros_like(length)
        received[lit] = clear * cosine[lit] / (1.0 + length[lit] ** 2 / 4.0)
        return received


def _rays_near(solid: Solid, origin: Float64Array, unit: Float64Array) -> IntArray:
    """Return the indices of unit rays (3, N) that may intersect the bounding sphere of a solid."""
    offset = solid.center - origin
    square, radius = float(offset @ offset), float(np.linalg.norm(solid.half))
    if square <= radius**2:
        return np.arange(unit.shape[1])
    along = offset[0] * unit[0] + offset[1] * unit[1] + offset[2] * unit[2]
    return np.flatnonzero(along > np.sqrt(square - radius**2))


def _make_textures(rng: np.random.Generator, solids: list[Solid]) -> SurfaceTextures:
    """Return the image of every surface, and the mapping to it."""
    images: list[Float64Array] = []
    image, patches, texels = [], [], []
    for index, solid in enumerate(solids):
        if index:
            images.append(make_texture(solid.kind, rng, (256, 256)))
        else:
            images += _room_images(rng)
        for face in range(FACES):
            image.append(len(images) - 1 if index else min(face, 5))
            patches.append(_map_face(solid, face, inward=index == 0))
            texels.append(_count_texels(solid, face, images[image[-1]], fills=solid.flat or index == 0))
    counts = np.array(texels)
    *rows, sizes = (np.array(part) for part in zip(*patches, strict=True))
    to_face, normals, axes, across_down, texel_m = (
        np.ascontiguousarray(part.T, dtype=np.float32)
        for part in (*rows, counts, (sizes / counts).max(axis=1))
    )
    return SurfaceTextures(
        TextureAtlas(images), np.array(image), to_face, normals, axes, across_down, texel_m
    )


def _count_texels(solid: Solid, face: int, image: Float64Array, *, fills: bool) -> tuple[float, float]:
    """Return the number of texels across and down a face: the size of the image if it ``fills`` the face."""
    height, width = image.shape[:2]
    if fills:
        return width, height
    u, v = _face_axes(face)
    if face == SIDE:
        return width, solid.half[v] * width / (np.pi * solid.half[u])
    return 2.0 * solid.half[u] / TEXEL_M, 2.0 * solid.half[v] / TEXEL_M


def _room_images(rng: np.random.Generator) -> list[Float64Array]:
    walls = rng.permutation(len(MATERIALS["wall"]))[:4]
    images = [MATERIALS["wall"][number](rng, (512, 1024)) for number in walls]
    return images + [make_texture(kind, rng, (1024, 1024)) for kind in ("floor", "ceiling")]


def _map_face(
    solid: Solid, face: int, *, inward: bool
) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
    """Return affine map (8,) from the world to [0, 1], normal, cylinder axis and size [m] of a face."""
    u, v = _face_axes(face)
    size = 2.0 * solid.half[[u, v]]
    rows = (solid.R_world_solid[:, [u, v]] * (1.0, -1.0) / size).T
    to_face = np.column_stack([rows, 0.5 - rows @ solid.center]).ravel()
    if face == SIDE:
        axis = np.array([solid.center[0], solid.center[1], solid.half[0]])
        return to_face, np.zeros(3), axis, size * (np.pi, 1.0)
    normal = solid.R_world_solid[:, face // 2] * (2 * (face % 2) - 1) * (-1 if inward else 1)
    return to_face, normal, np.zeros(3), size
