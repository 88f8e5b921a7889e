# SPDX-License-Identifier: Apache-2.0
"""Datasets of RGB-D cameras: TUM RGB-D, Bonn, 7-Scenes and ScanNet."""

from __future__ import annotations

import logging
import re
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import orthonormalize
from ttt3r_ros.io.datasets.common import (
    DatasetSequence,
    glob_in_order,
    has_images,
    image_size,
    nearest_index,
    optional_file,
    pinhole,
    read_matrix,
    read_rows,
)
from ttt3r_ros.io.image_files import MM_PER_M, list_images, read_depth_m
from ttt3r_ros.io.image_folder import ImageRecord
from ttt3r_ros.io.sequence import FrameSelection, frame_stamp_ns
from ttt3r_ros.io.text_stamps import parse_stamps_ns
from ttt3r_ros.io.trajectory_files import read_tum
from ttt3r_ros.types import Intrinsics

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ttt3r_ros.types import Float32Array, Float64Array

logger = logging.getLogger(__name__)

_TUM_UNITS_PER_M = 5000.0
_ASSOCIATION_NS = 20_000_000  # as in the tools of the dataset
_RATE_HZ = 30.0
_NO_DEPTH_M = 65.0  # 65535 mm marks pixels without depth
_UNREGISTERED = "no depth.proj.png: true depth is depth.png, which is not registered to the color camera"

