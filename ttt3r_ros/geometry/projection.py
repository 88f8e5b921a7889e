# SPDX-License-Identifier: Apache-2.0
"""Pinhole projection: rays of pixels, points of depth images, focal lengths of point maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ttt3r_ros.types import BoolArray, Float32Array, Float64Array, FloatT, Intrinsics


def unproject(depth: NDArray[FloatT], intrinsics: Intrinsics) -> NDArray[FloatT]:
    """Return the points (h, w, 3) of a depth image (h, w) in the optical frame, in the precision of the depth."""
    height, width = depth.shape
    kind = depth.dtype.type
    x = (np.arange(width, dtype=depth.dtype) - kind(intrinsics.cx)) / kind(intrinsics.fx)
    y = (np.arange(height, dtype=depth.dtype) - kind(intrinsics.cy)) / kind(intrinsics.fy)
    return np.stack((x * depth, y[:, None] * depth, depth), axis=-1)


def ray_map(T_first_camera: Float64Array, K: Float64Array, height: int, width: int) -> Float32Array:
    """Return origin and direction of each pixel (height, width, 6) of a camera, in the frame of the first camera.

    The direction contains the translation before normalization. This is not the direction of a ray, but the
    published weights were trained with it (CUT3R issue #90).
    """
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    pixels = np.stack((u, v, np.ones_like(u)), axis=-1).astype(np.float64)
    directions = pixels @ np.linalg.inv(K).T @ T_first_camera[:3, :3].T + T_first_camera[:3, 3]
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    origins = np.broadcast_to(T_first_camera[:3, 3], directions.shape)
    return np.concatenate((origins, directions), axis=-1).astype(np.float32)


def focal_weiszfeld(points: Float32Array, iterations: int = 10) -> float:
    """Estimate the focal length [px] of a point map (H, W, 3) by reweighted least squares over all pixels.

    This is the estimator of the published demo, kept for comparison. It is not robust to points near Z = 0.
    """
    centered, rays = _centered_pixels(points), _rays(points)
    along, squared = (centered * rays).sum(axis=-1), (rays * rays).sum(axis=-1)
    focal = along.mean() / squared.mean()
    for _ in range(iterations):
        weight = 1.0 / np.maximum(np.linalg.norm(centered - focal * rays, axis=-1), 1e-8)
        focal = (weight * along).mean() / (weight * squared).mean()
    return max(float(focal), 0.0)


def focal_median(points: Float32Array, mask: BoolArray | None = None) -> float:
    """Estimate the focal length [px] of a point map (H, W, 3) as the median vote u Z / X and v Z / Y.

    The principal point is the image center (W div 2, H div 2). The result is NaN if ``mask`` (H, W) excludes
    all votes.
    """
    points = np.asarray(points, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        votes = _centered_pixels(points) * points[..., 2:] / points[..., :2]
    votes = votes[mask] if mask is not None else votes
    votes = votes[~np.isnan(votes)]
    if not votes.size:
        return float("nan")
    middle = (votes.size - 1) // 2  # lower median, as in the published demo
    return max(float(np.partition(votes, middle)[middle]), 0.0)


def _centered_pixels(points: Float32Array) -> Float64Array:
    height, width = points.shape[:2]
    u, v = np.meshgrid(np.arange(width) - width // 2, np.arange(height) - height // 2)
    return np.stack((u, v), axis=-1).astype(np.float64)


def _rays(points: Float32Array) -> Float64Array:
    points = np.asarray(points, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        rays = points[..., :2] / points[..., 2:]
    finite: Float64Array = np.nan_to_num(rays, nan=0.0, posinf=0.0, neginf=0.0)
    return finite
