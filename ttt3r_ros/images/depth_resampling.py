# SPDX-License-Identifier: Apache-2.0
"""Resampling of depth between the pixels of the network's image and those of the source image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.types import BoolArray, Float32Array, Float64Array, ImageGeometry

_MAX_SURFACE_RATIO = 1.1  # of the farthest to the nearest of four neighbors


def resize_to_source(depth: Float32Array, geometry: ImageGeometry) -> Float32Array:
    """Return the network's depth (h, w) at the size (H, W) of the source image; NaN: invalid, or outside the crop.

    Bilinear on surfaces, nearest neighbor at their edges, where a mean would lie on neither surface.
    """
    depth = np.asarray(depth, dtype=np.float32)
    sx, sy = geometry.scale
    x = (np.arange(geometry.source_width, dtype=np.float64) + 0.5) * sx - 0.5 - geometry.left
    y = (np.arange(geometry.source_height, dtype=np.float64) + 0.5) * sy - 0.5 - geometry.top
    columns, rows = _inside(x, geometry.width), _inside(y, geometry.height)
    resized: Float32Array = np.full(
        (geometry.source_height, geometry.source_width), np.nan, dtype=np.float32
    )
    resized[rows, columns] = _interpolate(depth, x[columns], y[rows])
    return resized


def interpolate_at_source(
    depth: Float32Array,
    geometry: ImageGeometry,
    shape: tuple[int, ...],
    interpolation: int = cv2.INTER_LINEAR,
) -> Float32Array:
    """Return the network's depth (h, w) at the pixels of a depth image of the source camera, NaN outside the crop.

    ``shape`` is (H, W) of that image, of any size; ``interpolation`` a constant of OpenCV, applied across edges.
    """
    height, width = shape
    x = _network_coordinate(width, geometry.resized_width, geometry.left)
    y = _network_coordinate(height, geometry.resized_height, geometry.top)
    grid_x, grid_y = np.meshgrid(x, y)
    inside = (grid_x >= -0.5) & (grid_x <= geometry.width - 0.5)
    inside &= (grid_y >= -0.5) & (grid_y <= geometry.height - 0.5)
    sampled = cv2.remap(depth, grid_x, grid_y, interpolation, borderMode=cv2.BORDER_REPLICATE)
    return np.where(inside, sampled, np.float32(np.nan)).astype(np.float32)


def sample_at_network(depth: Float32Array, geometry: ImageGeometry) -> Float32Array:
    """Return depth (H, W) of the source camera, of any size, at the pixels (h, w) of the network's image.

    A network pixel has the depth of the source pixel that contains its center.
    """
    rows = (np.arange(geometry.height) + geometry.top + 0.5) / geometry.resized_height * depth.shape[0]
    columns = (np.arange(geometry.width) + geometry.left + 0.5) / geometry.resized_width * depth.shape[1]
    sampled: Float32Array = depth[rows.astype(int)[:, None], columns.astype(int)]
    return sampled


def sample_nearest_at_network(depth: Float32Array, geometry: ImageGeometry) -> Float32Array:
    """Return what `sample_at_network` returns, but of a center between two pixels the one of even index.

    Published figures of reconstructions depend on that choice.
    """
    height, width = depth.shape
    columns = _nearest_index(geometry.width, geometry.left, width / geometry.resized_width, width)
    rows = _nearest_index(geometry.height, geometry.top, height / geometry.resized_height, height)
    sampled: Float32Array = depth[np.ix_(rows, columns)]
    return sampled


def _network_coordinate(count: int, resized: int, crop: int) -> Float32Array:
    return ((np.arange(count) + 0.5) * (resized / count) - 0.5 - crop).astype(np.float32)


def _nearest_index(count: int, crop: int, step: float, size: int) -> NDArray[np.int64]:
    index = np.rint((np.arange(count) + crop + 0.5) * step - 0.5).astype(int)
    return np.asarray(np.clip(index, 0, size - 1))


def _inside(positions: Float64Array, size: int) -> slice:
    begin, end = np.searchsorted(positions, (-0.5, size - 0.5))
    return slice(int(begin), int(end))


def _interpolate(depth: Float32Array, x: Float64Array, y: Float64Array) -> Float32Array:
    """Return depth (h, w) at columns x (W,) and rows y (H,)."""
    height, width = depth.shape
    left, right, fx = _neighbors(x, width)
    above, below, fy = _neighbors(y, height)
    with np.errstate(invalid="ignore"):  # infinities among the invalid
        blended = np.take(depth, left, axis=1)
        blended += fx * (np.take(depth, right, axis=1) - blended)
        sampled = np.take(blended, above, axis=0)
        step = np.take(blended[np.minimum(np.arange(height) + 1, height - 1)] - blended, above, axis=0)
        step *= fy[:, None]
        sampled += step
    nearest = np.take(depth, np.where(fx < 0.5, left, right), axis=1)
    edges = np.take(~_is_one_surface(depth), left, axis=1)
    np.copyto(
        sampled,
        np.take(nearest, np.where(fy < 0.5, above, below), axis=0),
        where=np.take(edges, above, axis=0),
    )
    return sampled


def _neighbors(
    positions: Float64Array, size: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], Float32Array]:
    """Return the indices before and after each position, and its weight between them [0, 1]."""
    positions = np.clip(positions, 0.0, size - 1.0)
    before = np.minimum(positions.astype(np.intp), max(size - 2, 0))
    after = np.minimum(before + 1, size - 1)
    return before, after, (positions - before).astype(np.float32)


def _is_one_surface(depth: Float32Array) -> BoolArray:
    """Return (h, w) whether a pixel and its right, lower and lower right neighbors are valid and of similar depth."""
    padded = np.pad(depth, ((0, 1), (0, 1)), mode="edge")
    nearest, farthest = _of_four(np.minimum, padded), _of_four(np.maximum, padded)  # NaN if one is
    with np.errstate(invalid="ignore"):
        similar: BoolArray = (
            (nearest > 0) & (farthest < _MAX_SURFACE_RATIO * nearest) & np.isfinite(farthest)
        )
    return similar


def _of_four(extreme: np.ufunc, padded: Float32Array) -> Float32Array:
    """Return the extreme (h, w) of each pixel and its right, lower and lower right neighbors in (h + 1, w + 1)."""
    of_two: Float32Array = extreme(padded[:, :-1], padded[:, 1:])
    of_four: Float32Array = extreme(of_two[:-1], of_two[1:])
    return of_four
