# SPDX-License-Identifier: Apache-2.0
"""``transforms.json`` in the format of nerfstudio.

Cameras have the axes of OpenGL: x right, y up, z backward. The origin of pixel coordinates is the corner of the first
pixel.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.io.atomic import atomic_write
from ttt3r_ros.io.export.colmap import require_pinholes, to_corner_origin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ttt3r_ros.io.export.colmap import PosedImage
    from ttt3r_ros.types import Float64Array, Intrinsics

T_OPTICAL_OPENGL: Float64Array = np.diag([1.0, -1.0, -1.0, 1.0])


def write_transforms(path: Path, views: Sequence[PosedImage], cloud: Path) -> None:
    """Write pose and camera of every image in the map frame; ``cloud`` is the PLY file of initial points.

    Raises:
        OutputError: an image is distorted, or the file cannot be written.
    """
    require_pinholes(path, views)
    cameras = [_camera(view.intrinsics) for view in views]
    shared = cameras[0] if cameras and all(camera == cameras[0] for camera in cameras) else {}
    content = {
        "camera_model": "OPENCV",
        **shared,
        "ply_file_path": _relative(path, cloud),
        "frames": [
            {**({} if shared else camera), **_frame(path, view)}
            for view, camera in zip(views, cameras, strict=True)
        ],
    }
    with atomic_write(path) as file:
        file.write(f"{json.dumps(content, indent=1)}\n".encode())


def _camera(intrinsics: Intrinsics) -> dict[str, float | int]:
    width, height, fx, fy, cx, cy = to_corner_origin(intrinsics)
    return {"w": width, "h": height, "fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy}


def _frame(path: Path, view: PosedImage) -> dict[str, Any]:
    T_map_opengl = view.T_map_camera @ T_OPTICAL_OPENGL
    return {"file_path": _relative(path, view.image), "transform_matrix": T_map_opengl.tolist()}


def _relative(path: Path, file: Path) -> str:
    return Path(os.path.relpath(file, path.parent)).as_posix()
