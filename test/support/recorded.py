# SPDX-License-Identifier: Apache-2.0
"""Results of the pipeline for tests of writers, and folders without free space."""

from __future__ import annotations

import resource
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from fakes import FakeBackend, frame, prediction

from ttt3r_ros.config import Config
from ttt3r_ros.io.export.colmap import PosedImage
from ttt3r_ros.mapping.voxel_map import PointCloud
from ttt3r_ros.odometry.sensor_context import SensorContext
from ttt3r_ros.pipeline.reconstructor import Reconstructor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ttt3r_ros.types import Intrinsics, Update

ROOM = 1 << 18  # bytes


def map_room(
    count: int,
    config: Config | None = None,
    around: Callable[[int], SensorContext] = lambda _: SensorContext(),
) -> tuple[list[Update], Reconstructor[Any]]:
    """Return the updates of ``count`` frames of the fake backend, one second apart, and the reconstructor."""
    reconstructor = Reconstructor(FakeBackend(), config or Config())
    return [reconstructor.step(frame(k), around(k)) for k in range(count)], reconstructor


def noisy(update: Update, height: int = 12, width: int = 16) -> Update:
    """Return an update with random pixels; some have low confidence, some are behind the camera."""
    rng = np.random.default_rng(0)
    seen = replace(
        prediction(),
        points_camera=rng.normal(size=(height, width, 3)).astype(np.float32),
        confidence=rng.uniform(1.0, 4.0, (height, width)).astype(np.float32),
        rgb=rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
    )
    return replace(update, prediction=seen)


def cloud(count: int) -> PointCloud:
    rng = np.random.default_rng(1)
    points = rng.normal(size=(count, 3)).astype(np.float32)
    return PointCloud(points, rng.integers(0, 256, (count, 3), dtype=np.uint8))


def views(folder: Path, T_map_camera: list[np.ndarray], cameras: list[Intrinsics]) -> list[PosedImage]:
    return [
        PosedImage(f"{k:06d}.jpg", T, camera, folder / "rgb" / f"{k:06d}.jpg")
        for k, (T, camera) in enumerate(zip(T_map_camera, cameras, strict=True))
    ]


def pixels_of(points_map: np.ndarray, view: PosedImage) -> np.ndarray:
    """Project points (N, 3) with optical axes; the center of the first pixel is at 0, 0."""
    in_camera = (points_map - view.T_map_camera[:3, 3]) @ view.T_map_camera[:3, :3]
    projected = in_camera @ view.intrinsics.matrix().T
    return projected[:, :2] / projected[:, 2:]


@contextmanager
def no_room(folder: Path, kind: str) -> Iterator[bool]:
    """Limit a file ("limit") or a folder ("disk") to `ROOM` bytes; yield whether that is possible here."""
    if kind == "limit":
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, before[1]))
        try:
            yield True
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        return
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)
