# SPDX-License-Identifier: Apache-2.0
"""Occupancy grid in top view: points mark cells as occupied, rays clear cells, other cells stay unknown.

A ray clears a cell only in the height layer that it passes through. Each cell therefore has several layers, and a table
stays occupied when rays pass over it or under it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.state_dict import StateReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from ttt3r_ros.types import Float32Array, Float64Array

_HIT, _MISS = 9, -4  # change of the log-odds by one frame, in tenths
_MAX_LOG_ODDS = 40  # bounded, so that a cell still adapts to new observations
_OCCUPIED, _FREE = 8, -3  # thresholds on the log-odds
# Layer 0 reaches from the floor to the lowest obstacles; the others divide the obstacle heights.
_LAYERS = 8
_MAX_HEIGHT_M = 1e6  # saved heights beyond it are damage
_BLOCK = 64  # cells by which the array grows
_MAX_RAYS = 800  # clearing rays per frame; the next frame casts others
_RAYS_PER_BATCH = 200  # intermediate arrays fit into the processor's cache
_MAX_STEPS = 512  # per ray


@dataclass(frozen=True)
class OccupancyGrid:
    """Grid as in nav_msgs/OccupancyGrid."""

    values: NDArray[np.int8]  # (H, W) -1 unknown, 0 free, 100 occupied; row 0 has the lowest y
    origin_x: float  # lower left corner [m]
    origin_y: float
    resolution: float  # [m]


@dataclass(frozen=True)
class _Heights:
    """Range of obstacle heights above the floor [m], divided into layers."""

    low: float
    high: float

    @property
    def thickness(self) -> float:
        """Return the thickness of a layer [m]."""
        return max(self.high - self.low, 1e-6) / (_LAYERS - 1)

    def layers(self, height: NDArray[Any]) -> NDArray[Any]:
        """Convert heights [m] to layers: obstacles are between 1 and `_LAYERS`."""
        layers: NDArray[Any] = (height - self.low) / self.thickness + 1.0
        return layers


@dataclass(frozen=True)
class _Rays:
    """R rays sampled at steps (x, y, layer) that are at most one cell or layer long."""

    first: Float32Array  # (R, 3) first sample
    step: Float32Array  # (R, 3)
    steps: Float32Array  # (R,) number of steps

    @property
    def last(self) -> Float32Array:
        """Return the last samples (R, 3)."""
        last: Float32Array = self.steps[:, None] * self.step + self.first
        return last

    def samples(self, rays: slice, corner: NDArray[np.int64]) -> Iterator[NDArray[np.int32]]:
        """Yield x, y and layer of the samples of some rays, one row per ray, relative to a corner (x, y)."""
        index = np.arange(self.steps[rays].max() + 1, dtype=np.float32)
        index = np.minimum(index, self.steps[rays, None])  # shorter rays repeat their last sample
        for axis, origin in enumerate((*corner, 0)):
            first = self.first[rays, axis, None] - np.float32(origin)
            yield (index * self.step[rays, axis, None] + first).astype(np.int32)


class OccupancyMap:
    """Log-odds of occupancy per cell (x, y) and height layer. Thread-safe."""

    def __init__(self, resolution: float, max_size: float) -> None:
        self._resolution = resolution
        self._max_cells = max(8, int(max_size / resolution))
        self._lock = threading.Lock()
        self.version = 0
        self.clear()

    def clear(self) -> None:
        """Set all cells to unknown."""
        with self._lock:
            self._log_odds = np.zeros((_LAYERS, 0, 0), np.int8)  # layer, y, x
            self._corner = np.zeros(2, np.int64)  # cell (x, y) of the array's first element
            self._heights = _Heights(0.0, 1.0)
            self._frame_count = 0
            self.version += 1

    def integrate(
        self,
        origin: Float64Array,
        points: Float32Array,
        floor_z: float,
        min_height: float,
        max_height: float,
    ) -> None:
        """Integrate points (N, 3) in the z-up map, observed by a camera (3,); heights are above the floor [m].

        Points within the heights mark their layer of their cell. Each ray clears the layers of the cells that it
        passes through, up to one cell before its end. A ray that ends on the floor also clears the lowest layer of
        that cell. Marks take precedence over rays of the same frame. Points that are not finite are ignored.
        """
        finite = np.isfinite(points)
        ends = points[finite[:, 0] & finite[:, 1] & finite[:, 2]].astype(np.float64)
        if not len(ends):
            return
        # Below, x and y are in cells relative to the camera's cell, and z is in layers.
        heights = _Heights(min_height, max_height)
        center = np.floor(origin[:2] / self._resolution)
        camera = np.array(
            [*(origin[:2] / self._resolution - center), heights.layers(origin[2] - floor_z)]
        )
        ends[:, :2] = ends[:, :2] / self._resolution - center
        ends[:, 2] = heights.layers(ends[:, 2] - floor_z)
        max_range = self._max_cells // 2 - 3
        with self._lock:
            stride = max(1, len(ends) // _MAX_RAYS)
            rays = _clearing_rays(camera, ends[self._frame_count % stride :: stride] - camera, max_range)
            self._frame_count += 1
            self.version += 1
            self._set_heights(heights)
            self._add(center.astype(np.int64), _obstacle_cells(ends, max_range), rays)

    def to_grid(self) -> OccupancyGrid | None:
        """Return the grid; None before the first observation.

        A cell is occupied if one of its layers is. It is free if a layer was observed as free and no layer has
        evidence of an obstacle.
        """
        with self._lock:
            highest, lowest = self._log_odds.max(axis=0), self._log_odds.min(axis=0)
            x, y = self._corner * self._resolution
        if not (highest.any() or lowest.any()):
            return None
        values = np.full(highest.shape, -1, np.int8)
        values[(lowest <= _FREE) & (highest <= 0)] = 0
        values[highest >= _OCCUPIED] = 100
        return OccupancyGrid(values, float(x), float(y), self._resolution)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return a copy of everything, for `load_state_dict`."""
        with self._lock:
            return {
                "log_odds": self._log_odds.copy(),
                "corner": self._corner.copy(),
                "heights": np.array([self._heights.low, self._heights.high], np.float64),
                "frame_count": np.array(self._frame_count, np.int64),
                "resolution": np.array(self._resolution, np.float64),
            }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace everything by a `state_dict`.

        Raises:
            SourceError: an entry is invalid or of another resolution; nothing has changed.
        """
        with StateReader(state, "grid") as read:
            resolution = read.number("resolution")
            read.require(
                resolution == self._resolution,
                f"resolution is {resolution} m; grid.resolution is {self._resolution} m",
            )
            log_odds = read.array("log_odds", np.int8, (_LAYERS, None, None))
            corner = read.array("corner", np.int64, (2,))
            low, high = read.array("heights", np.float64, (2,), maximum=_MAX_HEIGHT_M).tolist()
            frame_count = read.integer("frame_count")
            in_range = (log_odds >= -_MAX_LOG_ODDS) & (log_odds <= _MAX_LOG_ODDS)
            read.require(in_range.all(), "log_odds are out of range")
            read.require((np.abs(corner) < 2**40).all(), "corner is out of range")
            read.require(low <= high, f"heights are {low} to {high} m")
        with self._lock:
            self._log_odds, self._corner = log_odds, corner
            self._heights, self._frame_count = _Heights(low, high), frame_count
            self.version += 1

    def _set_heights(self, heights: _Heights) -> None:
        """Divide other heights into layers; observations move to the layers that are now at their height."""
        if heights == self._heights:
            return
        middle = heights.low + (np.arange(_LAYERS - 1) + 0.5) * heights.thickness
        old_layers = self._heights.layers(middle).clip(0, _LAYERS - 1).astype(np.intp)
        observed = (middle >= self._heights.low) & (middle <= self._heights.high)
        self._log_odds[1:] = self._log_odds[old_layers] * observed[:, None, None]
        self._heights = heights

    def _add(self, center: NDArray[np.int64], hits: NDArray[np.int64], rays: _Rays) -> None:
        """Add hits and misses around a center, at most one per cell and layer."""
        extent = np.concatenate((hits, np.floor(rays.first), np.floor(rays.last)))[:, :2]
        if not len(extent):
            return
        # Only the part of the array observed by this frame is updated; the cost does not depend on the array's size.
        low, high = extent.min(axis=0).astype(np.int64) - 1, extent.max(axis=0).astype(np.int64) + 2
        self._grow(center + low, center + high, center)
        width, height = (high - low).tolist()
        change = np.zeros(_LAYERS * height * width, np.int8)
        for start in range(0, len(rays.steps), _RAYS_PER_BATCH):
            x, y, layer = rays.samples(slice(start, start + _RAYS_PER_BATCH), low)
            layer = np.clip(layer, 0, _LAYERS - 1, out=layer)
            change[((layer * height + y) * width + x).astype(np.intp)] = _MISS
        x, y, layer = hits.T
        change[(layer * height + y - low[1]) * width + x - low[0]] = _HIT
        left, bottom = (center + low - self._corner).tolist()
        part = self._log_odds[:, bottom : bottom + height, left : left + width]
        part += change.reshape(part.shape)
        np.clip(part, -_MAX_LOG_ODDS, _MAX_LOG_ODDS, out=part)

    def _grow(self, low: NDArray[np.int64], high: NDArray[np.int64], center: NDArray[np.int64]) -> None:
        """Grow the array to cover the cells from low to high; beyond its maximum size, drop distant cells."""
        half = self._max_cells // 2
        old_low, old_high = self._corner, self._corner + self._log_odds.shape[:0:-1]
        if self._log_odds.size:
            if (low >= old_low).all() and (high <= old_high).all():
                return
            low, high = np.minimum(low, old_low), np.maximum(high, old_high)
        low, high = (low // _BLOCK) * _BLOCK, -(-high // _BLOCK) * _BLOCK
        low = np.maximum(low, center - half)
        high = np.minimum(high, center - half + self._max_cells)
        log_odds = np.zeros((_LAYERS, *(high - low)[::-1]), np.int8)
        first, last = np.maximum(low, old_low), np.minimum(high, old_high)
        if self._log_odds.size and (first < last).all():
            source = _cell_slices(first - old_low, last - old_low)
            log_odds[_cell_slices(first - low, last - low)] = self._log_odds[source]
        self._log_odds, self._corner = log_odds, low.astype(np.int64)


def _cell_slices(first: NDArray[np.int64], last: NDArray[np.int64]) -> tuple[slice, slice, slice]:
    """Return the slices (layer, y, x) of all layers from one cell (x, y) to another."""
    return slice(None), slice(first[1], last[1]), slice(first[0], last[0])


def _obstacle_cells(ends: Float64Array, max_range: int) -> NDArray[np.int64]:
    """Return x, y and layer (M, 3) of the points (N, 3) that are obstacles within a range of cells."""
    x, y, layer = ends.T
    in_range = np.maximum(np.abs(x), np.abs(y)) <= max_range
    obstacles = ends[in_range & (layer >= 1.0) & (layer <= _LAYERS)]
    cells: NDArray[np.int64] = np.floor(obstacles).astype(np.int64)
    cells[:, 2] = np.minimum(cells[:, 2], _LAYERS - 1)
    return cells


def _clearing_rays(camera: Float64Array, offsets: Float64Array, max_range: int) -> _Rays:
    """Return the free part of the rays from the camera (3,) along offsets (N, 3), within a range of cells."""
    start, end = _free_interval(camera, offsets, max_range)
    valid = start <= end
    start, span, offsets = start[valid], (end - start)[valid], offsets[valid]
    length = np.maximum(np.hypot(offsets[:, 0], offsets[:, 1]), np.abs(offsets[:, 2]))
    steps = np.ceil(span * length).clip(1, _MAX_STEPS)
    first, step = camera + start[:, None] * offsets, (span / steps)[:, None] * offsets
    return _Rays(first.astype(np.float32), step.astype(np.float32), steps.astype(np.float32))


def _free_interval(
    camera: Float64Array, offsets: Float64Array, max_range: int
) -> tuple[Float64Array, Float64Array]:
    """Return the interval (N,), (N,) of each ray, from 0 to 1, that is free and within the obstacle heights."""
    rise = np.where(np.abs(offsets[:, 2]) < 1e-9, 1e-9, offsets[:, 2])
    length = np.maximum(np.hypot(offsets[:, 0], offsets[:, 1]), 1e-9)
    on_floor = camera[2] + rise < 1.0
    to_low = (np.where(on_floor, -np.inf, 1.0) - camera[2]) / rise
    to_high = (_LAYERS - camera[2]) / rise
    # The cell of the end point is occupied, unless the ray ends on the floor.
    end = np.minimum(np.where(on_floor, 1.0, 1.0 - 1.0 / length), max_range / length)
    return (
        np.maximum(np.minimum(to_low, to_high), 0.0),
        np.minimum(np.maximum(to_low, to_high), end),
    )
