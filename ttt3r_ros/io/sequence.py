# SPDX-License-Identifier: Apache-2.0
"""Image sequences: what they have in common, and plain folders with ground truth where there is some."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import cv2
import numpy as np

from ttt3r_ros.errors import ConfigError, SourceError
from ttt3r_ros.geometry import pose_matrix
from ttt3r_ros.images.image_files import read_picture
from ttt3r_ros.io.camera_files import intrinsics_of, read_camera_json
from ttt3r_ros.types import Frame

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from ttt3r_ros.types import Float32Array, Float64Array, Intrinsics, UInt8Array

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
CAMERA_FRAME = "camera_optical_frame"
MILLIMETRES = 1000.0  # per meter
FOLDER_RATE_HZ = 10.0  # of images without stamps
FIRST_STAMP_NS = 1_000_000_000  # a stamp of zero means "latest" to TF

StampedPose = tuple[int, "Float64Array"]  # (stamp_ns, T_world_camera)
ItemT = TypeVar("ItemT")


class Sequence(Protocol):
    """Something that yields frames, maybe with ground truth.

    Those with measured depth also have ``true_depth_m(stamp_ns)``, which returns that (h, w) of the frame of a stamp,
    0 where there is none, or nothing.
    """

    @property
    def name(self) -> str:
        """Return what to call it in a table."""
        ...

    @property
    def skipped(self) -> int:
        """Return how many frames were left out as broken, so far in this reading."""
        ...

    def __len__(self) -> int:
        """Return the number of frames, 0 if it is not known beforehand."""
        ...

    def frames(self) -> Iterator[Frame]:
        """Read the frames in order; where the source breaks off, `SourceError` follows the last good one."""
        ...

    def ground_truth(self) -> list[StampedPose]:
        """Return stamped optical camera poses T_world_camera, all of them finite; empty if there are none."""
        ...


@dataclass(frozen=True)
class Selection:
    """Every ``stride``-th frame from the first on, at most ``limit`` of them (0: all)."""

    stride: int = 1
    limit: int = 0

    def __post_init__(self) -> None:
        if self.stride < 1 or self.limit < 0:
            msg = f"stride is {self.stride} and limit {self.limit}; expected at least 1 and 0"
            raise ConfigError(msg)

    def count(self, available: int) -> int:
        """Return how many of so many frames are chosen."""
        chosen = -(-available // self.stride)
        return min(chosen, self.limit) if self.limit else chosen

    def of(self, items: Iterable[ItemT]) -> Iterator[ItemT]:
        """Choose from items, none of which is taken after the last chosen one."""
        stop = self.stride * (self.limit - 1) + 1 if self.limit else None
        return islice(items, 0, stop, self.stride)


EVERYTHING = Selection()


@dataclass(frozen=True)
class View:
    """One image file and what is known about it."""

    stamp_ns: int
    image: Path
    depth: Path | None = None
    # (4, 4) of the optical camera that took the image; data sets mark lost tracking by NaN or infinities
    T_world_camera: Float64Array | None = None
    intrinsics: Intrinsics | None = None


class ImageFiles:
    """The frames of image files, however they are laid out, and their true poses where there are some."""

    def __init__(
        self,
        root: Path,
        views: Collection[View],
        selection: Selection,
        remarks: tuple[str, ...] = (),
    ) -> None:
        """Take views; ``remarks`` are what a reader of figures must know about the files."""
        self.name = root.resolve().name
        self.skipped = 0
        self.remarks = remarks
        self._root = root
        self._views = views
        self._selection = selection
        # Of views with one stamp the first, for it is the one that is mapped.
        self._view_of_stamp: dict[int, View] = {}
        for view in views:
            self._view_of_stamp.setdefault(view.stamp_ns, view)
        poses = [(stamp_ns, view.T_world_camera) for stamp_ns, view in self._view_of_stamp.items()]
        recorded = [(stamp_ns, T) for stamp_ns, T in poses if T is not None]
        self._truth = [(stamp_ns, T) for stamp_ns, T in recorded if np.isfinite(T).all()]
        if lost := len(recorded) - len(self._truth):
            remark = f"{lost} of {len(recorded)} true poses are not finite and left out"
            logger.warning("%s: %s", root, remark)
            self.remarks += (remark,)

    def __len__(self) -> int:
        return self._selection.count(len(self._views))

    def frames(self) -> Iterator[Frame]:
        """Read the frames in order; a file that is no image is left out with a warning that names it.

        Raises:
            SourceError: none of the files is an image.
        """
        self.skipped = 0
        for view in self._selection.of(self._views):
            rgb = read_rgb(view.image)
            if rgb is None:
                self.skipped += 1
                continue
            yield Frame(view.stamp_ns, CAMERA_FRAME, rgb, view.intrinsics)
        if self.skipped == len(self):
            msg = f"{self._root}: none of {self.skipped} files can be read as an image"
            raise SourceError(msg)

    def ground_truth(self) -> list[StampedPose]:
        """Return the pose of every view that has one, under the very stamp of its frame."""
        return self._truth


class ImageFolder(ImageFiles):
    """A folder of images in the order of their names, numbers in them by value.

    Also takes a folder with ``rgb/`` and, beside it, ``groundtruth.txt`` (TUM format, row k for frame k, whose
    times then are the stamps), ``camera.json`` (fx, fy, cx, cy, width, height, depth_scale) and ``depth/`` (16 bit
    PNG of the same name as the image, meters = value / depth_scale, 0: none; not every frame needs one).
    """

    def __init__(
        self, path: Path, rate_hz: float = FOLDER_RATE_HZ, selection: Selection = EVERYTHING
    ) -> None:
        if not path.is_dir():
            msg = f"{path} is not a folder of images"
            raise SourceError(msg)
        files = image_files(path / "rgb" if (path / "rgb").is_dir() else path)
        if not files:
            msg = f"{path} holds no images ({', '.join(IMAGE_SUFFIXES)})"
            raise SourceError(msg)
        described = path / "camera.json"
        camera = read_camera_json(described) if described.is_file() else {}
        intrinsics = intrinsics_of(camera, described) if camera else None
        self._depth_scale = _depth_scale(camera, described)
        truth = read_tum(path / "groundtruth.txt")
        if truth and len(truth) != len(files):
            msg = f"{path}: {len(files)} images, but {len(truth)} rows in groundtruth.txt"
            raise SourceError(msg)
        views = [
            View(
                truth[index][0] if truth else stamp_at(index, rate_hz),
                file,
                T_world_camera=truth[index][1] if truth else None,
                intrinsics=intrinsics,
            )
            for index, file in enumerate(files)
        ]
        super().__init__(path, views, selection)

    def true_depth_m(self, stamp_ns: int) -> Float32Array | None:
        """Return the measured depth (h, w) of the frame of a stamp, 0 where there is none."""
        view = self._view_of_stamp.get(stamp_ns)
        path = self._root / "depth" / f"{view.image.stem}.png" if view is not None else None
        if path is None or not path.is_file():
            return None
        return read_depth_m(path, self._depth_scale)


def image_files(folder: Path) -> list[Path]:
    """Return the images of a folder in the order of their names, numbers by value; hidden files are none."""
    return sorted((file for file in folder.iterdir() if is_image_file(file)), key=by_number)


def is_image_file(file: Path) -> bool:
    """Tell from its name whether a file is an image; macOS leaves hidden files that end alike."""
    return file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".") and not file.is_dir()


def by_number(path: Path) -> tuple[list[str | int], str]:
    """Return the sorting key that puts img2.png before img10.png."""
    parts = re.split(r"(\d+)", path.name)  # text and numbers in turn
    return [int(part) if part.isdecimal() else part for part in parts], path.name


def read_rgb(file: Path) -> UInt8Array | None:
    """Return an image (H, W, 3); None, with a warning that names it, if it cannot be read."""
    picture = read_picture(file)
    if picture is None:
        logger.warning("%s cannot be read as an image; it is left out", file)
        return None
    return rgb_of(picture)


def rgb_of(bgr: NDArray[Any]) -> UInt8Array:
    """Return the RGB image of OpenCV's BGR one."""
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def read_depth_m(path: Path, units_per_m: float) -> Float32Array:
    """Return the depth (h, w) of a PNG of 16 bits, 0 where there is none.

    Raises:
        SourceError: the file is something else.
    """
    raw = read_picture(path, cv2.IMREAD_UNCHANGED)
    if raw is None or raw.ndim != 2 or raw.dtype != np.uint16:
        msg = f"{path} is not a depth image of one channel of 16 bits"
        raise SourceError(msg)
    return np.asarray(raw, np.float32) / np.float32(units_per_m)


