#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Replace the network: a backend needs `weights_id`, `initial_state` and `step`.

This one returns true depth and poses of the procedural room: the map of a perfect network. Writes the map and a
figure beside it: ``python examples/03_custom_backend.py room.ply``
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.config import Config
from ttt3r_ros.geometry import se3_inverse, unproject
from ttt3r_ros.io.export.point_cloud import write_ply
from ttt3r_ros.pipeline.reconstructor import Reconstructor
from ttt3r_ros.synthetic.room import ProceduralRoom
from ttt3r_ros.types import ImageGeometry, Prediction
from ttt3r_ros.viewer.preview import FrameSample, RunPreview, write_preview

if TYPE_CHECKING:
    from ttt3r_ros.types import UInt8Array


class GroundTruthBackend:
    """Returns the room's true depth and pose; its state is (next frame, first frame of the segment)."""

    weights_id = "ground truth"

    def __init__(self, room: ProceduralRoom) -> None:
        self._room = room
        self._next = 0

    def initial_state(self) -> tuple[int, int]:
        """Start a segment at the last frame of the previous one."""
        return (max(0, self._next - 1),) * 2

    def step(self, rgb: UInt8Array, state: tuple[int, int]) -> tuple[Prediction, tuple[int, int]]:
        """Return the true depth and the true motion since the segment's first frame."""
        index, first = state
        self._next = index + 1
        rendered = self._room.render(index)
        height, width = rendered.depth_m.shape
        prediction = Prediction(
            points_camera=unproject(rendered.depth_m, self._room.intrinsics),
            confidence=np.full((height, width), 10.0, np.float32),
            T_segment_camera=se3_inverse(self._room.T_world_camera(first)) @ rendered.T_world_camera,
            rgb=rgb,
            geometry=ImageGeometry(width, height, width, height, 0, 0, width, height),
        )
        return prediction, (index + 1, first)


def main(target: Path, frames: int = 120) -> None:
    room = ProceduralRoom(frames=frames)
    reconstructor = Reconstructor(GroundTruthBackend(room), Config(reset_interval=25))
    for frame in room.frames():
        reconstructor.step(frame)
    cloud = reconstructor.map.voxels.point_cloud()
    write_ply(target, cloud)
    samples = [room.render(round(share * (frames - 1))) for share in (0.1, 0.5, 0.9)]
    _, poses = reconstructor.trajectory.poses()
    run = RunPreview(
        title=f"the procedural room, mapped from true depth and pose ({frames} frames, state reset every 25)",
        cloud=cloud,
        voxel_size_m=Config().map.voxel_size,
        positions=poses[:, :3],
        true_positions=np.empty((0, 3)),
        samples=[FrameSample("input", sample.rgb, sample.depth_m) for sample in samples],
    )
    write_preview(target.with_suffix(".png"), run)
    print(f"{len(cloud.points)} points in {target}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(int(word) for word in sys.argv[2:3]))
