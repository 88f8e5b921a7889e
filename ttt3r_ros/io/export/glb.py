# SPDX-License-Identifier: Apache-2.0
"""Map and camera path as binary glTF, for viewers of 3D models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.errors import OutputError
from ttt3r_ros.io.atomic import atomic_write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ttt3r_ros.mapping.voxel_map import PointCloud
    from ttt3r_ros.types import Float64Array

# glTF has y up: x of the map stays x, z becomes y.
T_GLTF_MAP: Float64Array = np.array(
    [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
_PATH_RGBA = (255, 120, 0, 255)


def write_glb(path: Path, cloud: PointCloud, T_map_camera: Sequence[Float64Array]) -> None:
    """Write the points and, as a line, the path of the camera (N poses of (4, 4)).

    Raises:
        OutputError: trimesh is not installed, there are no points and poses, or the file cannot be written.
    """
    trimesh = _trimesh(path)
    if not len(cloud.points) and not len(T_map_camera):
        msg = f"cannot write {path}: there are no points and no poses"
        raise OutputError(msg)
    scene = trimesh.Scene()
    parts = {"points": _points(trimesh, cloud), "camera_path": _line(trimesh, T_map_camera)}
    for name, part in parts.items():
        if part is not None:
            scene.add_geometry(part, node_name=name, geom_name=name, transform=T_GLTF_MAP)
    with atomic_write(path) as file:
        file.write(scene.export(file_type="glb"))


def _trimesh(path: Path) -> Any:
    try:
        import trimesh  # noqa: PLC0415 - an optional dependency
        import trimesh.path  # noqa: PLC0415
    except ImportError as error:
        msg = f"cannot write {path}: it needs the module {error.name}: pip install 'ttt3r_ros[run]'"
        raise OutputError(msg) from error
    return trimesh


def _points(trimesh: Any, cloud: PointCloud) -> Any:
    if not len(cloud.points):
        return None
    opaque = np.full((len(cloud.rgb), 1), 255, np.uint8)
    return trimesh.PointCloud(cloud.points, colors=np.hstack((cloud.rgb, opaque)))


def _line(trimesh: Any, T_map_camera: Sequence[Float64Array]) -> Any:
    if not len(T_map_camera):
        return None
    positions = np.array([T[:3, 3] for T in T_map_camera])
    # One pose is a line of zero length.
    order = np.arange(len(positions)) if len(positions) > 1 else np.array([0, 0])
    line = trimesh.path.entities.Line(order)
    return trimesh.path.Path3D([line], vertices=positions, colors=[_PATH_RGBA], process=False)
