# SPDX-License-Identifier: Apache-2.0
"""Datasets of drones and cars: EuRoC, KITTI odometry and KITTI depth."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.errors import ConfigError, SourceError
from ttt3r_ros.geometry import interpolate_pose, pose_matrix
from ttt3r_ros.images.lens_models import with_ros_lens
from ttt3r_ros.io.camera_files import finite_number, parse_sensor
from ttt3r_ros.io.datasets.common import (
    DatasetSequence,
    first_image_size,
    has_images,
    image_size,
    number_in_name,
    optional_file,
    parse_rows,
    pinhole,
    read_matrix,
    read_rows,
)
from ttt3r_ros.io.image_files import list_images, read_depth_m
from ttt3r_ros.io.image_folder import ImageRecord
from ttt3r_ros.io.sequence import FIRST_STAMP_NS, FrameSelection, frame_stamp_ns
from ttt3r_ros.io.text_stamps import parse_stamps_ns
from ttt3r_ros.text_files import read_yaml

if TYPE_CHECKING:
    from pathlib import Path

    from ttt3r_ros.io.sequence import StampedPose
    from ttt3r_ros.types import Float64Array, Intrinsics

_KITTI_UNITS_PER_M = 256.0
_KITTI_RATE_HZ = 10.0
_KITTI_CAMERAS = (2, 0, 3, 1)  # color before gray, left before right
_EUROC_TRUTH = ("state_groundtruth_estimate0", "mocap0")  # EuRoC, TUM VI
_MAX_GAP_NS = 100_000_000  # between two poses that are interpolated


# --- EuRoC -------------------------------------------------------------------------------------------


def is_euroc(root: Path) -> bool:
    """Return whether a folder is a sequence in the ASL format of EuRoC, or its mav0."""
    return (_mav(root) / "cam0" / "data.csv").is_file()


def open_euroc(root: Path, selection: FrameSelection) -> DatasetSequence:
    """Open mav0: cam0/data.csv, cam0/sensor.yaml, state_groundtruth_estimate0/data.csv.

    Poses of the body are interpolated at the stamps of the images and converted to the camera by T_BS.
    """
    mav = _mav(root)
    sensor = mav / "cam0" / "sensor.yaml"
    T_body_camera, camera = _euroc_camera(sensor) if sensor.is_file() else (None, None)
    truth = _euroc_truth(mav) if T_body_camera is not None else []
    stamps_ns = np.array([stamp_ns for stamp_ns, _ in truth], np.int64)
    path = mav / "cam0" / "data.csv"
    rows = read_rows(path, ",", 2, "timestamp [ns],filename")
    image_stamps_ns = parse_stamps_ns(path, [(line, words[0]) for line, words in rows], "ns")
    records = []
    for stamp_ns, (_, (_, name)) in zip(image_stamps_ns, rows, strict=True):
        T_world_body = _interpolate(truth, stamps_ns, stamp_ns)
        pose = None
        if T_world_body is not None and T_body_camera is not None:
            pose = T_world_body @ T_body_camera
        image = mav / "cam0" / "data" / name
        records.append(ImageRecord(stamp_ns, image, T_world_camera=pose, intrinsics=camera))
    return DatasetSequence(root, records, selection)


def _mav(root: Path) -> Path:
    return root / "mav0" if (root / "mav0").is_dir() else root


def _euroc_camera(path: Path) -> tuple[Float64Array, Intrinsics]:
    """Return T_body_camera (4, 4) and the camera of a sensor.yaml."""
    sensor = read_yaml(path)
    try:
        T_body_camera = np.reshape([finite_number(value) for value in sensor["T_BS"]["data"]], (4, 4))
        calibration = parse_sensor(sensor)
        raw = calibration.intrinsics(calibration.width, calibration.height, is_rectified=False)
        return T_body_camera, with_ros_lens(raw)
    except ConfigError as error:
        msg = f"{path}: {error}"
        raise SourceError(msg) from error
    except (KeyError, TypeError, ValueError) as error:
        msg = (
            f"{path}: expected T_BS, intrinsics of four, resolution of two, and a distortion_model with its "
            f"coefficients ({error!r})"
        )
        raise SourceError(msg) from error


def _euroc_truth(mav: Path) -> list[StampedPose]:
    """Return stamped poses T_world_body, sorted by time."""
    path = next(
        (found for name in _EUROC_TRUTH if (found := optional_file(mav / name / "data.csv"))), None
    )
    if path is None:
        return []
    expected = "timestamp [ns], p_x, p_y, p_z, q_w, q_x, q_y, q_z"
    rows = read_rows(path, ",", 8, expected)
    poses = parse_rows(path, rows, _euroc_pose, expected)
    stamps_ns = parse_stamps_ns(path, [(line, words[0]) for line, words in rows], "ns")
    return sorted(zip(stamps_ns, poses, strict=True), key=lambda stamped: stamped[0])


def _euroc_pose(row: list[str]) -> Float64Array:
    return pose_matrix(np.array([float(word) for word in row[1:]]))


def _interpolate(
    truth: list[StampedPose], stamps_ns: np.ndarray[Any, np.dtype[np.int64]], stamp_ns: int
) -> Float64Array | None:
    """Return the pose (4, 4) at a stamp between two recorded ones; None across a gap or outside of them."""
    after = int(np.searchsorted(stamps_ns, stamp_ns))
    if after < len(truth) and truth[after][0] == stamp_ns:
        return truth[after][1]
    if not 0 < after < len(truth):
        return None
    (begin_ns, T_begin), (end_ns, T_end) = truth[after - 1 : after + 1]
    if end_ns - begin_ns > _MAX_GAP_NS:
        return None
    if not np.isfinite((T_begin, T_end)).all():
        return np.full((4, 4), np.nan)  # no tracking
    return interpolate_pose(T_begin, T_end, (stamp_ns - begin_ns) / (end_ns - begin_ns))


# --- KITTI odometry ----------------------------------------------------------------------------------


def is_kitti(root: Path) -> bool:
    """Return whether a folder is a sequence of KITTI odometry or of KITTI depth."""
    return _is_odometry(root) or _depth_folders(root) is not None


def open_kitti(root: Path, selection: FrameSelection) -> DatasetSequence:
    """Open a sequence of KITTI odometry (`_open_odometry`) or of KITTI depth (`_open_depth`)."""
    if _is_odometry(root):
        return _open_odometry(root, selection)
    return _open_depth(root, selection)


def _is_odometry(root: Path) -> bool:
    return (root / "times.txt").is_file() and _kitti_camera(root) is not None


def _kitti_camera(root: Path) -> int | None:
    return next((k for k in _KITTI_CAMERAS if has_images(root / f"image_{k}")), None)


def _open_odometry(root: Path, selection: FrameSelection) -> DatasetSequence:
    """Open sequences/NN: image_2 (or another camera), times.txt, calib.txt, and ../../poses/NN.txt.

    Recorded poses are those of the left gray camera; the calibration converts them to the camera of the images.
    """
    number = _kitti_camera(root)
    folder = root / f"image_{number}"
    files = list_images(folder)
    rows = read_rows(root / "times.txt", None, 1, "time [s]")
    times_ns = parse_stamps_ns(root / "times.txt", [(line, words[0]) for line, words in rows])
    T_camera0_camera, camera = np.eye(4), None
    if (root / "calib.txt").is_file():
        P = _projection(root / "calib.txt", f"P{number}")
        T_camera0_camera[:3, 3] = -np.linalg.solve(P[:, :3], P[:, 3])
        camera = pinhole(P, image_size(folder))
    poses = _kitti_poses(root)
    records = []
    for file in files:
        frame = number_in_name(file)
        if frame >= len(times_ns) or (poses is not None and frame >= len(poses)):
            msg = f"{root}: {file.name} has no row in times.txt or in the poses"
            raise SourceError(msg)
        stamp_ns = FIRST_STAMP_NS + times_ns[frame]
        pose = None if poses is None else poses[frame] @ T_camera0_camera
        records.append(ImageRecord(stamp_ns, file, T_world_camera=pose, intrinsics=camera))
    return DatasetSequence(root, records, selection)


def _kitti_poses(root: Path) -> Float64Array | None:
    """Return T_world_camera0 (n, 4, 4); the world is the first frame of the left gray camera."""
    sequence = root.resolve()
    candidates = (root / "poses.txt", sequence.parent.parent / "poses" / f"{sequence.name}.txt")
    path = next((found for candidate in candidates if (found := optional_file(candidate))), None)
    if path is None:
        return None
    upper = read_matrix(path, -1, 3, 4)
    return np.concatenate((upper, np.tile([[[0.0, 0.0, 0.0, 1.0]]], (len(upper), 1, 1))), axis=1)


def _projection(path: Path, key: str) -> Float64Array:
    """Return the projection matrix (3, 4) of a key such as P2."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == key:
            try:
                return np.array(numbers.split(), np.float64).reshape(3, 4)
            except ValueError as error:
                msg = f"{path}: expected '{key}: 12 numbers', found '{line}'"
                raise SourceError(msg) from error
    msg = f"{path} has no row {key}"
    raise SourceError(msg)