# Published color cameras of TUM RGB-D; the images of the third are rectified.
_TUM_CAMERAS = {
    1: ((517.3, 516.5, 318.6, 255.3), (0.2624, -0.9531, -0.0054, 0.0026, 1.1633)),
    2: ((520.9, 521.0, 325.1, 249.7), (0.2312, -0.7849, -0.0033, -0.0001, 0.9172)),
    3: ((535.4, 539.2, 320.1, 247.6), ()),
}
_BONN_CAMERA = (
    (542.822841, 542.576870, 315.593520, 237.756098),
    (0.039903, -0.099343, -0.000730, -0.000144, 0.0),
)
# Bonn records poses of markers on the camera in the axes of the motion capture system. These two published matrices
# convert them. The second one has a scale of 1.06, which is removed from the poses.
_BONN_T_ROS = np.array(
    [[-1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
_BONN_T_MARKER = np.array(
    [
        [1.0157, 0.1828, -0.2389, 0.0113],
        [0.0009, -0.8431, -0.6413, -0.0098],
        [-0.3009, 0.6147, -0.8085, 0.0111],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


# --- TUM RGB-D and Bonn ------------------------------------------------------------------------------


def is_tum(root: Path) -> bool:
    """Return whether a folder has the list of images of TUM RGB-D."""
    return (root / "rgb.txt").is_file()


def is_bonn(root: Path) -> bool:
    """Return whether a folder is of the Bonn dataset: the files of TUM RGB-D, and "bonn" in its name."""
    return is_tum(root) and "bonn" in root.resolve().name.lower()


def open_tum(root: Path, selection: FrameSelection) -> DatasetSequence:
    """Open a folder of TUM RGB-D: rgb.txt, optionally depth.txt and groundtruth.txt.

    Depth and pose are the nearest in time within 20 ms, as in the tools of the dataset.
    """
    match = re.search(r"freiburg([123])", root.resolve().name)
    camera = _kinect(root, *_TUM_CAMERAS[int(match[1])]) if match else None
    return _open_lists(root, selection, camera, lambda T: T)


def open_bonn(root: Path, selection: FrameSelection) -> DatasetSequence:
    """Open a folder of the Bonn RGB-D Dynamic dataset, with poses of the color camera."""
    return _open_lists(root, selection, _kinect(root, *_BONN_CAMERA), bonn_camera_pose)


def bonn_camera_pose(T_recorded: Float64Array) -> Float64Array:
    """Return T_world_camera (4, 4) of a pose (4, 4) in Bonn's groundtruth.txt."""
    T_world_camera: Float64Array = _BONN_T_ROS @ T_recorded @ _BONN_T_ROS @ _BONN_T_MARKER
    return orthonormalize(T_world_camera) if np.isfinite(T_recorded).all() else T_recorded


def _kinect(root: Path, camera: tuple[float, ...], distortion: tuple[float, ...]) -> Intrinsics:
    fx, fy, cx, cy = camera
    model = "plumb_bob" if distortion else ""
    return Intrinsics(fx, fy, cx, cy, *image_size(root / "rgb"), model, distortion)


def _open_lists(
    root: Path,
    selection: FrameSelection,
    camera: Intrinsics | None,
    camera_pose: Callable[[Float64Array], Float64Array],
) -> DatasetSequence:
    depths = _stamped_files(root / "depth.txt") if (root / "depth.txt").is_file() else []
    truth = sorted(read_tum(root / "groundtruth.txt", any_unit=True), key=lambda stamped: stamped[0])
    depth_stamps = [stamp_ns for stamp_ns, _ in depths]
    truth_stamps = [stamp_ns for stamp_ns, _ in truth]
    records = []
    for stamp_ns, image in _stamped_files(root / "rgb.txt"):
        depth = nearest_index(depth_stamps, stamp_ns, _ASSOCIATION_NS)
        pose = nearest_index(truth_stamps, stamp_ns, _ASSOCIATION_NS)
        records.append(
            ImageRecord(
                stamp_ns,
                image,
                optional_file(depths[depth][1]) if depth is not None else None,
                camera_pose(truth[pose][1]) if pose is not None else None,
                camera,
            )
        )
    return DatasetSequence(root, records, selection, partial(read_depth_m, units_per_m=_TUM_UNITS_PER_M))


def _stamped_files(path: Path) -> list[tuple[int, Path]]:
    rows = read_rows(path, None, 2, "timestamp filename")
    stamps_ns = parse_stamps_ns(path, [(line, words[0]) for line, words in rows])
    stamped = [
        (stamp_ns, path.parent / words[1]) for stamp_ns, (_, words) in zip(stamps_ns, rows, strict=True)
    ]
    if any(after < before for before, after in pairwise(stamps_ns)):
        logger.warning("%s: the stamps are not in order; the files are sorted by stamp", path)
    return sorted(stamped)


# --- 7-Scenes ----------------------------------------------------------------------------------------


def is_7scenes(root: Path) -> bool:
    """Return whether a folder is a sequence of 7-Scenes."""
    return any(root.glob("frame-*.color.png"))


def open_7scenes(root: Path, selection: FrameSelection) -> DatasetSequence:
    """Open a sequence of 7-Scenes: frame-N.color.png, .depth.png (millimeters) and .pose.txt.

    The published focal length of 585 px is that of the depth camera. Depth projected into the color camera
    (frame-N.depth.proj.png) has priority; the focal length is then the color camera's 525 px.
    """
    images = glob_in_order(root, "frame-*.color.png")
    projected = any(root.glob("frame-*.depth.proj.png"))
    focal_px = 525.0 if projected else 585.0
    camera = Intrinsics(focal_px, focal_px, 320.0, 240.0, 640, 480)
    records = []
    for index, image in enumerate(images):
        stem = image.name.removesuffix(".color.png")
        pose = optional_file(root / f"{stem}.pose.txt")
        records.append(
            ImageRecord(
                frame_stamp_ns(index, _RATE_HZ),
                image,
                optional_file(root / f"{stem}.depth{'.proj' if projected else ''}.png"),
                read_matrix(pose, 4, 4) if pose else None,
                camera,
            )
        )
    unregistered = not projected and any(record.depth for record in records)
    return DatasetSequence(
        root, records, selection, _depth_7scenes, (_UNREGISTERED,) if unregistered else ()
    )


def _depth_7scenes(path: Path) -> Float32Array:
    depth_m = read_depth_m(path, MM_PER_M)
    depth_m[depth_m > _NO_DEPTH_M] = 0.0
    return depth_m


# --- ScanNet -----------------------------------------------------------------------------------------


def is_scannet(root: Path) -> bool:
    """Return whether a folder is a scene of ScanNet, exported by its SensReader."""
    return has_images(root / "color") and ((root / "pose").is_dir() or (root / "intrinsic").is_dir())


def open_scannet(root: Path, selection: FrameSelection) -> DatasetSequence:
    """Open an exported scene of ScanNet: color/N.jpg, depth/N.png (millimeters), pose/N.txt, intrinsic/.

    Depth has another size than color. Frames without tracking have no pose.
    """
    calibration = optional_file(root / "intrinsic" / "intrinsic_color.txt")
    camera = None
    if calibration is not None:
        camera = pinhole(read_matrix(calibration, 4, 4), image_size(root / "color"))
    records = []
    for index, image in enumerate(list_images(root / "color")):
        pose = optional_file(root / "pose" / f"{image.stem}.txt")
        records.append(
            ImageRecord(
                frame_stamp_ns(index, _RATE_HZ),
                image,
                optional_file(root / "depth" / f"{image.stem}.png"),
                read_matrix(pose, 4, 4) if pose else None,
                camera,
            )
        )
    return DatasetSequence(root, records, selection, partial(read_depth_m, units_per_m=MM_PER_M))
