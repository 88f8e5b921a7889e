# SPDX-License-Identifier: Apache-2.0
"""A grid of obstacles seen from above: points mark cells, rays clear them, what was never seen stays unknown."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ttt3r_ros.types import Float32Array, Float64Array

_HIT, _MISS = 0.9, -0.4  # log-odds of one sighting
_SURE = 4.0  # bound of the log-odds: what was seen long enough can still change
_OCCUPIED, _FREE = 0.8, -0.3
_BLOCK = 64  # cells by which the array grows
_RAYS = 1200  # of one frame that clear


@dataclass(frozen=True)
class Grid:
    """An occupancy grid as nav_msgs/OccupancyGrid has it."""

    values: NDArray[np.int8]  # (H, W) -1 unknown, 0 free, 100 occupied; row 0 has the lowest y
    origin_x: float  # of the lower left corner [m]
    origin_y: float
    resolution: float  # [m]


class OccupancyMap:
    """Log-odds per cell of the map's x and y; any thread may call any method."""

    def __init__(self, resolution: float, max_size: float) -> None:
        self._resolution = resolution
        self._max_cells = max(1, int(max_size / resolution))
        self._lock = threading.Lock()
        self.version = 0
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._odds = np.zeros((0, 0), np.float32)
            self._seen = np.zeros((0, 0), np.bool_)
            self._corner = np.zeros(2, np.int64)  # cell (x, y) of the array's first
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

        Points within the heights mark their cells. Each ray clears the cells where it passes at such a height, up to
        one cell before its end; a ray that ends on the floor clears that cell, too. Marks of a frame win over its rays.
        """
        if not len(points):
            return
        seen_at: Float64Array = points.astype(np.float64)
        height = seen_at[:, 2] - floor_z
        marked = self._cells(seen_at[(height >= min_height) & (height <= max_height)])
        free = self._cleared(origin, seen_at, floor_z, min_height, max_height)
        with self._lock:
            self.version += 1
            self._cover(np.concatenate((marked, free)), self._cells(origin[None])[0])
            hits, misses = self._unique(marked), self._unique(free)
            misses = misses[~np.isin(misses, hits)]
            odds, known = self._odds.reshape(-1), self._seen.reshape(-1)
            odds[hits] = np.minimum(odds[hits] + _HIT, _SURE)
            odds[misses] = np.maximum(odds[misses] + _MISS, -_SURE)
            known[hits] = known[misses] = True

    def snapshot(self) -> Grid | None:
        """Return the grid; None before anything was seen."""
        with self._lock:
            if not self._seen.any():
                return None
            values = np.full(self._odds.shape, -1, np.int8)
            values[self._seen & (self._odds <= _FREE)] = 0
            values[self._seen & (self._odds >= _OCCUPIED)] = 100
            x, y = self._corner * self._resolution
            return Grid(values, float(x), float(y), self._resolution)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays."""
        with self._lock:
            return {
                "odds": self._odds.copy(),
                "seen": self._seen.copy(),
                "corner": self._corner.copy(),
                "resolution": np.array(self._resolution),
            }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace everything by what `arrays` returned.

        Raises:
            SourceError: it is damaged, or of another resolution.
        """
        odds, seen, corner = (np.array(arrays[name]) for name in ("odds", "seen", "corner"))
        resolution = float(arrays["resolution"])
        whole = odds.ndim == 2 and odds.shape == seen.shape and corner.shape == (2,)
        kinds = [values.dtype.str[1:] for values in (odds, seen, corner)] == ["f4", "b1", "i8"]
        if not whole or not kinds or not np.isfinite(odds).all():
            msg = (
                f"the saved grid is damaged: odds {odds.shape}, seen {seen.shape}, corner {corner.shape}"
            )
            raise SourceError(msg)
        if resolution != self._resolution:
            msg = f"the saved grid has cells of {resolution} m; expected grid.resolution, {self._resolution} m"
            raise SourceError(msg)
        with self._lock:
            self._odds, self._seen, self._corner = odds, seen, corner
            self.version += 1

    def _cells(self, points: Float64Array) -> NDArray[np.int64]:
        return np.floor(points[:, :2] / self._resolution).astype(np.int64)

    def _cleared(
        self, origin: Float64Array, points: Float64Array, floor_z: float, low: float, high: float
    ) -> NDArray[np.int64]:
        points = points[:: max(1, len(points) // _RAYS)]
        ways = points - origin
        lengths = np.maximum(np.linalg.norm(ways[:, :2], axis=1), 1e-9)
        on_floor = points[:, 2] - floor_z < low
        ends = np.where(on_floor, lengths, lengths - self._resolution)
        steps = np.arange(0.0, float(ends.max(initial=0.0)) + self._resolution, self._resolution)
        along = np.minimum(steps[None, :], ends[:, None]) / lengths[:, None]
        heights = origin[2] + along * ways[:, 2:] - floor_z
        usable = (steps[None, :] < ends[:, None] + self._resolution) & (ends[:, None] >= 0.0)
        usable &= (heights <= high) & ((heights >= low) | on_floor[:, None])
        at = origin[:2] + along[usable][:, None] * np.repeat(ways[:, :2], usable.sum(axis=1), axis=0)
        cells: NDArray[np.int64] = np.floor(at / self._resolution).astype(np.int64)
        return cells

    def _cover(self, cells: NDArray[np.int64], centre: NDArray[np.int64]) -> None:
        """Let the array cover these cells, as far as its largest size around the camera allows."""
        half = self._max_cells // 2
        low = np.maximum(cells.min(axis=0, initial=2**40), centre - half)
        high = np.minimum(cells.max(axis=0, initial=-(2**40)) + 1, centre - half + self._max_cells)
        old_low, old_high = self._corner, self._corner + self._odds.shape[::-1]
        if self._odds.size:
            if (low >= old_low).all() and (high <= old_high).all():
                return
            low, high = np.minimum(low, old_low), np.maximum(high, old_high)
        low, high = (low // _BLOCK) * _BLOCK, -(-high // _BLOCK) * _BLOCK
        low = np.maximum(low, centre - half)
        high = np.minimum(high, centre - half + self._max_cells)
        size = tuple(np.maximum(high - low, 1)[::-1])
        odds, seen = np.zeros(size, np.float32), np.zeros(size, np.bool_)
        first, last = np.maximum(low, old_low), np.minimum(high, old_high)
        if self._odds.size and (first < last).all():
            new = tuple(
                slice(*pair) for pair in zip((first - low)[::-1], (last - low)[::-1], strict=True)
            )
            old = tuple(
                slice(*pair)
                for pair in zip((first - old_low)[::-1], (last - old_low)[::-1], strict=True)
            )
            odds[new], seen[new] = self._odds[old], self._seen[old]
        self._odds, self._seen, self._corner = odds, seen, low.astype(np.int64)

    def _unique(self, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the flat indices of cells, once each, without those outside the array."""
        height, width = self._odds.shape
        x, y = (cells - self._corner).T
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        flat = np.zeros(height * width, np.bool_)
        flat[y[inside] * width + x[inside]] = True
        return np.flatnonzero(flat)
