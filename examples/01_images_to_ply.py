#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Map a folder of images without ROS: ``python examples/01_images_to_ply.py DIR map.ply [weights]``."""

from __future__ import annotations

import sys
from pathlib import Path

from ttt3r_ros.config import Config
from ttt3r_ros.io.export.point_cloud import write_ply
from ttt3r_ros.io.image_folder import ImageFolder
from ttt3r_ros.model.runtime.loading import load_backend
from ttt3r_ros.pipeline.reconstructor import Reconstructor


def main(folder: Path, target: Path, weights: str = "") -> None:
    config = Config(model_path=weights)
    backend, facts = load_backend(config)
    reconstructor = Reconstructor(backend, config)
    for frame in ImageFolder(folder).frames():
        update = reconstructor.step(frame)
        x, y, z = update.T_map_camera[:3, 3]
        print(f"{frame.stamp_ns} camera at {x:.2f} {y:.2f} {z:.2f} m")
    cloud = reconstructor.map.voxels.point_cloud()
    write_ply(target, cloud)
    print(f"{len(cloud.points)} points in {target}; weights: {facts['weights']}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:4])
