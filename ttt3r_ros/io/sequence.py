# SPDX-License-Identifier: Apache-2.0
"""Recorded image sequences: folders and videos, with ground truth where there is some."""

from __future__ import annotations

import json
import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

from ttt3r_ros.errors import SourceError
from ttt3r_ros.geometry import pose_matrix
from ttt3r_ros.types import Frame, Intrinsics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from ttt3r_ros.types import Float32Array, Float64Array, UInt8Array

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
CAMERA_FRAME = "camera_optical_frame"
_MILLIMETRES = 1000.0
_FIRST_STAMP_NS = 1_000_000_000  # a stamp of zero means "latest" to TF

StampedPose = tuple[int, "Float64Array"]  # (stamp_ns, T_world_camera)


class Sequence(Protocol):
    """Something that yields frames, maybe with ground truth."""

    def __len__(self) -> int:
        """Return the number of frames, 0 if it is not known beforehand."""
        ...

    def frames(self) -> Iterator[Frame]:
        """Read the frames in order."""
        ...

    def ground_truth(self) -> list[StampedPose]:
        """Return stamped optical camera poses T_world_camera; empty if there are none."""
        ...


class ImageFolder:
    """A folder of images in the order of their names.

    Also takes a folder with ``rgb/`` and, beside it, ``groundtruth.txt`` (TUM format, row k for frame k, whose
    times then are the stamps), ``camera.json`` (fx, fy, cx, cy, width, height, depth_scale) and ``depth/`` (16 bit
    PNG of the same name as the image, metres = value / depth_scale, 0: none; not every frame needs one).
    """

    def __init__(self, path: Path, rate_hz: float = 10.0) -> None:
        if not path.is_dir():
            msg = f"{path} is not a folder of images"
            raise SourceError(msg)
        self._root = path
        self._files = _image_files(path / "rgb" if (path / "rgb").is_dir() else path)
        if not self._files:
            msg = f"{path} holds no images ({', '.join(IMAGE_SUFFIXES)})"
            raise SourceError(msg)
        self._rate_hz = rate_hz
        camera = _read_camera(path / "camera.json")
        self._intrinsics = _intrinsics(camera, path / "camera.json") if camera is not None else None
        self._depth_scale = _depth_scale(camera or {}, path / "camera.json")
        self._truth = read_tum(path / "groundtruth.txt")
        if self._truth and len(self._truth) != len(self._files):
            msg = f"{path}: {len(self._files)} images, but {len(self._truth)} rows in groundtruth.txt"
            raise SourceError(msg)

    def __len__(self) -> int:
        return len(self._files)

    def frames(self) -> Iterator[Frame]:
        """Read the frames in order; a file that is no image is left out with a warning that names it.

        Raises:
            SourceError: none of the files is an image.
        """
        readable = 0
        for index, file in enumerate(self._files):
            picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
            if picture is None:
                logger.warning("%s cannot be read as an image; it is left out", file)
                continue
            readable += 1
            yield Frame(self._stamp_ns(index), CAMERA_FRAME, _rgb(picture), self._intrinsics)

        if not readable:
            msg = f"{self._root}: none of {len(self._files)} files can be read as an image"
            raise SourceError(msg)

    def ground_truth(self) -> list[StampedPose]:
        """Return the poses of groundtruth.txt."""
        return self._truth

    def true_depth_m(self, stamp_ns: int) -> Float32Array | None:
        """Return the measured depth (h, w) of the frame of a stamp, 0 where there is none."""
        index = self._index_of_stamp.get(stamp_ns)
        path = self._root / "depth" / f"{self._files[index].stem}.png" if index is not None else None
        if path is None or not path.is_file():
            return None
        raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if raw is None or raw.ndim != 2 or raw.dtype != np.uint16:
            msg = f"{path} is not a depth image of one channel of 16 bits"
            raise SourceError(msg)
        return np.asarray(raw, np.float32) / np.float32(self._depth_scale)

    @cached_property
    def _index_of_stamp(self) -> dict[int, int]:
        return {self._stamp_ns(index): index for index in range(len(self))}

    def _stamp_ns(self, index: int) -> int:
        return self._truth[index][0] if self._truth else _stamp_at(index, self._rate_hz)


class Video:
    """A video file, decoded from front to back."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.is_file():
            msg = f"{path} is not a file"
            raise SourceError(msg)
        capture = self._opened()
        self._count = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self._rate_hz = capture.get(cv2.CAP_PROP_FPS) or 30.0
        capture.release()

    def __len__(self) -> int:
        return self._count

    def frames(self) -> Iterator[Frame]:
        """Decode the frames in order."""
        capture = self._opened()
        try:
            index = 0
            while True:
                there, picture = capture.read()
                if not there:
                    break
                yield Frame(_stamp_at(index, self._rate_hz), CAMERA_FRAME, _rgb(picture))
                index += 1
        finally:
            capture.release()
        if not index:
            msg = f"{self._path} holds no frame that can be decoded"
            raise SourceError(msg)

    def ground_truth(self) -> list[StampedPose]:
        """Return nothing: a video has no poses."""
        return []

    def _opened(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self._path))
        if not capture.isOpened():
            msg = f"{self._path} cannot be opened as a video"
            raise SourceError(msg)
        return capture


def _image_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)


def _rgb(bgr: NDArray[Any]) -> UInt8Array:
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _stamp_at(index: int, rate_hz: float) -> int:
    return _FIRST_STAMP_NS + round(index * 1e9 / rate_hz)


def _read_camera(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        camera = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _camera_error(path, error) from error
    if not isinstance(camera, dict):
        raise _camera_error(path, TypeError(f"{camera!r} is no object"))
    return camera


def _intrinsics(camera: dict[str, Any], path: Path) -> Intrinsics:
    try:
        fx, fy, cx, cy = (float(camera[key]) for key in ("fx", "fy", "cx", "cy"))
        return Intrinsics(fx, fy, cx, cy, int(camera["width"]), int(camera["height"]))
    except (ValueError, KeyError, TypeError) as error:
        raise _camera_error(path, error) from error


def _depth_scale(camera: dict[str, Any], path: Path) -> float:
    value = camera.get("depth_scale", _MILLIMETRES)
    if not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        msg = f"{path}: depth_scale is {value!r}; expected units per metre, above 0"
        raise SourceError(msg)
    return float(value)


def _camera_error(path: Path, problem: object) -> SourceError:
    msg = f"{path}: expected a JSON object with fx, fy, cx, cy, width and height ({problem!r})"
    return SourceError(msg)


def read_tum(path: Path) -> list[StampedPose]:
    """Read a trajectory in TUM format; empty if there is no such file.

    Raises:
        SourceError: a line has another form; the message names file and line.
    """
    if not path.is_file():
        return []
    poses = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split()
        try:
            poses.append((_nanoseconds(words[0]), _pose([float(word) for word in words[1:8]])))
        except (ValueError, IndexError) as error:
            msg = f"{path}:{number}: expected 't x y z qx qy qz qw', found '{line}'"
            raise SourceError(msg) from error
    return poses


def _nanoseconds(seconds: str) -> int:
    whole, _, fraction = seconds.partition(".")
    if "e" in seconds.lower():
        return round(float(seconds) * 1e9)
    return int(whole) * 10**9 + int(fraction[:9].ljust(9, "0"))


def _pose(row: list[float]) -> Float64Array:
    x, y, z, qx, qy, qz, qw = row
    if not any((qx, qy, qz, qw)):
        msg = "a quaternion of zeros is no rotation"
        raise ValueError(msg)
    return pose_matrix(np.array([x, y, z, qw, qx, qy, qz]))
