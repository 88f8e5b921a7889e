# SPDX-License-Identifier: Apache-2.0
"""Rendered datasets: Sintel and Neural RGB-D."""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.errors import SourceError
from ttt3r_ros.geometry import se3_inverse
from ttt3r_ros.io.datasets.common import (
    DatasetSequence,
    glob_in_order,
    has_images,
    image_size,
    number_in_name,
    optional_file,
    pinhole,
    read_matrix,
)
from ttt3r_ros.io.image_files import MM_PER_M, list_images, read_depth_m
from ttt3r_ros.io.image_folder import ImageRecord
from ttt3r_ros.io.sequence import FrameSelection, frame_stamp_ns

if TYPE_CHECKING:
    from pathlib import Path

    from ttt3r_ros.types import Float32Array, Float64Array

_SINTEL_TAG = struct.pack("<f", 202021.25)  # first bytes of .dpt and .cam files
_SINTEL_RATE_HZ = 24.0
_SINTEL_CAMERAS = ("camdata_left", "camdata")
_NRGBD_RATE_HZ = 30.0
_GL_CV = np.diag([1.0, -1.0, -1.0, 1.0])  # axes of OpenGL cameras: x right, y up, z backward


# --- Sintel ------------------------------------------------------------------------------------------


def is_sintel(root: Path) -> bool:
    """Return whether a folder is a sequence of MPI Sintel with its folder of depth or cameras."""
    beside = (_beside(root, name) for name in ("depth", *_SINTEL_CAMERAS))
    return any(root.glob("frame_*.png")) and any(folder is not None for folder in beside)


def open_sintel(root: Path, selection: FrameSelection) -> DatasetSequence:
    """Open PASS/NAME (such as final/alley_2) beside depth/NAME (.dpt) and camdata_left/NAME (.cam)."""
    images = glob_in_order(root, "frame_*.png")
    depths = _beside(root, "depth")
    cameras = next((found for name in _SINTEL_CAMERAS if (found := _beside(root, name))), None)
    size = image_size(root)
    records = []
    for index, image in enumerate(images):
        depth = optional_file(depths / f"{image.stem}.dpt") if depths else None
        camera = optional_file(cameras / f"{image.stem}.cam") if cameras else None
        K, T_world_camera = read_cam(camera) if camera else (None, None)
        intrinsics = pinhole(K, size) if K is not None else None
        stamp_ns = frame_stamp_ns(index, _SINTEL_RATE_HZ)
        records.append(ImageRecord(stamp_ns, image, depth, T_world_camera, intrinsics))
    return DatasetSequence(root, records, selection, read_dpt_m)


def _beside(root: Path, name: str) -> Path | None:
    sequence = root.resolve()
    folder = sequence.parent.parent / name / sequence.name
    return folder if folder.is_dir() else None


def read_dpt_m(path: Path) -> Float32Array:
    """Return the depth (h, w) [m] of a .dpt file: a tag, width and height, then floats.

    Raises:
        SourceError: the file is not a .dpt file, or truncated.
    """
    data = path.read_bytes()
    header = np.frombuffer(data[4:12].ljust(8, b"\0"), "<i4")
    width, height = (int(value) for value in header)
    if data[:4] != _SINTEL_TAG or len(data) != 12 + 4 * width * height:
        msg = f"{path} is not a complete depth file of Sintel ({len(data)} bytes for {width}x{height})"
        raise SourceError(msg)
    return np.frombuffer(data, "<f4", offset=12).reshape(height, width).astype(np.float32)


def read_cam(path: Path) -> tuple[Float64Array, Float64Array]:
    """Return K (3, 3) and T_world_camera (4, 4) of a .cam file: a tag, then K and T_camera_world row by row.

    Raises:
        SourceError: the file is not a .cam file, or truncated.
    """
    data = path.read_bytes()
    if data[:4] != _SINTEL_TAG or len(data) != 4 + 8 * 21:
        msg = (
            f"{path} is not a complete camera file of Sintel ({len(data)} bytes, expected {4 + 8 * 21})"
        )
        raise SourceError(msg)
    numbers = np.frombuffer(data, "<f8", offset=4)
    T_camera_world = np.vstack((numbers[9:].reshape(3, 4), [0.0, 0.0, 0.0, 1.0]))
    return numbers[:9].reshape(3, 3).copy(), se3_inverse(T_camera_world)


# --- Neural RGB-D ------------------------------------------------------------------------------------


def is_nrgbd(root: Path) -> bool:
    """Return whether a folder is a scene of Neural RGB-D."""
    return has_images(root / "images") and (root / "focal.txt").is_file()


def open_nrgbd(root: Path, selection: FrameSelection) -> DatasetSequence:
    """Open images/imgN.png, depth/depthN.png (millimeters), focal.txt, and poses.txt with four rows per image.

    Poses of the OpenGL camera are converted to the optical camera. Rows of NaN are frames without a pose.
    """
    images = list_images(root / "images")
    focal_px = float(read_matrix(root / "focal.txt", 1)[0])
    width, height = image_size(root / "images")
    K = np.array([[focal_px, 0.0, width / 2.0], [0.0, focal_px, height / 2.0], [0.0, 0.0, 1.0]])
    camera = pinhole(K, (width, height))
    truth = optional_file(root / "poses.txt")
    poses = read_matrix(truth, -1, 4, 4) if truth else None
    records = []
    for index, image in enumerate(images):
        number = number_in_name(image)
        if poses is not None and number >= len(poses):
            msg = f"{truth} has {len(poses)} poses, but {image.name} has number {number}"
            raise SourceError(msg)
        pose = None if poses is None else poses[number] @ _GL_CV
        depth = optional_file(root / "depth" / f"depth{number}.png")
        records.append(ImageRecord(frame_stamp_ns(index, _NRGBD_RATE_HZ), image, depth, pose, camera))
    return DatasetSequence(root, records, selection, partial(read_depth_m, units_per_m=MM_PER_M))
