# SPDX-License-Identifier: Apache-2.0
"""The embedded demo sequence: a furnished room, ray cast in NumPy along a handheld camera path.

The world is z-up with its origin in the middle of the floor. Light is baked once, with soft shadows; a
frame is one ray through each pixel centre, filtered textures, and four more rays in pixels on an edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.errors import ConfigError
from ttt3r_ros.io.textures import MATERIALS, Skin, TextureAtlas, make
from ttt3r_ros.types import Frame, Intrinsics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ttt3r_ros.io.textures import IntArray
    from ttt3r_ros.types import Float32Array, Float64Array, UInt8Array

Triple = tuple[float, float, float]
# One part: kind, place along the wall (or x), gap to the wall (or y), half extents, height of its foot.
Part = tuple[str, float, float, Triple, float]

LOOP_S = 12.0
START_NS = 1_000_000_000  # ROS reads a stamp of zero as "none"
MIN_CLEARANCE_M = 0.4
FACES = 7  # -x +x -y +y -z +z of a box; -z +z and the side of a cylinder
SIDE = 6
TEXEL_M = 0.004
EDGE_SAMPLES_PX = np.array(
    [[-0.125, 0.375, 0.125, -0.375], [-0.375, -0.125, 0.375, 0.125], [0, 0, 0, 0]]
)
BODY_FROM_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
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
class RenderedFrame:
    """One rendered view with its truth."""

    rgb: UInt8Array  # (H, W, 3)
    depth_m: Float32Array  # (H, W) along the optical z axis, at the pixel centre
    T_world_camera: Float64Array  # (4, 4)


@dataclass(frozen=True)
class Solid:
    """A box turned about z, or an upright cylinder of radius ``half[0]``; sizes are half extents."""

    kind: str
    centre: Float64Array
    half: Float64Array
    R_world_solid: Float64Array

    @property
    def flat(self) -> bool:
        """Tell whether it hangs on something: one image fills its face, and it throws no shadow."""
        return self.kind in {"poster", "window", "books"}

    def distance_m(self, points: Float64Array) -> Float64Array:
        """Return the distance of points (N, 3) from the surface; zero inside."""
        local = (points - self.centre) @ self.R_world_solid
        if self.kind == "ceramic":
            local[:, 0], local[:, 1] = np.hypot(local[:, 0], local[:, 1]), 0.0
        distance: Float64Array = np.linalg.norm(np.maximum(np.abs(local) - self.half, 0.0), axis=1)
        return distance

    def enter(self, origin: Float64Array, rays: Float64Array) -> tuple[Float64Array, IntArray]:
        """Return where rays (3, N) enter (in multiples of the ray; inf: nowhere) and by which face."""
        start = (origin - self.centre) @ self.R_world_solid
        turned = _turn(self.R_world_solid.T, rays)
        near, far = _slabs(start, turned, self.half)
        if self.kind == "ceramic":
            near[0], far[0] = _cylinder(start, turned, self.half[0])
            near[1], far[1] = near[0], far[0]
        axis, entry = near.argmax(axis=0), near.max(axis=0)
        face = 2 * axis + (np.take_along_axis(turned, axis[None], axis=0)[0] < 0.0)
        if self.kind == "ceramic":
            face[axis == 0] = SIDE
        return np.where((entry > 0.0) & (entry < far.min(axis=0)), entry, np.inf), face

    def lattice(self, face: int, count: int) -> tuple[Float64Array, Float64Array]:
        """Return points (3, count^2) spread from edge to edge of a face, and its outward normals."""
        down, across = np.divide(np.mgrid[0:count, 0:count].reshape(2, -1), max(count - 1, 1))
        if face == SIDE:  # laid out from world -x, however the cylinder is turned
            angle = 2.0 * np.pi * (across - 0.5)
            normal = np.stack([np.cos(angle), np.sin(angle), 0.0 * angle])
            rise = np.outer((0.0, 0.0, self.half[2]), 1.0 - 2.0 * down)
            return normal * self.half[0] + rise + self.centre[:, None], normal
        u, v = _face_axes(face)
        normal = np.outer(np.eye(3)[face // 2] * (2 * (face % 2) - 1), np.ones_like(down))
        local = normal * self.half[:, None]
        local[u], local[v] = self.half[u] * (2.0 * across - 1.0), self.half[v] * (1.0 - 2.0 * down)
        turn = self.R_world_solid
        return _turn(turn, local) + self.centre[:, None], _turn(turn, normal)


def _turn(rotation: Float64Array, rays: Float64Array) -> Float64Array:
    # Written out because a BLAS product may round differently with another thread count.
    return np.stack([row[0] * rays[0] + row[1] * rays[1] + row[2] * rays[2] for row in rotation])


def _about(axis: int, angle: float) -> Float64Array:
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
    """Return entries into and exits from an endless upright cylinder around the origin."""
    a = np.maximum(rays[0] ** 2 + rays[1] ** 2, 1e-12)
    b = rays[0] * start[0] + rays[1] * start[1]
    discriminant = b * b - a * (start[0] ** 2 + start[1] ** 2 - radius**2)
    root = np.sqrt(np.maximum(discriminant, 0.0))
    return np.where(discriminant > 0.0, (-b - root) / a, np.inf), (-b + root) / a


def _solid(part: Part, R_world_piece: Float64Array, at: Triple) -> Solid:
    kind, x, y, half, foot = part
    return Solid(kind, R_world_piece @ (x, y, foot + half[2]) + at, np.array(half), R_world_piece)


class Scene:
    """The room (solid 0, seen from inside), what stands in it, and its baked light."""

    def __init__(self, rng: np.random.Generator, path_m: Float64Array) -> None:
        half = np.array([rng.uniform(2.85, 3.15), rng.uniform(2.4, 2.6), 1.35])
        self.solids = [Solid("room", np.array([0.0, 0.0, half[2]]), half, np.eye(3))]
        self._furnish_walls(rng)
        self._furnish_floor(rng, path_m)
        self._skin = _paint(rng, self.solids)
        self._light = self._bake(rng)

    def cast(
        self, origin: Float64Array, rays: Float64Array, *, shadow: bool = False
    ) -> tuple[Float64Array, IntArray]:
        """Return range (in multiples of the ray) and surface of what each ray (3, N) meets first."""
        exits = _slabs(origin - self.solids[0].centre, rays, self.solids[0].half)[1]
        axis, nearest = exits.argmin(axis=0), exits.min(axis=0)
        surface = 2 * axis + (np.take_along_axis(rays, axis[None], axis=0)[0] > 0.0)
        unit = rays / np.sqrt(rays[0] ** 2 + rays[1] ** 2 + rays[2] ** 2)
        for index, solid in enumerate(self.solids[1:], start=1):
            if shadow and solid.flat:
                continue
            near = _towards(solid, origin, unit)
            entry, face = solid.enter(origin, rays[:, near])
            closer = entry < nearest[near]
            nearest[near[closer]] = entry[closer]
            surface[near[closer]] = index * FACES + face[closer]
        return nearest, surface

    def clearance_m(self, points: Float64Array) -> Float64Array:
        """Return the distance of points (N, 3) from the nearest surface; not positive inside a solid."""
        walls = (self.solids[0].half - np.abs(points - self.solids[0].centre)).min(axis=1)
        distances = [walls] + [solid.distance_m(points) for solid in self.solids[1:]]
        nearest: Float64Array = np.min(distances, axis=0)
        return nearest

    def radiance(
        self, origin: Float64Array, rays: Float64Array, pixel_rad: float
    ) -> tuple[Float32Array, Float64Array, IntArray]:
        """Return the light (3, N) that comes along rays, and the range and surface it comes from."""
        ranges, surface = self.cast(origin, rays)
        points = (origin[:, None] + ranges * rays).astype(np.float32)
        footprint_m = (ranges * pixel_rad).astype(np.float32)
        light = self._skin.radiance(self._light, surface, points, rays.astype(np.float32), footprint_m)
        return light, ranges, surface

    def _furnish_walls(self, rng: np.random.Generator) -> None:
        slots = [(wall, s) for wall in range(4) for s in ((-1.9, 0.0, 1.9), (-0.95, 0.95))[wall % 2]]
        for (wall, along), number in zip(slots, rng.permutation(len(slots)), strict=True):
            turn = _about(2, wall * np.pi / 2.0)
            reach = self.solids[0].half[1 - wall % 2]
            for kind, x, gap, half, foot in WALL_PIECES[number % len(WALL_PIECES)]:
                part = (kind, along + x, reach - gap - half[1], half, foot)
                self.solids.append(_solid(part, turn, (0.0, 0.0, 0.0)))

    def _furnish_floor(self, rng: np.random.Generator, path_m: Float64Array) -> None:
        taken: list[Triple] = []
        for piece in FLOOR_PIECES:
            radius = max(np.hypot(abs(x) + half[0], abs(y) + half[1]) for _, x, y, half, _ in piece)
            for _ in range(200):
                x0, y0 = rng.uniform(-1.0, 1.0, size=2) * (2.2 - radius, 1.6 - radius)
                turn = _about(2, rng.uniform(0.0, 2.0 * np.pi))
                parts = [_solid(part, turn, (x0, y0, 0.0)) for part in piece]
                apart = all(np.hypot(x0 - x, y0 - y) > radius + r for x, y, r in taken)
                if apart and min(part.distance_m(path_m).min() for part in parts) > MIN_CLEARANCE_M:
                    taken.append((x0, y0, radius))
                    self.solids += parts
                    break

    def _bake(self, rng: np.random.Generator) -> TextureAtlas:
        """Return the light on each surface: an even term and area lights with soft shadows."""
        patches = [
            solid.lattice(face, 16 if index else 64)
            for index, solid in enumerate(self.solids)
            for face in range(FACES)
        ]
        points, normals = (np.concatenate(arrays, axis=1) for arrays in zip(*patches, strict=True))
        normals[:, : FACES * 64 * 64] *= -1.0
        light = np.full(points.shape, 0.2)
        for centre, extent, colour in self._lamps():
            for _ in range(10):
                lamp = centre + rng.uniform(-1.0, 1.0, size=3) * extent
                light += 0.1 * np.outer(colour, self._irradiance(lamp, points, normals))
        ends = np.cumsum([patch[0].shape[1] for patch in patches])[:-1]
        maps = np.split(light.T, ends)
        return TextureAtlas([part.reshape(int(len(part) ** 0.5), -1, 3) for part in maps])

    def _lamps(self) -> tuple[tuple[Float64Array, Triple, Triple], ...]:
        """Return centre, half extents and colour of a warm lamp, daylight and a bright ceiling."""
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


def _towards(solid: Solid, origin: Float64Array, unit: Float64Array) -> IntArray:
    """Return which unit rays (3, N) can meet the solid's bounding sphere."""
    offset = solid.centre - origin
    square, radius = float(offset @ offset), float(np.linalg.norm(solid.half))
    if square <= radius**2:
        return np.arange(unit.shape[1])
    along = offset[0] * unit[0] + offset[1] * unit[1] + offset[2] * unit[2]
    return np.flatnonzero(along > np.sqrt(square - radius**2))


