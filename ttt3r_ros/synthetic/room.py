# SPDX-License-Identifier: Apache-2.0
"""The demo sequence: a furnished room, ray cast in NumPy along a handheld camera path.

Each pixel has a ray through its center, with filtered textures; pixels on an edge have four more rays.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.errors import ConfigError
from ttt3r_ros.geometry import T_BODY_OPTICAL, unproject
from ttt3r_ros.synthetic.scene import Scene, rotate, rotation_about
from ttt3r_ros.types import Frame, Intrinsics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ttt3r_ros.synthetic.texture_atlas import IntArray
    from ttt3r_ros.types import Float32Array, Float64Array, UInt8Array

LOOP_S = 12.0
START_NS = 1_000_000_000  # a stamp of zero means "latest" in TF
EDGE_SAMPLES_PX = np.array(
    [[-0.125, 0.375, 0.125, -0.375], [-0.375, -0.125, 0.375, 0.125], [0, 0, 0, 0]]
)


@dataclass(frozen=True)
class RenderedFrame:
    """A rendered image with its depth and pose."""

    rgb: UInt8Array  # (H, W, 3)
    depth_m: Float32Array  # (H, W) along the optical z axis, at the pixel center
    T_world_camera: Float64Array  # (4, 4)


class HandheldPath:
    """A closed camera path that turns to both sides, with hand tremor."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._cycles = np.arange(5, 17)
        scale = np.array([0.010, 0.010, 0.010, 0.7, 0.7, 0.9])[:, None]  # meters, degrees
        self._amplitude = scale * 3.0 / self._cycles
        self._phase = rng.uniform(0.0, 2.0 * np.pi, size=(6, self._cycles.size))
        self._start, self._nod = rng.uniform(0.0, 2.0 * np.pi, size=2)

    def pose(self, time_s: float) -> Float64Array:
        """Return T_world_camera (4, 4) of the optical camera."""
        turn = 2.0 * np.pi * time_s / LOOP_S
        loop = turn + self._start
        x, y, z, *sway_deg = (self._amplitude * np.sin(self._cycles * turn + self._phase)).sum(axis=1)
        gaze_deg = (
            54.0 * np.sin(loop + 0.6),
            14.0 + 6.0 * np.sin(2.0 * turn + self._nod),
            2.5 * np.sin(loop),
        )
        yaw, pitch, roll = np.radians(np.add(sway_deg, gaze_deg))
        T_world_camera = np.eye(4)
        T_world_camera[:3, :3] = (
            rotation_about(2, yaw)
            @ rotation_about(1, pitch)
            @ rotation_about(0, roll)
            @ T_BODY_OPTICAL[:3, :3]
        )
        T_world_camera[:2, 3] = x + 0.72 * np.cos(loop) - 0.6, y + 0.5 * np.sin(loop)
        T_world_camera[2, 3] = z + 1.4 + 0.08 * np.sin(loop)
        return T_world_camera


