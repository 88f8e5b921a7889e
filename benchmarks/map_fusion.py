#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure the fusion of one frame into map and grid on one core, by frame size and map size.

    python benchmarks/map_fusion.py

Frames are perfect views of the demo's room, with the settings a new user has; around it lies the number of other voxels
in the row, in view and out of it. In a row marked "full" they are as many as the map may hold, and 500 new ones come
between two frames. The columns:

    hash       the voxel of every point, and the mean of those in the same voxel
    table      finding these voxels in the map, making room for new ones, updating them
    clear      wearing down voxels that are seen through
    grid       the grid of obstacles
    frame      all of it: the price of a frame
    p50, p95   the same by the clock on the wall, in which other work on the machine counts; all else is processor time
    cloud      copying the whole map to publish it, once per map.publish_period

The last table shows the loss because not every pixel of a large frame is fused at once: the fraction of the voxels
of all pixels that are there after one frame, and after nine of the same view, and how far their points are from the
mean of all that fall into them.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")  # one core; set before NumPy reads it

import numpy as np  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # runs from a checkout, installed or not

from ttt3r_ros.config import Config  # noqa: E402
from ttt3r_ros.geometry import transform, unproject  # noqa: E402
from ttt3r_ros.mapping import voxel_map  # noqa: E402
from ttt3r_ros.mapping.map_builder import MapBuilder  # noqa: E402
from ttt3r_ros.mapping.occupancy_grid import OccupancyMap  # noqa: E402
from ttt3r_ros.mapping.voxel_map import VoxelMap  # noqa: E402
from ttt3r_ros.synthetic.room import ProceduralRoom  # noqa: E402
from ttt3r_ros.types import ImageGeometry, Prediction, Update  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = ((224, 160), (320, 240), (512, 384))
VOXELS = (10_000, 100_000, 1_000_000)
VIEWS = 6  # rendered once and then shown again and again
STAGES = ("hash", "table", "clear", "grid", "frame", "p50", "p95", "cloud")


class Stages:
    """The time spent in parts of the map, per frame."""

    def __init__(self) -> None:
        self.spent_s: dict[str, float] = {}
        for owner, name, stage in (
            (voxel_map, "voxel_keys", "hash"),
            (voxel_map, "weighted_means", "hash"),
            (voxel_map.VoxelMap, "integrate", "integrate"),
            (voxel_map.VoxelMap, "carve_free_space", "clear"),
            (OccupancyMap, "integrate", "grid"),
        ):
            self._time(owner, name, stage)

    def _time(self, owner: Any, name: str, stage: str) -> None:
        function: Callable[..., Any] = getattr(owner, name)

        def with_timer(*args: Any, **kwargs: Any) -> Any:
            started = time.thread_time()
            result = function(*args, **kwargs)
            self.spent_s[stage] = self.spent_s.get(stage, 0.0) + time.thread_time() - started
            return result

        setattr(owner, name, with_timer)

    def frame(self) -> dict[str, float]:
        """Return the times of this frame [s] and begin the next."""
        spent, self.spent_s = self.spent_s, {}
        spent["table"] = spent.get("integrate", 0.0) - spent.get("hash", 0.0)
        return spent


def main() -> int:
    """Print the tables."""
    arguments = _arguments()
    stages = Stages()
    print(f"milliseconds, {arguments.frames} frames a row, medians; one core of {_processor()}\n")
    print(f"{'frame':>9} {'voxels':>10} | " + " ".join(f"{stage:>9}" for stage in STAGES))
    views = {size: _views(*size) for size in arguments.sizes}
    for size in arguments.sizes:
        for count in arguments.voxels:
            _print_row(size, f"{count}", _run(stages, views[size], count, arguments.frames))
        full = Config().map.max_voxels
        row = _run(stages, views[size], full, arguments.frames, max_voxels=full)
        _print_row(size, f"{full} full", row)
    print(
        f"\n{'frame':>9} | {'voxels':>7} {'one frame':>9} {'mean error':>12} {'nine frames':>11} {'mean error':>12}"
    )
    for size in arguments.sizes:
        _print_accuracy(size, views[size])
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=100, help="a row (default: 100)")
    parser.add_argument("--voxels", type=int, nargs="+", default=VOXELS, help="sizes of the map")
    parser.add_argument(
        "--sizes", type=_size, nargs="+", default=SIZES, help="of the frames, as 320x240"
    )
    return parser.parse_args()


def _size(text: str) -> tuple[int, int]:
    width, height = text.split("x")
    return int(width), int(height)


def _views(width: int, height: int) -> list[Update]:
    room = ProceduralRoom(frames=VIEWS, width=width, height=height, rate_hz=VIEWS / 12.0)
    return [_update(room, index) for index in range(VIEWS)]


