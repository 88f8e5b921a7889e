# SPDX-License-Identifier: Apache-2.0
"""Read image and depth files, list them in natural order."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ttt3r_ros.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ttt3r_ros.types import Float32Array, UInt8Array

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
MM_PER_M = 1000.0  # per meter


def read_image(file: Path, mode: int = cv2.IMREAD_COLOR) -> NDArray[Any] | None:
    """Return an image as `cv2.imread` does, None if it cannot be read.

    OpenCV itself crashes on a name that is no UTF-8, and writes a line of its own for every file that is no image.
    """
    try:
        content = np.fromfile(file, np.uint8)
    except OSError:
        return None
    return cv2.imdecode(content, mode) if content.size else None


def list_images(folder: Path) -> list[Path]:
    """Return the images of a folder in the order of their names, numbers by value; hidden files are none."""
    return sorted((file for file in folder.iterdir() if is_image_file(file)), key=natural_sort_key)


def is_image_file(file: Path) -> bool:
    """Tell from its name whether a file is an image; macOS leaves hidden files that end alike."""
    return file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".") and not file.is_dir()


def natural_sort_key(path: Path) -> tuple[list[str | int], str]:
    """Return the sorting key that puts img2.png before img10.png."""
    parts = re.split(r"(\d+)", path.name)  # text and numbers in turn
    return [int(part) if part.isdecimal() else part for part in parts], path.name


def read_rgb(file: Path) -> UInt8Array | None:
    """Return an image (H, W, 3); None, with a warning that names it, if it cannot be read."""
    picture = read_image(file)
    if picture is None:
        logger.warning("%s cannot be read as an image; it is left out", file)
        return None
    return bgr_to_rgb(picture)


def bgr_to_rgb(bgr: NDArray[Any]) -> UInt8Array:
    """Return the RGB image of OpenCV's BGR one."""
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def read_depth_m(path: Path, units_per_m: float) -> Float32Array:
    """Return the depth (h, w) of a PNG of 16 bits, 0 where there is none.

    Raises:
        SourceError: the file is something else.
    """
    raw = read_image(path, cv2.IMREAD_UNCHANGED)
    if raw is None or raw.ndim != 2 or raw.dtype != np.uint16:
        msg = f"{path} is not a depth image of one channel of 16 bits"
        raise SourceError(msg)
    return np.asarray(raw, np.float32) / np.float32(units_per_m)
