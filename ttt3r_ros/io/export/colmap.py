# SPDX-License-Identifier: Apache-2.0
"""COLMAP models as text, the input of Gaussian splatting tools.

COLMAP's poses are world-to-camera in optical axes. Its pixel centers are at half coordinates, ours at whole ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ttt3r_ros.errors import OutputError
from ttt3r_ros.geometry import quat_xyzw_from_rotation, se3_inverse
from ttt3r_ros.io.atomic import atomic_write_together

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ttt3r_ros.mapping.voxel_map import PointCloud
    from ttt3r_ros.types import Float64Array, Intrinsics

PIXEL_CENTER = 0.5  # of the first pixel, with the origin at its corner
Camera = tuple[int, int, float, float, float, float]  # width, height, fx, fy, cx, cy


@dataclass(frozen=True)
class PosedImage:
    """An image file with its pose and camera."""

    name: str  # relative to the folder of images
    T_map_camera: Float64Array  # (4, 4) of the optical camera
    intrinsics: Intrinsics  # of the image file; no distortion
    image: Path


def to_corner_origin(intrinsics: Intrinsics) -> Camera:
    """Return a pinhole camera whose pixel coordinates have their origin at the corner of the first pixel."""
    return (
        intrinsics.width, intrinsics.height, intrinsics.fx, intrinsics.fy,
        intrinsics.cx + PIXEL_CENTER, intrinsics.cy + PIXEL_CENTER,
    )  # fmt: skip


def require_pinholes(path: Path, views: Sequence[PosedImage]) -> None:
    """Raise `OutputError` with the name of the first distorted image."""
    for view in views:
        if any(view.intrinsics.distortion):
            camera = view.intrinsics
            msg = (
                f"cannot write {path}: {view.name} has the distortion {camera.distortion_model} "
                f"{list(camera.distortion)}; expected a rectified image"
            )
            raise OutputError(msg)


def write_colmap(folder: Path, views: Sequence[PosedImage], cloud: PointCloud) -> None:
    """Write cameras.txt, images.txt and points3D.txt, all or none; the world is the map, z up.

    Points have no tracks: they come from depth, not from matched features.

    Raises:
        OutputError: an image is distorted, or a file cannot be written.
    """
    require_pinholes(folder, views)
    cameras = _number_cameras(views)
    contents = (_camera_lines(cameras), _image_lines(views, cameras), _point_lines(cloud))
    paths = [folder / f"{name}.txt" for name in ("cameras", "images", "points3D")]
    with atomic_write_together(*paths) as files:
        for file, lines in zip(files, contents, strict=True):
            file.writelines(f"{line}\n".encode() for line in lines)


def _number_cameras(views: Sequence[PosedImage]) -> dict[Camera, int]:
    """Return the number, from 1, of each distinct camera."""
    distinct = dict.fromkeys(to_corner_origin(view.intrinsics) for view in views)
    return {camera: number for number, camera in enumerate(distinct, start=1)}


def _camera_lines(cameras: dict[Camera, int]) -> Iterator[str]:
    yield "# CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]"
    for (width, height, *pinhole), number in cameras.items():
        yield f"{number} PINHOLE {width} {height} {_join(pinhole)}"


def _image_lines(views: Sequence[PosedImage], cameras: dict[Camera, int]) -> Iterator[str]:
    yield "# IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME"
    yield "# POINTS2D[] as (X, Y, POINT3D_ID)"
    for number, view in enumerate(views, start=1):
        T_camera_map = se3_inverse(view.T_map_camera)
        x, y, z, w = quat_xyzw_from_rotation(T_camera_map[:3, :3])
        pose = _join((w, x, y, z, *T_camera_map[:3, 3]))
        yield f"{number} {pose} {cameras[to_corner_origin(view.intrinsics)]} {view.name}"
        yield ""


def _point_lines(cloud: PointCloud) -> Iterator[str]:
    yield "# POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[] as (IMAGE_ID, POINT2D_IDX)"
    rows = zip(cloud.points.tolist(), cloud.rgb.tolist(), strict=True)
    for number, ((x, y, z), (r, g, b)) in enumerate(rows, start=1):
        yield f"{number} {x:.9g} {y:.9g} {z:.9g} {r} {g} {b} 0"


def _join(values: Sequence[float]) -> str:
    return " ".join(repr(float(value)) for value in values)  # repr: shortest exact decimal
