# SPDX-License-Identifier: Apache-2.0
"""Data sets of depth cameras in rooms: TUM RGB-D, Bonn, 7-Scenes and ScanNet."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.geometry import orthonormalize
from ttt3r_ros.io.datasets.common import (
    DatasetSequence,
    existing,
    glob_in_order,
    has_images,
    image_size,
    nearest,
    parsed,
    pinhole,
    read_matrix,
    rows,
)
from ttt3r_ros.io.image_files import MM_PER_M, list_images, read_depth_m
from ttt3r_ros.io.image_folder import ImageRecord
from ttt3r_ros.io.sequence import FrameSelection, frame_stamp_ns
from ttt3r_ros.io.trajectory_files import parse_stamp_ns, read_tum
from ttt3r_ros.types import Intrinsics

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ttt3r_ros.types import Float32Array, Float64Array

_TUM_UNITS_PER_M = 5000.0
_ASSOCIATION_NS = 20_000_000  # as the tools of the data set have it
_RATE_HZ = 30.0
_NO_DEPTH_M = 65.0  # 65535 mm marks pixels without depth
_UNREGISTERED = "no depth.proj.png: true depth is depth.png, which is not registered to the color camera"

# Color cameras of TUM RGB-D as published with it; the images of the third came out undistorted.
_TUM_CAMERAS = {
    1: ((517.3, 516.5, 318.6, 255.3), (0.2624, -0.9531, -0.0054, 0.0026, 1.1633)),
    2: ((520.9, 521.0, 325.1, 249.7), (0.2312, -0.7849, -0.0033, -0.0001, 0.9172)),
    3: ((535.4, 539.2, 320.1, 247.6), ()),
}
_BONN_CAMERA = (
    (542.822841, 542.576870, 315.593520, 237.756098),
    (0.039903, -0.099343, -0.000730, -0.000144, 0.0),
)
# The poses of Bonn are those of markers on the camera, in a motion capture system with other axes; these two
# are published with it. The second also scales (by 1.06), which is no part of a pose.
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
    """Tell whether a folder has the list of images that TUM RGB-D comes with."""
    return (root / "rgb.txt").is_file()


def is_bonn(root: Path) -> bool:
    """Tell whether a folder is one of Bonn: that of TUM RGB-D under Bonn's name."""
    return is_tum(root) and "bonn" in root.resolve().name.lower()


def open_tum(root: Path, selection: FrameSelection) -> DatasetSequence:
    """Open a folder of TUM RGB-D: rgb.txt, and depth.txt and groundtruth.txt where there are.

    Depth and pose are the nearest in time within 20 ms, as the tools of the data set associate them.
    """
    match = re.search(r"freiburg([123])", root.resolve().name)
    camera = _kinect(root, *_TUM_CAMERAS[int(match[1])]) if match else None
    return _listed(root, selection, camera, lambda T: T)


def open_bonn(root: Path, selection: FrameSelection) -> DatasetSequence:
    """Open a folder of the Bonn RGB-D dynamic data set; its poses become those of the color camera."""
    return _listed(root, selection, _kinect(root, *_BONN_CAMERA), bonn_camera_pose)


def bonn_camera_pose(T_recorded: Float64Array) -> Float64Array:
    """Return T_world_camera (4, 4) of a pose as it stands in Bonn's groundtruth.txt."""
    T_world_camera: Float64Array = _BONN_T_ROS @ T_recorded @ _BONN_T_ROS @ _BONN_T_MARKER
    return orthonormalize(T_world_camera) if np.isfinite(T_recorded).all() else T_recorded


def _kinect(root: Path, camera: tuple[float, ...], distortion: tuple[float, ...]) -> Intrinsics:
    fx, fy, cx, cy = camera
    model = "plumb_bob" if distortion else ""
    return Intrinsics(fx, fy, cx, cy, *image_size(root / "rgb"), model, distortion)


