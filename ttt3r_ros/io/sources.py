# SPDX-License-Identifier: Apache-2.0
"""Opening of image sources: bag, video, folder of images, dataset or camera, detected by their files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ttt3r_ros.errors import AmbiguousSource, SourceError
from ttt3r_ros.images.camera_info import shows_rectified_images
from ttt3r_ros.io.bags.kinds import BAG_SUFFIXES, METADATA, is_bag_file, is_bag_metadata
from ttt3r_ros.io.camera_files import read_camera_file
from ttt3r_ros.io.datasets.common import has_images
from ttt3r_ros.io.datasets.registry import (
    DATASET_FORMATS,
    detect_format,
    open_dataset,
    unknown_format_error,
)
from ttt3r_ros.io.image_files import IMAGE_SUFFIXES
from ttt3r_ros.io.image_folder import FOLDER_RATE_HZ, ImageFolder
from ttt3r_ros.io.sequence import CalibratedSequence, FrameSelection
from ttt3r_ros.io.video import Video
from ttt3r_ros.io.webcam import Webcam, parse_device

if TYPE_CHECKING:
    from ttt3r_ros.io.sequence import ImageSequence

__all__ = ["FORMAT_NAMES", "AmbiguousSource", "SourceOptions", "open_source"]

FORMAT_NAMES = ("auto", "folder", *(known.name for known in DATASET_FORMATS), "bag", "video", "webcam")


@dataclass(frozen=True)
class SourceOptions:
    """Options of reading a source."""

    topic: str = ""  # bag: image topic; empty: the only one
    camera_info_topic: str = ""  # bag; empty: the topic beside the image topic
    format: str = "auto"  # one of FORMAT_NAMES
    calibration: Path | None = None  # camera file; None: the calibration in the source
    fps: float = FOLDER_RATE_HZ  # of a folder of images without stamps
    stride: int = 1
    max_frames: int = 0  # 0: all


_DEFAULTS = SourceOptions()


def open_source(
    text: str, options: SourceOptions = _DEFAULTS, images_rectified: str = "auto"
) -> ImageSequence:
    """Open a path, or a camera: ``webcam``, ``webcam:1``, ``/dev/video1``. The files determine the format of a path.

    ``images_rectified`` is the setting of that name.

    Raises:
        SourceError: the source does not exist or cannot be read; the message names the expected files.
        AmbiguousSource: a bag has several image topics, and the options name none.
    """
    if options.format not in FORMAT_NAMES:
        msg = f"format is '{options.format}'; expected one of {', '.join(FORMAT_NAMES)}"
        raise SourceError(msg)
    selection = FrameSelection(options.stride, options.max_frames)
    try:
        sequence = _open(text, options, selection, images_rectified)
        if options.calibration is None:
            return sequence
        topic = getattr(sequence, "image_topic", "")
        calibration = read_camera_file(options.calibration, topic)
        return CalibratedSequence(
            sequence, calibration, is_rectified=shows_rectified_images(images_rectified, topic)
        )
    except (OSError, RuntimeError) as error:  # RuntimeError: "~user" of an unknown user
        msg = f"{text} cannot be read: {getattr(error, 'strerror', None) or error}"
        raise SourceError(msg) from error


def _open(
    text: str, options: SourceOptions, selection: FrameSelection, images_rectified: str
) -> ImageSequence:
    device = parse_device(text)
    if device is not None or options.format == "webcam":
        return Webcam(text if device is None else device, selection)
    path = Path(text).expanduser()
    if not text or not path.exists():
        expected = "a bag, video, folder of images, dataset, webcam or /dev/videoN"
        msg = f"{text or 'a source without a name'} does not exist (expected {expected})"
        raise SourceError(msg)
    source_format = _detect(path) if options.format == "auto" else options.format
    if source_format == "bag":
        return _open_bag(path, options, selection, images_rectified)
    if options.topic or options.camera_info_topic:
        msg = f"{path} is not a bag and has no topic {options.topic or options.camera_info_topic}"
        raise SourceError(msg)
    if source_format == "video":
        return Video(path, selection)
    if source_format == "folder":
        return ImageFolder(path, options.fps, selection)
    return open_dataset(source_format, path, selection)


def _detect(path: Path) -> str:
    """Return the name of the format of a path."""
    if path.is_file():
        return _detect_file(path)
    if is_bag_metadata(path / METADATA) or any(
        file.suffix.lower() in BAG_SUFFIXES for file in path.iterdir()
    ):
        return "bag"
    dataset_format = detect_format(path)
    if dataset_format is not None:
        return dataset_format.name
    if has_images(path) or has_images(path / "rgb"):
        return "folder"
    if (path / METADATA).is_file():
        return "bag"
    raise unknown_format_error(path)


def _detect_file(path: Path) -> str:
    if is_bag_file(path) or path.name == METADATA:
        return "bag"
    if path.suffix.lower() in IMAGE_SUFFIXES:
        msg = f"{path} is one image; expected a folder of images"
        raise SourceError(msg)
    return "video"


def _open_bag(
    path: Path, options: SourceOptions, selection: FrameSelection, images_rectified: str
) -> ImageSequence:
    try:
        from ttt3r_ros.io.bags.reader import Bag  # noqa: PLC0415 - rosbags comes with the extra "run"
    except ImportError as error:
        msg = f"{path} cannot be read as a bag without rosbags and mcap ({error}): pip install 'ttt3r_ros[run]'"
        raise SourceError(msg) from error
    return Bag(path, options.topic, options.camera_info_topic, selection, images_rectified)