def _paint(rng: np.random.Generator, solids: list[Solid]) -> Skin:
    """Give every surface its image, and its place in that image."""
    images: list[Float64Array] = []
    image, patches, texels = [], [], []
    for index, solid in enumerate(solids):
        if index:
            images.append(make(solid.kind, rng, (256, 256)))
        else:
            images += _room_images(rng)
        for face in range(FACES):
            image.append(len(images) - 1 if index else min(face, 5))
            patches.append(_patch(solid, face, inward=index == 0))
            texels.append(_texels(solid, face, images[image[-1]], fills=solid.flat or index == 0))
    counts = np.array(texels)
    *rows, sizes = (np.array(part) for part in zip(*patches, strict=True))
    to_face, normals, axes, across_down, texel_m = (
        np.ascontiguousarray(part.T, dtype=np.float32)
        for part in (*rows, counts, (sizes / counts).max(axis=1))
    )
    return Skin(TextureAtlas(images), np.array(image), to_face, normals, axes, across_down, texel_m)


def _texels(solid: Solid, face: int, image: Float64Array, *, fills: bool) -> tuple[float, float]:
    """Return how many texels lie across and down a face: the whole image if it ``fills`` the face."""
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
    return images + [make(kind, rng, (1024, 1024)) for kind in ("floor", "ceiling")]


