# SPDX-License-Identifier: Apache-2.0
"""Image files as sequences: lists of files with poses and depth, and plain folders."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.errors import SourceError, short_text
from ttt3r_ros.io.camera_files import parse_intrinsics
from ttt3r_ros.io.image_files import (
    IMAGE_SUFFIXES,
    MM_PER_M,
    list_images,
    read_depth_m,
    read_rgb,
)
from ttt3r_ros.io.sequence import ALL_FRAMES, CAMERA_FRAME, FrameSelection, frame_stamp_ns
from ttt3r_ros.io.trajectory_files import read_tum
from ttt3r_ros.repeated_warnings import RepeatedWarnings
from ttt3r_ros.text_files import read_json
from ttt3r_ros.types import Frame

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from ttt3r_ros.io.sequence import StampedPose
    from ttt3r_ros.types import Float32Array, Float64Array, Intrinsics

logger = logging.getLogger(__name__)

FOLDER_RATE_HZ = 10.0  # of images without stamps


@dataclass(frozen=True)
class ImageRecord:
    """One image file with its depth file, pose and calibration."""

    stamp_ns: int
    image: Path
    depth: Path | None = None
    # (4, 4) of the optical camera; datasets mark lost tracking by NaN or infinity
    T_world_camera: Float64Array | None = None
    intrinsics: Intrinsics | None = None


class ImageFileSequence:
    """Frames of image files, in any folder structure, and their true poses."""

    def __init__(
        self,
        root: Path,
        records: Collection[ImageRecord],
        selection: FrameSelection,
        remarks: tuple[str, ...] = (),
    ) -> None:
        """Set the records of the images; ``remarks`` are limitations that evaluations report with their figures."""
        self.name = root.resolve().name
        self.skipped = 0
        self.remarks = remarks
        self._root = root
        self._records = records
        self._selection = selection
        # Of several images with one stamp, the first one is mapped.
        self._record_by_stamp: dict[int, ImageRecord] = {}
        for record in records:
            self._record_by_stamp.setdefault(record.stamp_ns, record)
        if len(records) > 1 and len(self._record_by_stamp) == 1:
            stamp_ns = next(iter(self._record_by_stamp))
            msg = f"{root}: all {len(records)} images have the stamp {stamp_ns} ns; expected increasing stamps"
            raise SourceError(msg)
        poses = [(stamp_ns, record.T_world_camera) for stamp_ns, record in self._record_by_stamp.items()]
        recorded = [(stamp_ns, T) for stamp_ns, T in poses if T is not None]
        self._truth = [(stamp_ns, T) for stamp_ns, T in recorded if np.isfinite(T).all()]
        if lost := len(recorded) - len(self._truth):
            remark = f"{lost} of {len(recorded)} true poses are not finite and ignored"
            logger.warning("%s: %s", root, remark)
            self.remarks += (remark,)

    def __len__(self) -> int:
        return self._selection.count(len(self._records))

    def frames(self) -> Iterator[Frame]:
        """Read the frames in order; a file that is not an image is skipped with a warning.

        Raises:
            SourceError: none of the files is an image.
        """
        self.skipped = 0
        warnings = RepeatedWarnings(logger.warning)
        for record in self._selection.apply(self._records):
            rgb = read_rgb(record.image)
            if rgb is None:
                self.skipped += 1
                text = f"{record.image} cannot be read as an image; it is skipped"
                warnings.warn(text, kind="image that cannot be read")
                continue
            yield Frame(record.stamp_ns, CAMERA_FRAME, rgb, record.intrinsics)
        warnings.summarize()
        if self.skipped == len(self):
            msg = f"{self._root}: none of {self.skipped} files can be read as an image"
            raise SourceError(msg)

    def ground_truth(self) -> list[StampedPose]:
        """Return the pose of every image that has one, with the stamp of its frame."""
        return self._truth


class ImageFolder(ImageFileSequence):
    """A folder of images in natural order of their names.

    The images may be in ``rgb/``. Optional files beside it: ``groundtruth.txt`` (TUM format, row k is pose and stamp of
    frame k), ``camera.json`` (fx, fy, cx, cy, width, height, depth_scale) and ``depth/`` (16-bit PNG of the same name
    as the image, meters = value / depth_scale, 0: unknown; not every frame needs one).
    """

    def __init__(
        self, path: Path, rate_hz: float = FOLDER_RATE_HZ, selection: FrameSelection = ALL_FRAMES
    ) -> None:
        if not path.is_dir():
            msg = f"{path} is not a folder of images"
            raise SourceError(msg)
        files = list_images(path / "rgb" if (path / "rgb").is_dir() else path)
        if not files:
            msg = f"{path} has no images ({', '.join(IMAGE_SUFFIXES)})"
            raise SourceError(msg)
        camera_file = path / "camera.json"
        camera = read_json(camera_file) if camera_file.is_file() else {}
        intrinsics = parse_intrinsics(camera, camera_file) if camera else None
        self._depth_scale = _depth_scale(camera, camera_file)
        truth = read_tum(path / "groundtruth.txt", any_unit=True)
        if truth and len(truth) != len(files):
            msg = f"{path}: {len(files)} images, but {len(truth)} rows in groundtruth.txt"
            raise SourceError(msg)
        records = [
            ImageRecord(
                truth[index][0] if truth else frame_stamp_ns(index, rate_hz),
                file,
                T_world_camera=truth[index][1] if truth else None,
                intrinsics=intrinsics,
            )
            for index, file in enumerate(files)
        ]
        super().__init__(path, records, selection)

    def true_depth_m(self, stamp_ns: int) -> Float32Array | None:
        """Return the measured depth (h, w) [m] of the frame with this stamp, 0: unknown; None: no depth image."""
        record = self._record_by_stamp.get(stamp_ns)
        path = self._root / "depth" / f"{record.image.stem}.png" if record is not None else None
        if path is None or not path.is_file():
            return None
        return read_depth_m(path, self._depth_scale)


def _depth_scale(camera: dict[str, Any], path: Path) -> float:
    value = camera.get("depth_scale", MM_PER_M)
    if not isinstance(value, (int, float)) or not 0 < value < 1e300:
        msg = f"{path}: depth_scale is {short_text(value)}; expected units per meter, above 0"
        raise SourceError(msg)
    return float(value)