def _listed(
    root: Path,
    selection: FrameSelection,
    camera: Intrinsics | None,
    camera_pose: Callable[[Float64Array], Float64Array],
) -> DatasetSequence:
    depths = _stamped_files(root / "depth.txt") if (root / "depth.txt").is_file() else []
    truth = sorted(read_tum(root / "groundtruth.txt"), key=lambda stamped: stamped[0])
    depth_stamps = [stamp_ns for stamp_ns, _ in depths]
    truth_stamps = [stamp_ns for stamp_ns, _ in truth]
    views = []
    for stamp_ns, image in _stamped_files(root / "rgb.txt"):
        depth = nearest(depth_stamps, stamp_ns, _ASSOCIATION_NS)
        pose = nearest(truth_stamps, stamp_ns, _ASSOCIATION_NS)
        views.append(
            ImageRecord(
                stamp_ns,
                image,
                existing(depths[depth][1]) if depth is not None else None,
                camera_pose(truth[pose][1]) if pose is not None else None,
                camera,
            )
        )
    return DatasetSequence(root, views, selection, partial(read_depth_m, units_per_m=_TUM_UNITS_PER_M))


def _stamped_files(listing: Path) -> list[tuple[int, Path]]:
    expected = "timestamp filename"
    table = rows(listing, None, 2, expected)
    return sorted(
        parsed(listing, table, lambda row: (parse_stamp_ns(row[0]), listing.parent / row[1]), expected)
    )


# --- 7-Scenes ----------------------------------------------------------------------------------------


def is_7scenes(root: Path) -> bool:
    """Tell whether a folder is a sequence of 7-Scenes."""
    return any(root.glob("frame-*.color.png"))


def open_7scenes(root: Path, selection: FrameSelection) -> DatasetSequence:
    """Open a sequence of 7-Scenes: frame-N.color.png, .depth.png (millimeters) and .pose.txt.

    The published focal length of 585 is that of the depth camera. Where depth was projected into the color camera
    (frame-N.depth.proj.png), that is what is read, with the color camera's 525.
    """
    images = glob_in_order(root, "frame-*.color.png")
    projected = any(root.glob("frame-*.depth.proj.png"))
    focal_px = 525.0 if projected else 585.0
    camera = Intrinsics(focal_px, focal_px, 320.0, 240.0, 640, 480)
    views = []
    for index, image in enumerate(images):
        stem = image.name.removesuffix(".color.png")
        pose = existing(root / f"{stem}.pose.txt")
        views.append(
            ImageRecord(
                frame_stamp_ns(index, _RATE_HZ),
                image,
                existing(root / f"{stem}.depth{'.proj' if projected else ''}.png"),
                read_matrix(pose, 4, 4) if pose else None,
                camera,
            )
        )
    unregistered = not projected and any(view.depth for view in views)
    return DatasetSequence(
        root, views, selection, _depth_7scenes, (_UNREGISTERED,) if unregistered else ()
    )


def _depth_7scenes(path: Path) -> Float32Array:
    depth_m = read_depth_m(path, MM_PER_M)
    depth_m[depth_m > _NO_DEPTH_M] = 0.0
    return depth_m


# --- ScanNet -----------------------------------------------------------------------------------------


def is_scannet(root: Path) -> bool:
    """Tell whether a folder is a scene of ScanNet, as its reader exports it."""
    return has_images(root / "color") and ((root / "pose").is_dir() or (root / "intrinsic").is_dir())


def open_scannet(root: Path, selection: FrameSelection) -> DatasetSequence:
    """Open an exported scene of ScanNet: color/N.jpg, depth/N.png (millimeters), pose/N.txt, intrinsic/.

    The depth has a size of its own; frames that were not tracked have no pose.
    """
    calibration = existing(root / "intrinsic" / "intrinsic_color.txt")
    camera = None
    if calibration is not None:
        camera = pinhole(read_matrix(calibration, 4, 4), image_size(root / "color"))
    views = []
    for index, image in enumerate(list_images(root / "color")):
        pose = existing(root / "pose" / f"{image.stem}.txt")
        views.append(
            ImageRecord(
                frame_stamp_ns(index, _RATE_HZ),
                image,
                existing(root / "depth" / f"{image.stem}.png"),
                read_matrix(pose, 4, 4) if pose else None,
                camera,
            )
        )
    return DatasetSequence(root, views, selection, partial(read_depth_m, units_per_m=MM_PER_M))
