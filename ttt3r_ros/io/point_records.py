# SPDX-License-Identifier: Apache-2.0
"""Points with colours in the bytes that PCL, RViz and PCD files agree on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.types import Float32Array, UInt8Array

POINT_FIELDS = ("x", "y", "z", "rgb")
POINT_DTYPE = np.dtype([(name, "<f4") for name in POINT_FIELDS])


def packed_points(points: Float32Array, rgb: UInt8Array) -> NDArray[Any]:
    """Return records (...) of points and colours (..., 3), whose rgb is 0x00RRGGBB in the bits of a float."""
    values = np.zeros((*points.shape[:-1], 4), dtype="<f4")
    values[..., :3] = points
    values.view(np.uint8)[..., 12:15] = rgb[..., ::-1]
    return values.view(POINT_DTYPE)[..., 0]
