# SPDX-License-Identifier: Apache-2.0
"""Images on surfaces with mip mapping.

An image is an (H, W, 3) array of linear light; H and W are powers of two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ttt3r_ros.types import Float32Array, Float64Array

IntArray = NDArray[np.intp]


class TextureAtlas:
    """All images and their mip levels in one (3, texels) array; images repeat."""

    def __init__(self, images: Sequence[Float64Array]) -> None:
        chunks: list[Float64Array] = []
        depth = max(min(image.shape[:2]).bit_length() for image in images)
        self._start = np.zeros((len(images), depth), dtype=np.intp)
        self._last_level = np.array(
            [min(image.shape[:2]).bit_length() - 1 for image in images], dtype=np.intp
        )
        self._log_height = np.array([image.shape[0].bit_length() - 1 for image in images], dtype=np.intp)
        self._log_width = np.array([image.shape[1].bit_length() - 1 for image in images], dtype=np.intp)
        end = 0
        for index, image in enumerate(images):
            for level, pixels in enumerate(_mip_levels(image)):
                self._start[index, level] = end
                end += pixels.shape[0] * pixels.shape[1]
                chunks.append(pixels.reshape(-1, 3))
        self._texels = np.ascontiguousarray(np.concatenate(chunks).T, dtype=np.float32)

    def sample(
        self, image: IntArray, u: Float32Array, v: Float32Array, lod: Float32Array
    ) -> Float32Array:
        """Return (3, N) colors, trilinear; ``u``, ``v``: texels of level 0 with integer centers."""
        clipped = np.clip(lod, 0.0, self._last_level[image].astype(np.float32))
        level = clipped.astype(np.intp)
        fraction = clipped - level
        fine = self._bilinear(image, u, v, level)
        coarse = self._bilinear(image, u, v, np.minimum(level + 1, self._last_level[image]))
        fine += (coarse - fine) * fraction
        return fine

    def sample_face(self, image: IntArray, across: Float32Array, down: Float32Array) -> Float32Array:
        """Return (3, N) colors of images whose outermost texel centers are at 0 and 1."""
        right = (np.left_shift(1, self._log_width[image]) - 1).astype(np.float32)
        bottom = (np.left_shift(1, self._log_height[image]) - 1).astype(np.float32)
        x, y = np.clip(across, 0.0, 1.0) * right, np.clip(down, 0.0, 1.0) * bottom
        return self._bilinear(image, x, y, np.zeros_like(image))

    def _bilinear(
        self, image: IntArray, u: Float32Array, v: Float32Array, level: IntArray
    ) -> Float32Array:
        shrink = np.exp2(-level.astype(np.float32))
        x = (u + np.float32(0.5)) * shrink - np.float32(0.5)
        y = (v + np.float32(0.5)) * shrink - np.float32(0.5)
        log_width = self._log_width[image] - level
        mask_x, mask_y = (1 << log_width) - 1, (1 << (self._log_height[image] - level)) - 1
        x0, y0 = np.floor(x), np.floor(y)
        fx, fy = x - x0, y - y0
        left, top = x0.astype(np.intp), y0.astype(np.intp)
        start = self._start[image, level]
        upper, lower = start + ((top & mask_y) << log_width), start + (((top + 1) & mask_y) << log_width)
        left, right = left & mask_x, (left + 1) & mask_x
        above = self._lerp(upper + left, upper + right, fx)
        above += (self._lerp(lower + left, lower + right, fx) - above) * fy
        return above

    def _lerp(self, first: IntArray, second: IntArray, weight: Float32Array) -> Float32Array:
        near = self._texels.take(first, axis=1)
        near += (self._texels.take(second, axis=1) - near) * weight
        return near


def _mip_levels(image: Float64Array) -> list[Float64Array]:
    levels = [np.clip(image, 0.01, 1.6)]
    while min(levels[-1].shape[:2]) > 1:
        p = levels[-1]
        levels.append((p[::2, ::2] + p[1::2, ::2] + p[::2, 1::2] + p[1::2, 1::2]) / 4.0)
    return levels


@dataclass(frozen=True)
class SurfaceTextures:
    """Images on S surfaces: rectangles and sides of upright cylinders."""

    images: TextureAtlas
    image: IntArray  # (S,)
    to_face: Float32Array  # (8, S) two affine rows: world point to [0, 1] across and down
    normals: Float32Array  # (3, S)
    axes: Float32Array  # (3, S) x, y and radius of the cylinder; radius 0 for a rectangle
    texels: Float32Array  # (2, S) across and down
    texel_m: Float32Array  # (S,) the longer side

    def radiance(
        self,
        light: TextureAtlas,
        surface: IntArray,
        points: Float32Array,
        rays: Float32Array,
        footprint_m: Float32Array,
    ) -> Float32Array:
        """Return (3, N) albedo times light at the ends of ``rays`` (3, N), filtered over a pixel."""
        to_face, normals = self.to_face[:, surface], self.normals[:, surface]
        self._wrap(surface, points, to_face, normals)
        face = [_dot(row[:3], points) + row[3] for row in (to_face[:4], to_face[4:])]
        along = [_dot(row[:3], rays) for row in (to_face[:4], to_face[4:])]
        shift, lod = self._probes(surface, normals, rays, footprint_m)
        u, v = (f * n - np.float32(0.5) for f, n in zip(face, self.texels[:, surface], strict=True))
        du, dv = (a * n * shift for a, n in zip(along, self.texels[:, surface], strict=True))
        image = self.image[surface]
        albedo = self.images.sample(image, u + du, v + dv, lod)
        albedo += self.images.sample(image, u - du, v - dv, lod)
        return np.float32(0.5) * albedo * light.sample_face(surface, face[0], face[1])

    def _probes(
        self, surface: IntArray, normals: Float32Array, rays: Float32Array, footprint_m: Float32Array
    ) -> tuple[Float32Array, Float32Array]:
        """Return the offset of two samples along the projected ray, and their level of detail.

        One sample would either blur slanted surfaces or alias.
        """
        square, slant = _dot(rays, rays), np.abs(_dot(normals, rays))
        major_m = footprint_m * np.minimum(
            np.sqrt(square) / np.maximum(slant, np.float32(1e-6)), np.float32(16.0)
        )
        trace = np.sqrt(np.maximum(square - slant * slant, np.float32(1e-12)))
        shift: Float32Array = np.sqrt(np.maximum(major_m**2 - footprint_m**2, np.float32(0.0))) / (
            4 * trace
        )
        lod: Float32Array = np.log2(np.maximum(footprint_m, major_m / 2) / self.texel_m[surface])
        return shift, lod

    def _wrap(
        self, surface: IntArray, points: Float32Array, to_face: Float32Array, normals: Float32Array
    ) -> None:
        """Set map and normal of points on the side of a cylinder, in place."""
        axes = self.axes[:, surface]
        side = np.flatnonzero(axes[2])
        x, y, radius = axes[:, side]
        nx, ny = (points[0, side] - x) / radius, (points[1, side] - y) / radius
        turn = 2 * np.float32(np.pi) * radius
        to_face[0, side], to_face[1, side] = -ny / turn, nx / turn
        to_face[3, side] = np.arctan2(ny, nx) / np.float32(2 * np.pi) + np.float32(0.5)
        to_face[3, side] -= to_face[0, side] * points[0, side] + to_face[1, side] * points[1, side]
        normals[0, side], normals[1, side] = nx, ny


def _dot(first: Float32Array, second: Float32Array) -> Float32Array:
    product: Float32Array = first[0] * second[0] + first[1] * second[1] + first[2] * second[2]
    return product