def _patch(
    solid: Solid, face: int, *, inward: bool
) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
    """Return a face's map from the world to [0, 1] (8,), normal, cylinder axis and size in metres."""
    u, v = _face_axes(face)
    size = 2.0 * solid.half[[u, v]]
    rows = (solid.R_world_solid[:, [u, v]] * (1.0, -1.0) / size).T
    to_face = np.column_stack([rows, 0.5 - rows @ solid.centre]).ravel()
    if face == SIDE:
        axis = np.array([solid.centre[0], solid.centre[1], solid.half[0]])
        return to_face, np.zeros(3), axis, size * (np.pi, 1.0)
    normal = solid.R_world_solid[:, face // 2] * (2 * (face % 2) - 1) * (-1 if inward else 1)
    return to_face, normal, np.zeros(3), size


class HandheldPath:
    """A loop around which the camera sways to both sides, with the tremor of hands."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._cycles = np.arange(5, 17)
        scale = np.array([0.010, 0.010, 0.010, 0.7, 0.7, 0.9])[:, None]  # metres, degrees
        self._amplitude = scale * 3.0 / self._cycles
        self._phase = rng.uniform(0.0, 2.0 * np.pi, size=(6, self._cycles.size))
        self._start, self._nod = rng.uniform(0.0, 2.0 * np.pi, size=2)

    def pose(self, time_s: float) -> Float64Array:
        """Return T_world_camera (4, 4) of the optical camera."""
        turn = 2.0 * np.pi * time_s / LOOP_S
        loop = turn + self._start
        x, y, z, *sway_deg = (self._amplitude * np.sin(self._cycles * turn + self._phase)).sum(axis=1)
        look_deg = (
            54.0 * np.sin(loop + 0.6),
            14.0 + 6.0 * np.sin(2.0 * turn + self._nod),
            2.5 * np.sin(loop),
        )
        yaw, pitch, roll = np.radians(np.add(sway_deg, look_deg))
        T_world_camera = np.eye(4)
        T_world_camera[:3, :3] = _about(2, yaw) @ _about(1, pitch) @ _about(0, roll) @ BODY_FROM_OPTICAL
        T_world_camera[:2, 3] = x + 0.72 * np.cos(loop) - 0.6, y + 0.5 * np.sin(loop)
        T_world_camera[2, 3] = z + 1.4 + 0.08 * np.sin(loop)
        return T_world_camera


class ProceduralRoom:
    """A sequence of images with exact depth and poses that needs no file and never differs between runs.

    One walk around the loop takes 12 s whatever ``frames`` and ``rate_hz`` are; then it repeats.
    Raises `ConfigError` for a size, rate, seed or field of view that no camera has.
    """

    def __init__(  # noqa: PLR0917 - six plain numbers, each with a default
        self,
        seed: int = 0,
        frames: int = 120,
        width: int = 320,
        height: int = 240,
        rate_hz: float = 10.0,
        horizontal_fov_deg: float = 65.0,
    ) -> None:
        _require("seed", seed, 0, 2**63)
        _require("frames", frames, 1, 2**31)
        for name, size_px in (("width", width), ("height", height)):
            _require(name, size_px, 2, 8192)
        _require("rate_hz", rate_hz, 1e-3, 1e6)
        _require("horizontal_fov_deg", horizontal_fov_deg, 1.0, 150.0)
        self._seed, self._frames, self._rate_hz = seed, frames, rate_hz
        focal_px = width / 2.0 / float(np.tan(np.radians(horizontal_fov_deg) / 2.0))
        self.intrinsics = Intrinsics(
            focal_px, focal_px, (width - 1) / 2.0, (height - 1) / 2.0, width, height
        )
        self._path = HandheldPath(np.random.default_rng([seed, 0]))

    def __len__(self) -> int:
        return self._frames

    def stamp_ns(self, i: int) -> int:
        """Return the stamp of frame ``i``; frame 0 is at one second."""
        if not 0 <= i < self._frames:
            msg = f"frame {i} does not exist: expected 0 to {self._frames - 1}"
            raise IndexError(msg)
        return START_NS + round(i * 1e9 / self._rate_hz)

    def T_world_camera(self, i: int) -> Float64Array:
        """Return the pose (4, 4) of the optical camera of frame ``i`` in the z-up world."""
        return self._path.pose((self.stamp_ns(i) - START_NS) / 1e9)

    def ground_truth(self) -> list[tuple[int, Float64Array]]:
        """Return stamp and T_world_camera of every frame."""
        return [(self.stamp_ns(i), self.T_world_camera(i)) for i in range(len(self))]

    def frames(self) -> Iterator[Frame]:
        """Yield every frame as a camera would deliver it."""
        for i in range(len(self)):
            yield Frame(self.stamp_ns(i), "camera_optical_frame", self.render(i).rgb, self.intrinsics)

    def clearance_m(self, i: int) -> float:
        """Return the distance of the camera of frame ``i`` from the nearest surface."""
        return float(self._scene.clearance_m(self.T_world_camera(i)[None, :3, 3])[0])

    def render(self, i: int) -> RenderedFrame:
        """Return frame ``i``; nothing is kept between calls but the scene."""
        T_world_camera = self.T_world_camera(i)
        light, depth_m = self._expose(T_world_camera)
        rng = np.random.default_rng([self._seed, 2, i])
        noise = rng.standard_normal(light.shape, dtype=np.float32) * np.float32(1.8)
        levels = (1.0 - np.exp(-self._exposure * self._vignette * light)) ** np.float32(
            1 / 2.2
        ) * 255 + noise
        size = (self.intrinsics.height, self.intrinsics.width)
        rgb = np.clip(np.rint(levels), 0, 255).astype(np.uint8).T.reshape(*size, 3)
        return RenderedFrame(rgb, depth_m.astype(np.float32).reshape(size), T_world_camera)

    def _expose(self, T_world_camera: Float64Array) -> tuple[Float32Array, Float64Array]:
        """Return linear light (3, H*W), smoothed where surfaces meet, and depth (H*W,)."""
        pixel_rad = 1.0 / self.intrinsics.fx
        rotation, origin = T_world_camera[:3, :3], T_world_camera[:3, 3]
        light, depth_m, surface = self._scene.radiance(origin, _turn(rotation, self._rays), pixel_rad)
        edge = _edge_pixels(surface.reshape(self.intrinsics.height, -1))
        around = (self._rays[:, edge, None] + EDGE_SAMPLES_PX[:, None] * pixel_rad).reshape(3, -1)
        samples = self._scene.radiance(origin, _turn(rotation, around), pixel_rad)[0]
        light[:, edge] = samples.reshape(3, edge.size, -1).mean(axis=2)
        return light, depth_m

    @cached_property
    def _scene(self) -> Scene:
        times_s = np.linspace(0.0, LOOP_S, 240)
        path_m = np.stack([self._path.pose(time_s)[:3, 3] for time_s in times_s])
        return Scene(np.random.default_rng([self._seed, 1]), path_m)

    @cached_property
    def _rays(self) -> Float64Array:
        """Rays (3, H*W) through the pixel centres, of unit depth, in the optical frame."""
        camera = self.intrinsics
        v, u = np.mgrid[0 : camera.height, 0 : camera.width].reshape(2, -1)
        return np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.size)])

    @cached_property
    def _vignette(self) -> Float32Array:
        off_axis = self._rays[0] ** 2 + self._rays[1] ** 2
        falloff: Float32Array = (1.0 / (1.0 + 0.35 * off_axis)).astype(np.float32)
        return falloff

    @cached_property
    def _exposure(self) -> np.float32:
        """The gain of a camera that metered the whole loop once and was then locked."""
        rays = self._rays[:, :: max(1, self._rays.shape[1] // 1500)]
        poses = [self._path.pose(time_s) for time_s in np.arange(6) * LOOP_S / 6.0]
        seen = [self._scene.radiance(T[:3, 3], _turn(T[:3, :3], rays), 0.02)[0] for T in poses]
        return np.float32(0.3 / np.mean(seen))


def _edge_pixels(surface: IntArray) -> IntArray:
    """Return the flat indices of pixels (H, W) that see another surface than a neighbour does."""
    edge = np.zeros(surface.shape, dtype=np.bool_)
    beside, below = surface[:, 1:] != surface[:, :-1], surface[1:] != surface[:-1]
    edge[:, 1:] |= beside
    edge[:, :-1] |= beside
    edge[1:] |= below
    edge[:-1] |= below
    return np.flatnonzero(edge)


def _require(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        msg = f"{name} is {value!r}: expected {least} to {most}"
        raise ConfigError(msg)