# --- KITTI depth -------------------------------------------------------------------------------------


def _depth_folders(root: Path) -> tuple[Path, Path] | None:
    """Return the folders of images and of depth images, in one of three structures."""
    sequence = root.resolve()
    structures = (
        (root / "image", root / "groundtruth_depth"),  # val_selection_cropped
        (root, sequence.parent.parent / "groundtruth_depth_gathered" / sequence.name),  # one drive of it
        (root / "image_02" / "data", root / "proj_depth" / "groundtruth" / "image_02"),  # raw drive
    )
    return next((pair for pair in structures if all(has_images(folder) for folder in pair)), None)


def _open_depth(root: Path, selection: FrameSelection) -> DatasetSequence:
    """Open images with depth of the KITTI depth benchmark (value / 256 m), at 10 Hz, without poses.

    The folder is val_selection_cropped, or image_gathered/DRIVE with groundtruth_depth_gathered/DRIVE, or a raw drive
    with image_02/data and proj_depth/groundtruth/image_02.
    """
    folders = _depth_folders(root)
    if folders is None:
        msg = f"{root} is not a sequence of KITTI depth"
        raise SourceError(msg)
    images, depths = folders
    depth_of_name = {
        file.name.replace("groundtruth_depth", "image"): file for file in list_images(depths)
    }
    common_camera = _raw_camera(root, images)
    records = []
    for index, image in enumerate(list_images(images)):
        matrix = optional_file(root / "intrinsics" / f"{image.stem}.txt")
        camera = common_camera
        if matrix:
            camera = pinhole(read_matrix(matrix, 3, 3), first_image_size([image], images))
        depth = depth_of_name.get(image.name)
        records.append(
            ImageRecord(frame_stamp_ns(index, _KITTI_RATE_HZ), image, depth, intrinsics=camera)
        )
    if not any(record.depth for record in records):
        msg = f"{root}: no image in {images} has a depth of the same name in {depths}"
        raise SourceError(msg)
    read_depth = partial(read_depth_m, units_per_m=_KITTI_UNITS_PER_M)
    return DatasetSequence(root, records, selection, read_depth)


def _raw_camera(root: Path, images: Path) -> Intrinsics | None:
    """Return the camera of a raw drive, whose calibration is in its parent folder."""
    calibration = optional_file(root.resolve().parent / "calib_cam_to_cam.txt")
    if calibration is None:
        return None
    return pinhole(_projection(calibration, "P_rect_02"), image_size(images))
