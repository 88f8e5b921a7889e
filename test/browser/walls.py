# SPDX-License-Identifier: Apache-2.0
"""A small run of three frames, each in front of a wall of another color, and a page that shows it."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ttt3r_ros.geometry import T_BODY_OPTICAL, pose_row_xyzw
from ttt3r_ros.io.export.point_cloud import write_ply
from ttt3r_ros.io.frame_records import FrameRecord, write_frames
from ttt3r_ros.io.image_files import MM_PER_M
from ttt3r_ros.io.run_folder import CONFIDENCE_SCALE, FRAMES, MAP, RUN, TRAJECTORY
from ttt3r_ros.io.trajectory_files import write_tum
from ttt3r_ros.mapping.voxel_map import PointCloud
from ttt3r_ros.viewer.replay import Replay, open_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEIGHT, WIDTH, FOCAL = 48, 64, 50.0
DEPTH_M = 2.0
COLORS = ((255, 0, 255), (0, 255, 0), (0, 90, 255))
CONFIDENCES = (2.5, 7.0, 20.0)
POSITIONS = ((0.0, 2.7, 1.0), (0.0, 0.0, 1.0), (0.0, -2.7, 1.0))  # left to right, facing forward


def poses() -> np.ndarray:
    """Return T_map_camera (3, 4, 4)."""
    T = np.repeat(T_BODY_OPTICAL[None], len(POSITIONS), axis=0).copy()
    T[:, :3, 3] = POSITIONS
    return T


def write_walls(folder: Path, *, images: bool = True) -> Path:
    """Write a run folder; without images, only a trajectory and a magenta map."""
    stamps_ns = [10**9 * (index + 1) for index in range(len(POSITIONS))]
    write_tum(folder / TRAJECTORY, stamps_ns, pose_row_xyzw(poses()))
    if images:
        (folder / RUN).write_text(
            json.dumps({"settings": {"map.voxel_size": 0.05, "map.min_confidence": 1.5}})
        )
        write_frames(
            folder / FRAMES, [_record(index, stamp_ns) for index, stamp_ns in enumerate(stamps_ns)]
        )
        for index in range(len(POSITIONS)):
            _write_images(folder, index)
    else:
        y, z = np.meshgrid(np.linspace(-1, 1, 40), np.linspace(0, 2, 40))
        points = np.stack((np.full(y.size, 2.0), y.ravel(), z.ravel()), axis=1).astype(np.float32)
        write_ply(folder / MAP, PointCloud(points, np.tile(np.uint8(COLORS[0]), (y.size, 1))))
    return folder


def _record(index: int, stamp_ns: int) -> FrameRecord:
    camera = {
        "fx": FOCAL,
        "fy": FOCAL,
        "cx": WIDTH / 2,
        "cy": HEIGHT / 2,
        "width": WIDTH,
        "height": HEIGHT,
    }
    return FrameRecord(index, stamp_ns, map_id=0, segment=int(index == 2), **camera)


def _write_images(folder: Path, index: int) -> None:
    rgb = np.full((HEIGHT, WIDTH, 3), COLORS[index], np.uint8)
    depth = np.full((HEIGHT, WIDTH), DEPTH_M * MM_PER_M, np.uint16)
    confidence = np.full((HEIGHT, WIDTH), CONFIDENCES[index] * CONFIDENCE_SCALE, np.uint16)
    images = {
        "rgb": (rgb[..., ::-1], "jpg"),
        "depth": (depth, "png"),
        "confidence": (confidence, "png"),
    }
    for kind, (image, suffix) in images.items():
        (folder / kind).mkdir(exist_ok=True)
        assert cv2.imwrite(str(folder / kind / f"{index:06d}.{suffix}"), image)


@contextmanager
def serve_run(folder: Path) -> Iterator[Replay]:
    """Serve the page of a run on a free port, updated by a thread."""
    replay, closing = Replay(open_run(folder), "127.0.0.1", 0), threading.Event()
    thread = threading.Thread(target=replay.run, args=(closing,))
    thread.start()
    try:
        yield replay
    finally:
        closing.set()
        thread.join()