def stamp_at(index: int, rate_hz: float) -> int:
    """Return the stamp of a frame that has none of its own; the first is at one second."""
    return FIRST_STAMP_NS + round(index * 1e9 / rate_hz)


def _depth_scale(camera: dict[str, Any], path: Path) -> float:
    value = camera.get("depth_scale", MILLIMETRES)
    if not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        msg = f"{path}: depth_scale is {value!r}; expected units per meter, above 0"
        raise SourceError(msg)
    return float(value)


def read_tum(path: Path) -> list[StampedPose]:
    """Read a trajectory in TUM format, a row that is not finite as a pose of NaN; empty if there is no such file.

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
            poses.append((nanoseconds(words[0]), _pose([float(word) for word in words[1:8]])))
        except (ValueError, IndexError) as error:
            msg = f"{path}:{number}: expected 't x y z qx qy qz qw', found '{line}'"
            raise SourceError(msg) from error
    return poses


def nanoseconds(seconds: str) -> int:
    """Return a decimal number of seconds to the nanosecond, which a float would not hold."""
    whole, _, fraction = seconds.partition(".")
    if "e" in seconds.lower():
        return round(float(seconds) * 1e9)
    return int(whole) * 10**9 + int(fraction[:9].ljust(9, "0"))


def _pose(row: list[float]) -> Float64Array:
    x, y, z, qx, qy, qz, qw = row
    if not any((qx, qy, qz, qw)):
        msg = "a quaternion of zeros is no rotation"
        raise ValueError(msg)
    if not np.isfinite(row).all():
        return np.full((4, 4), np.nan)
    return pose_matrix(np.array([x, y, z, qw, qx, qy, qz]))
