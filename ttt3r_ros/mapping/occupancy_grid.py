# SPDX-License-Identifier: Apache-2.0
"""A grid of obstacles seen from above: points mark cells, rays clear them, what was never seen stays unknown.

A ray tells only of the height at which it crosses a cell. So each cell has layers: what was marked in one of them is
cleared by rays through that layer alone, and a table stays although the camera looks over it and under it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.state_dict import require, saved

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from ttt3r_ros.types import Float32Array, Float64Array

_HIT, _MISS = 9, -4  # one sighting, in tenths of log-odds
_SURE = 40  # bound of the log-odds: what was seen long enough can still change
_OCCUPIED, _FREE = 8, -3
_LAYERS = 8  # the lowest one is below all obstacles, down to the floor; the others share the heights
_BLOCK = 64  # cells by which the array grows
_RAYS = 800  # of one frame that clear; the next frame has others
_RAYS_AT_ONCE = 200  # so that what is computed fits into the processor's cache
_STEPS = 512  # of one ray at most


@dataclass(frozen=True)
class OccupancyGrid:
    """An occupancy grid as nav_msgs/OccupancyGrid has it."""

    values: NDArray[np.int8]  # (H, W) -1 unknown, 0 free, 100 occupied; row 0 has the lowest y
    origin_x: float  # of the lower left corner [m]
    origin_y: float
    resolution: float  # [m]


@dataclass(frozen=True)
class _Heights:
    """Which layer a height over the floor is in."""

    low: float  # of obstacles [m]
    high: float

    @property
    def thickness(self) -> float:
        """Return the thickness of a layer [m]."""
        return max(self.high - self.low, 1e-6) / (_LAYERS - 1)

    def layers(self, height: NDArray[Any]) -> NDArray[Any]:
        """Return heights [m] as layers: 1 is the lowest of obstacles, `_LAYERS` the highest."""
        layers: NDArray[Any] = (height - self.low) / self.thickness + 1.0
        return layers


@dataclass(frozen=True)
class _Rays:
    """R rays as steps (x, y, layer) from a first place; at every step they are in the next cell or layer at most."""

    first: Float32Array  # (R, 3)
    step: Float32Array  # (R, 3)
    steps: Float32Array  # (R,) whole numbers

    @property
    def last(self) -> Float32Array:
        """Return the last places (R, 3)."""
        last: Float32Array = self.steps[:, None] * self.step + self.first
        return last

    def places(self, rays: slice, corner: NDArray[np.int64]) -> Iterator[NDArray[np.int32]]:
        """Yield x, y and layer of some rays, one row each, counted from a corner (x, y) below all of them."""
        count = np.arange(self.steps[rays].max() + 1, dtype=np.float32)
        count = np.minimum(count, self.steps[rays, None])  # the last place again and again
        for axis, origin in enumerate((*corner, 0)):
            first = self.first[rays, axis, None] - np.float32(origin)
            yield (count * self.step[rays, axis, None] + first).astype(np.int32)


class OccupancyMap:
    """Log-odds per layer of the map's cells in x and y; any thread may call any method."""

    def __init__(self, resolution: float, max_size: float) -> None:
        self._resolution = resolution
        self._max_cells = max(8, int(max_size / resolution))
        self._lock = threading.Lock()
        self.version = 0
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._odds = np.zeros((_LAYERS, 0, 0), np.int8)  # layer, y, x
            self._corner = np.zeros(2, np.int64)  # cell (x, y) of the array's first
            self._heights = _Heights(0.0, 1.0)
            self._turn = 0  # whose rays are next
            self.version += 1

    def integrate(
        self,
        origin: Float64Array,
        points: Float32Array,
        floor_z: float,
        min_height: float,
        max_height: float,
    ) -> None:
        """Take points (N, 3) seen from a camera (3,), in the z-up map; heights count from the floor [m].

        Points within the heights mark their layer of their cell. Each ray clears the layers of the cells through
        which it passes, up to one cell before its end; a ray that ends on the floor clears that cell's lowest layer,
        too. Marks of a frame win over its rays. Points that are not finite count for nothing.
        """
        finite = np.isfinite(points)
        ends = points[finite[:, 0] & finite[:, 1] & finite[:, 2]].astype(np.float64)
        if not len(ends):
            return
        # From here on x and y are cells, counted from the camera's own, and z is layers.
        heights = _Heights(min_height, max_height)
        center = np.floor(origin[:2] / self._resolution)
        eye = np.array([*(origin[:2] / self._resolution - center), heights.layers(origin[2] - floor_z)])
        ends[:, :2] = ends[:, :2] / self._resolution - center
        ends[:, 2] = heights.layers(ends[:, 2] - floor_z)
        reach = self._max_cells // 2 - 3
        with self._lock:
            turns = max(1, len(ends) // _RAYS)
            rays = _clearing(eye, ends[self._turn % turns :: turns] - eye, reach)
            self._turn += 1
            self.version += 1
            self._use(heights)
            self._add(center.astype(np.int64), _marked(ends, reach), rays)

    def to_grid(self) -> OccupancyGrid | None:
        """Return the grid; None before anything was seen.

        A cell is occupied if one of its layers is, and free if one was seen to be while nothing speaks against any.
        """
        with self._lock:
            most, least = self._odds.max(axis=0), self._odds.min(axis=0)
            x, y = self._corner * self._resolution
        if not (most.any() or least.any()):
            return None
        values = np.full(most.shape, -1, np.int8)
        values[(least <= _FREE) & (most <= 0)] = 0
        values[most >= _OCCUPIED] = 100
        return OccupancyGrid(values, float(x), float(y), self._resolution)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays."""
        with self._lock:
            return {
                "odds": self._odds.copy(),
                "corner": self._corner.copy(),
                "heights": np.array([self._heights.low, self._heights.high], np.float64),
                "turn": np.array(self._turn, np.int64),
                "resolution": np.array(self._resolution, np.float64),
            }

    def load_state_dict(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace everything by what `arrays` returned.

        Raises:
            SourceError: they are damaged or of another resolution; nothing has changed.
        """
        size = saved(arrays, "resolution", np.float64, ())
        require(
            size == self._resolution,
            f"the grid's resolution is {size} m, here grid.resolution is {self._resolution} m",
        )
        odds = saved(arrays, "odds", np.int8, (_LAYERS, None, None))
        corner = saved(arrays, "corner", np.int64, (2,))
        low, high = saved(arrays, "heights", np.float64, (2,)).tolist()
        turn = int(saved(arrays, "turn", np.int64, ()))
        require(((odds >= -_SURE) & (odds <= _SURE)).all(), "odds are out of range")
        require((np.abs(corner) < 2**40).all(), "corner is out of range")
        require(low <= high, f"heights are {low} to {high} m")
        require(turn >= 0, "turn is negative")
        with self._lock:
            self._odds, self._corner = odds, corner
            self._heights, self._turn = _Heights(low, high), turn
            self.version += 1

    def _use(self, heights: _Heights) -> None:
        """Let the layers share these heights; what was seen goes to the layers that are now at its height."""
        if heights == self._heights:
            return
        middle = heights.low + (np.arange(_LAYERS - 1) + 0.5) * heights.thickness
        before = self._heights.layers(middle).clip(0, _LAYERS - 1).astype(np.intp)
        known = (middle >= self._heights.low) & (middle <= self._heights.high)
        self._odds[1:] = self._odds[before] * known[:, None, None]
        self._heights = heights

    def _add(self, center: NDArray[np.int64], marks: NDArray[np.int64], rays: _Rays) -> None:
        """Count cells around a center, once each however many points or rays were there."""
        places = np.concatenate((marks, np.floor(rays.first), np.floor(rays.last)))[:, :2]
        if not len(places):
            return
        # Only the part of the array that this frame is about is touched, so that its size does not matter.
        low, high = places.min(axis=0).astype(np.int64) - 1, places.max(axis=0).astype(np.int64) + 2
        self._cover(center + low, center + high, center)
        width, height = (high - low).tolist()
        change = np.zeros(_LAYERS * height * width, np.int8)
        for start in range(0, len(rays.steps), _RAYS_AT_ONCE):
            x, y, layer = rays.places(slice(start, start + _RAYS_AT_ONCE), low)
            layer = np.clip(layer, 0, _LAYERS - 1, out=layer)
            change[((layer * height + y) * width + x).astype(np.intp)] = _MISS
        x, y, layer = marks.T
        change[(layer * height + y - low[1]) * width + x - low[0]] = _HIT
        left, bottom = (center + low - self._corner).tolist()
        part = self._odds[:, bottom : bottom + height, left : left + width]
        part += change.reshape(part.shape)
        np.clip(part, -_SURE, _SURE, out=part)

    def _cover(self, low: NDArray[np.int64], high: NDArray[np.int64], center: NDArray[np.int64]) -> None:
        """Let the array cover the cells from low to high, and as much of the rest as its largest size allows."""
        half = self._max_cells // 2
        old_low, old_high = self._corner, self._corner + self._odds.shape[:0:-1]
        if self._odds.size:
            if (low >= old_low).all() and (high <= old_high).all():
                return
            low, high = np.minimum(low, old_low), np.maximum(high, old_high)
        low, high = (low // _BLOCK) * _BLOCK, -(-high // _BLOCK) * _BLOCK
        low = np.maximum(low, center - half)
        high = np.minimum(high, center - half + self._max_cells)
        odds = np.zeros((_LAYERS, *(high - low)[::-1]), np.int8)
        first, last = np.maximum(low, old_low), np.minimum(high, old_high)
        if self._odds.size and (first < last).all():
            odds[_between(first - low, last - low)] = self._odds[
                _between(first - old_low, last - old_low)
            ]
        self._odds, self._corner = odds, low.astype(np.int64)


def _between(first: NDArray[np.int64], last: NDArray[np.int64]) -> tuple[slice, slice, slice]:
    """Return the part of an array of layers from one cell (x, y) to another."""
    return slice(None), slice(first[1], last[1]), slice(first[0], last[0])


def _marked(ends: Float64Array, reach: int) -> NDArray[np.int64]:
    """Return x, y and layer (M, 3) of those points (N, 3) that are obstacles, none farther away than the reach."""
    x, y, layer = ends.T
    near = np.maximum(np.abs(x), np.abs(y)) <= reach
    marked: NDArray[np.int64] = np.floor(ends[near & (layer >= 1.0) & (layer <= _LAYERS)]).astype(
        np.int64
    )
    marked[:, 2] = np.minimum(marked[:, 2], _LAYERS - 1)
    return marked


def _clearing(eye: Float64Array, ways: Float64Array, reach: int) -> _Rays:
    """Return what is free of the ways (N, 3) from the camera (3,) to its points, none farther than the reach."""
    start, end = _free_part(eye, ways, reach)
    passes = start <= end
    start, span, ways = start[passes], (end - start)[passes], ways[passes]
    length = np.maximum(np.hypot(ways[:, 0], ways[:, 1]), np.abs(ways[:, 2]))
    steps = np.ceil(span * length).clip(1, _STEPS)
    first, step = eye + start[:, None] * ways, (span / steps)[:, None] * ways
    return _Rays(first.astype(np.float32), step.astype(np.float32), steps.astype(np.float32))


def _free_part(eye: Float64Array, ways: Float64Array, reach: int) -> tuple[Float64Array, Float64Array]:
    """Return from where to where (N,), as shares of its length, each ray is free and as high as obstacles are."""
    rise = np.where(np.abs(ways[:, 2]) < 1e-9, 1e-9, ways[:, 2])
    length = np.maximum(np.hypot(ways[:, 0], ways[:, 1]), 1e-9)
    on_floor = eye[2] + rise < 1.0
    to_low = (np.where(on_floor, -np.inf, 1.0) - eye[2]) / rise
    to_high = (_LAYERS - eye[2]) / rise
    # Where it ends something is; but a floor is free up to its very cell.
    end = np.minimum(np.where(on_floor, 1.0, 1.0 - 1.0 / length), reach / length)
    return (
        np.maximum(np.minimum(to_low, to_high), 0.0),
        np.minimum(np.maximum(to_low, to_high), end),
    )
