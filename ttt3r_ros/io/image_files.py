# SPDX-License-Identifier: Apache-2.0
"""Reading of image and depth files; lists of images in natural order."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ttt3r_ros.errors import ImageError, SourceError
from ttt3r_ros.images.image_header import TooManyPixelsError, require_decodable

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ttt3r_ros.types import Float32Array, UInt8Array

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
MM_PER_M = 1000.0


def read_image(file: Path, mode: int = cv2.IMREAD_COLOR) -> NDArray[Any] | None:
    """Return what `cv2.imread` returns, None if the file cannot be read.

    `cv2.imread` crashes on names that are not UTF-8, and prints a warning for every file that is not an image.
    """
    try:
        content = np.fromfile(file, np.uint8)
    except OSError:
        return None
    if not content.size:
        return None
    try:
        require_decodable(content.tobytes(), str(file))
        return cv2.imdecode(content, mode)
    except TooManyPixelsError as error:
        logging.getLogger(__name__).warning("%s", error)
    except (ImageError, cv2.error):
        pass
    return None


def list_images(folder: Path) -> list[Path]:
    """Return the images of a folder in natural order of their names, without hidden files."""
    return sorted((file for file in folder.iterdir() if is_image_file(file)), key=natural_sort_key)


def is_image_file(file: Path) -> bool:
    """Return whether the name of a file is that of an image; macOS creates hidden files of the same suffix."""
    return file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".") and not file.is_dir()


def natural_sort_key(path: Path) -> tuple[list[str | int], str]:
    """Return the sorting key by which img2.png comes before img10.png."""
    parts = re.split(r"(\d+)", path.name)  # alternately text and number
    return [int(part) if part.isdecimal() else part for part in parts], path.name


def read_rgb(file: Path) -> UInt8Array | None:
    """Return an image (H, W, 3); None if it cannot be read."""
    bgr = read_image(file)
    return None if bgr is None else bgr_to_rgb(bgr)


def bgr_to_rgb(bgr: NDArray[Any]) -> UInt8Array:
    """Return an image (H, W, 3) of OpenCV in RGB."""
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def read_depth_m(path: Path, units_per_m: float) -> Float32Array:
    """Return the depth (h, w) [m] of a 16-bit PNG, 0: unknown.

    Raises:
        SourceError: the file is not a 16-bit image of one channel.
    """
    raw = read_image(path, cv2.IMREAD_UNCHANGED)
    if raw is None or raw.ndim != 2 or raw.dtype != np.uint16:
        found = "no image" if raw is None else f"{raw.dtype} of shape {raw.shape}"
        msg = f"{path} is not a depth image: expected one channel of 16 bits, found {found}"
        raise SourceError(msg)
    return np.asarray(raw, np.float32) / np.float32(units_per_m)