class ProceduralRoom:
    """A deterministic sequence of images with exact depth and poses.

    One loop takes `LOOP_S` at any ``frames`` and ``rate_hz``; then the path repeats. Raises `ConfigError` for a size,
    rate, seed or field of view out of range.
    """

    def __init__(
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
        self.name = f"room:{seed}:{frames}"
        self.skipped = 0
        self._seed, self._frames, self._rate_hz = seed, frames, rate_hz
        focal_px = width / 2.0 / float(np.tan(np.radians(horizontal_fov_deg) / 2.0))
        self.intrinsics = Intrinsics(
            focal_px, focal_px, (width - 1) / 2.0, (height - 1) / 2.0, width, height
        )
        self._path = _make_path(seed)

    def __len__(self) -> int:
        return self._frames

    def stamp_ns(self, i: int) -> int:
        """Return the stamp of frame ``i``; frame 0 has one second."""
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
        """Render the frames in order."""
        for i in range(len(self)):
            yield Frame(self.stamp_ns(i), "camera_optical_frame", self.render(i).rgb, self.intrinsics)

    def true_depth_m(self, stamp_ns: int) -> Float32Array | None:
        """Return the exact depth (H, W) of every fourth frame, by stamp; None: other frames, to save rendering time."""
        index = round((stamp_ns - START_NS) * self._rate_hz / 1e9)
        return self.render(index).depth_m if 0 <= index < self._frames and index % 4 == 0 else None

    def clearance_m(self, i: int) -> float:
        """Return the distance of the camera of frame ``i`` to the nearest surface [m]."""
        return float(self._scene.clearance_m(self.T_world_camera(i)[None, :3, 3])[0])

    def render(self, i: int) -> RenderedFrame:
        """Render frame ``i``; only the scene is cached."""
        T_world_camera = self.T_world_camera(i)
        light, depth_m = self._cast(T_world_camera)
        rng = np.random.default_rng([self._seed, 2, i])
        noise = rng.standard_normal(light.shape, dtype=np.float32) * np.float32(1.8)
        levels = (1.0 - np.exp(-self._exposure * self._vignette * light)) ** np.float32(
            1 / 2.2
        ) * 255 + noise
        size = (self.intrinsics.height, self.intrinsics.width)
        rgb = np.clip(np.rint(levels), 0, 255).astype(np.uint8).T.reshape(*size, 3)
        return RenderedFrame(rgb, depth_m.astype(np.float32).reshape(size), T_world_camera)

    def _cast(self, T_world_camera: Float64Array) -> tuple[Float32Array, Float64Array]:
        """Return linear light (3, H*W), antialiased at edges, and depth (H*W,)."""
        pixel_rad = 1.0 / self.intrinsics.fx
        rotation, origin = T_world_camera[:3, :3], T_world_camera[:3, 3]
        light, depth_m, surface = self._scene.radiance(origin, rotate(rotation, self._rays), pixel_rad)
        edge = _edge_pixels(surface.reshape(self.intrinsics.height, -1))
        around = (self._rays[:, edge, None] + EDGE_SAMPLES_PX[:, None] * pixel_rad).reshape(3, -1)
        samples = self._scene.radiance(origin, rotate(rotation, around), pixel_rad)[0]
        light[:, edge] = samples.reshape(3, edge.size, -1).mean(axis=2)
        return light, depth_m

    @cached_property
    def _scene(self) -> Scene:
        return make_scene(self._seed)

    @cached_property
    def _rays(self) -> Float64Array:
        """Return rays (3, H*W) of unit depth through the pixel centers, in the optical frame."""
        depth = np.ones((self.intrinsics.height, self.intrinsics.width))
        return np.ascontiguousarray(unproject(depth, self.intrinsics).reshape(-1, 3).T)

    @cached_property
    def _vignette(self) -> Float32Array:
        off_axis = self._rays[0] ** 2 + self._rays[1] ** 2
        falloff: Float32Array = (1.0 / (1.0 + 0.35 * off_axis)).astype(np.float32)
        return falloff

    @cached_property
    def _exposure(self) -> np.float32:
        """Return the constant exposure gain, metered over the loop."""
        rays = self._rays[:, :: max(1, self._rays.shape[1] // 1500)]
        poses = [self._path.pose(time_s) for time_s in np.arange(6) * LOOP_S / 6.0]
        light = [self._scene.radiance(T[:3, 3], rotate(T[:3, :3], rays), 0.02)[0] for T in poses]
        return np.float32(0.3 / np.mean(light))


@lru_cache(maxsize=2)  # takes more than a second
def make_scene(seed: int) -> Scene:
    """Return the furnished room of a seed, the same for every image size and number of frames."""
    path = _make_path(seed)
    path_m = np.stack([path.pose(time_s)[:3, 3] for time_s in np.linspace(0.0, LOOP_S, 240)])
    return Scene(np.random.default_rng([seed, 1]), path_m)


def _make_path(seed: int) -> HandheldPath:
    return HandheldPath(np.random.default_rng([seed, 0]))


def _edge_pixels(surface: IntArray) -> IntArray:
    """Return the flat indices of pixels with a neighbor on another surface, from surfaces (H, W)."""
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
