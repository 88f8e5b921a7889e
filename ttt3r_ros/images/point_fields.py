# SPDX-License-Identifier: Apache-2.0
"""Colored points in the memory layout of PCL, RViz and PCD files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.types import Float32Array, Prediction, UInt8Array

POINT_FIELDS = ("x", "y", "z", "rgb")
POINT_DTYPE = np.dtype([(name, "<f4") for name in POINT_FIELDS])


def pack_points(points: Float32Array, rgb: UInt8Array, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Return records (...) of points and colors (..., 3); rgb is 0x00RRGGBB in the bits of a float.

    ``out``, contiguous records (...), receives the result if given.
    """
    records = np.empty(points.shape[:-1], dtype=POINT_DTYPE) if out is None else out
    if not records.size:
        return records
    values = records.view("<f4").reshape(1, -1, 4)
    # OpenCV adds a fourth channel many times faster than NumPy assigns to three of four.
    cv2.cvtColor(_one_row(points, np.float32), cv2.COLOR_RGB2RGBA, dst=values)
    colors = cv2.cvtColor(_one_row(rgb, np.uint8), cv2.COLOR_RGB2BGRA).view("<u4")
    np.bitwise_and(colors, 0x00FFFFFF, out=values.view("<u4")[..., 3:])
    return records


def masked_points(prediction: Prediction, masked_depth: Float32Array) -> tuple[Float32Array, UInt8Array]:
    """Return points (N, 3) in the optical frame and their colors at the pixels that have depth (h, w)."""
    valid = masked_depth > 0  # False for NaN
    points, rgb = prediction.points_camera.reshape(-1, 3), prediction.rgb.reshape(-1, 3)
    if valid.all():
        return points, rgb
    indices = np.flatnonzero(valid)  # several times faster than indexing by the mask
    return points.take(indices, axis=0), rgb.take(indices, axis=0)


def _one_row(samples: NDArray[Any], kind: type[Any]) -> NDArray[Any]:
    """Return samples (..., 3) as an image (1, N, 3)."""
    return np.ascontiguousarray(samples, dtype=kind).reshape(1, -1, 3)
