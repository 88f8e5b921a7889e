#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Map the images of a webcam until Ctrl-C: ``python examples/02_webcam.py map.ply [webcam:0 or a video] [frames]``."""

from __future__ import annotations

import sys
from pathlib import Path

from ttt3r_ros.config import Config
from ttt3r_ros.errors import ImageError, NonFiniteError
from ttt3r_ros.io.export.point_cloud import write_ply
from ttt3r_ros.io.sources import SourceOptions, open_source
from ttt3r_ros.model.runtime.loading import load_backend
from ttt3r_ros.pipeline.reconstructor import Reconstructor


def main(target: Path, source: str = "webcam:0", frames: int = 0) -> None:
    config = Config()
    backend, _ = load_backend(config)
    reconstructor = Reconstructor(backend, config)
    try:
        for frame in open_source(source, SourceOptions(max_frames=frames)).frames():
            try:
                x, y, z = reconstructor.step(frame).T_map_camera[:3, 3]
            except (ImageError, NonFiniteError) as error:  # a covered lens, for example
                print(error)
                continue
            print(f"camera at {x:.2f} {y:.2f} {z:.2f} m, {len(reconstructor.map.voxels)} voxels")
    except KeyboardInterrupt:
        print("interrupted")
    cloud = reconstructor.map.voxels.point_cloud()
    write_ply(target, cloud)
    print(f"{len(cloud.points)} points in {target}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3], *(int(word) for word in sys.argv[3:4]))
