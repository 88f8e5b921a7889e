# SPDX-License-Identifier: Apache-2.0
"""Loads saved grids by the rules of map_server in its documentation (Nav2 and ROS 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import yaml
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

UNKNOWN, FREE, OCCUPIED = -1, 0, 100


@dataclass(frozen=True)
class LoadedMap:
    """nav_msgs/OccupancyGrid as map_server publishes it."""

    values: NDArray[np.int8]  # (H, W), row 0 at the origin
    origin: tuple[float, float, float]
    resolution: float


def load_map(path: Path, mode: str | None = None, *, inclusive: bool = False) -> LoadedMap:
    """Load a map from its YAML file, in its own or another mode.

    ``inclusive``: compare with the thresholds by >= and <=, as some readers of these files do.
    """
    metadata = yaml.safe_load(path.read_text(encoding="utf-8"))
    with Image.open(path.parent / metadata["image"]) as image:
        gray = np.asarray(image.convert("L"))[::-1].astype(
            np.float64
        )  # row 0 of the grid is the last one
    occupancy = gray / 255.0 if metadata["negate"] else (255.0 - gray) / 255.0
    high, low = metadata["occupied_thresh"], metadata["free_thresh"]
    occupied, free = (occupancy > high, occupancy < low)
    if inclusive:
        occupied, free = occupancy >= high, occupancy <= low
    mode = mode or metadata["mode"]
    if mode == "trinary":
        values = np.full(gray.shape, UNKNOWN)
    elif mode == "scale":  # without an alpha channel no cell is unknown
        values = np.rint((occupancy - low) / (high - low) * 100.0)
    else:
        assert mode == "raw"
        values = np.where(gray <= OCCUPIED, gray, UNKNOWN)
        return LoadedMap(values.astype(np.int8), tuple(metadata["origin"]), metadata["resolution"])
    values[free], values[occupied] = FREE, OCCUPIED
    return LoadedMap(values.astype(np.int8), tuple(metadata["origin"]), metadata["resolution"])