def _update(room: ProceduralRoom, index: int) -> Update:
    """Return the output of a perfect network for one view."""
    view, camera, identity = room.render(index), room.intrinsics, np.eye(4)
    size = (camera.width, camera.height)
    prediction = Prediction(
        unproject(view.depth_m, camera), np.full(size[::-1], 3.0, np.float32),
        identity, np.ascontiguousarray(view.rgb), ImageGeometry(*size, *size, 0, 0, *size),
    )  # fmt: skip
    frame = replace(
        next(iter(ProceduralRoom(frames=1, width=2, height=2).frames())), stamp_ns=room.stamp_ns(index)
    )
    return Update(
        frame, prediction, view.T_world_camera, camera, 0, {}, identity, identity, identity, identity, 1.0,
        np.eye(6), np.eye(6),
    )  # fmt: skip


def _run(
    stages: Stages, views: list[Update], count: int, frames: int, max_voxels: int = 0
) -> dict[str, float]:
    scene = _scene(count, max_voxels or 2 * count + 100_000)
    for view in views:
        scene.integrate(view, 0.0)
    stages.frame()
    rng = np.random.default_rng(0)
    totals, parts, clouds = [], [], []
    for index in range(frames):
        if max_voxels:  # new voxels, for which others must go
            _surround(scene, rng, 500, index)
            stages.frame()
        started, busy = time.perf_counter(), time.thread_time()
        scene.integrate(views[index % len(views)], 0.0)
        totals.append(time.perf_counter() - started)
        parts.append({**stages.frame(), "frame": time.thread_time() - busy})
        if index % 10 == 0:
            started = time.thread_time()
            scene.voxels.point_cloud()
            clouds.append(time.thread_time() - started)
    medians = {name: float(np.median([part.get(name, 0.0) for part in parts])) for name in parts[0]}
    p50, p95 = (float(value) for value in np.percentile(totals, (50, 95)))
    return {**medians, "p50": p50, "p95": p95, "cloud": float(np.median(clouds))}


def _scene(count: int, max_voxels: int) -> MapBuilder:
    config = Config()
    config = replace(config, map=replace(config.map, max_voxels=max_voxels))
    scene = MapBuilder(config)
    rng = np.random.default_rng(1)
    while (missing := count - len(scene.voxels)) > 0:
        _surround(scene, rng, min(missing, 100_000), -1)
    return scene


def _surround(scene: MapBuilder, rng: np.random.Generator, count: int, stamp_ns: int) -> None:
    """Add voxels anywhere in a building around the room; heavy, so that those in view stay for a while."""
    points = rng.uniform((-25, -25, -2), (25, 25, 2), (count, 3)).astype(np.float32)
    weights = np.full(count, 1000.0, np.float32)
    scene.voxels.integrate(points, np.full((count, 3), 128, np.uint8), weights, stamp_ns)


def _print_row(size: tuple[int, int], voxels: str, row: dict[str, float]) -> None:
    figures = " ".join(f"{1e3 * row[stage]:9.2f}" for stage in STAGES)
    print(f"{size[0]:>5}x{size[1]} {voxels:>11} | {figures}", flush=True)


def _print_accuracy(size: tuple[int, int], views: list[Update]) -> None:
    """Compare what one frame, and nine of the same view, leave in the map with what all of its pixels would."""
    view = views[0]
    fused, true = MapBuilder(Config()), _map_of_all_points(view)
    fused.integrate(view, None)
    found, error_m = _compare(fused.voxels.active.voxels, true)
    for _ in range(8):
        fused.integrate(view, None)
    later, later_error_m = _compare(fused.voxels.active.voxels, true)
    print(
        f"{size[0]:>5}x{size[1]} | {len(true):>7} {found:>9.1%} {1e3 * error_m:>9.2f} mm"
        f" {later:>11.1%} {1e3 * later_error_m:>9.2f} mm"
    )


def _map_of_all_points(view: Update) -> VoxelMap:
    config, prediction = Config().map, view.prediction
    voxels = VoxelMap(config.voxel_size, config.max_voxels)
    chosen = prediction.points_camera[..., 2] <= config.max_range
    points = transform(view.T_map_camera, prediction.points_camera[chosen])
    voxels.integrate(points, prediction.rgb[chosen], prediction.confidence[chosen])
    return voxels


def _compare(found: VoxelMap, true: VoxelMap) -> tuple[float, float]:
    """Return the fraction of voxels in both maps, and the mean distance of their points [m]."""
    one, other = found.state_dict(), true.state_dict()
    _, i, j = np.intersect1d(one["keys"], other["keys"], return_indices=True)
    away = np.linalg.norm(one["mean"][i, :3] - other["mean"][j, :3], axis=1)
    return len(i) / len(true), float(away.mean())


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "?")


if __name__ == "__main__":
    sys.exit(main())
