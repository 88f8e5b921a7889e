# SPDX-License-Identifier: Apache-2.0
"""What the layouts of data sets share: a sequence of image files, readers of numbers, association by time."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.image_files import IMAGE_SUFFIXES, is_image_file, list_images, natural_sort_key
from ttt3r_ros.io.image_folder import ImageFileSequence, ImageRecord
from ttt3r_ros.types import Intrinsics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ttt3r_ros.io.sequence import FrameSelection, ItemT
    from ttt3r_ros.types import Float32Array, Float64Array


class DatasetSequence(ImageFileSequence):
    """A sequence of image files with poses, depth files and calibration as far as there are any."""

    def __init__(
        self,
        root: Path,
        views: Sequence[ImageRecord],
        selection: FrameSelection,
        read_depth: Callable[[Path], Float32Array] | None = None,
        remarks: tuple[str, ...] = (),
    ) -> None:
        """Take views in their order; ``read_depth`` returns the depth (h, w) [m] of a file, 0: none.

        Stamps that repeat or go back are left to whoever reads the frames, as those of a bag are.

        ``remarks`` are what a reader of figures must know about the files.

        Raises:
            SourceError: there is no view.
        """
        if not views:
            msg = f"{root} holds no images ({', '.join(IMAGE_SUFFIXES)})"
            raise SourceError(msg)
        super().__init__(root, views, selection, remarks)
        self._read_depth = read_depth

    def true_depth_m(self, stamp_ns: int) -> Float32Array | None:
        """Return the measured depth (h, w) of the frame of a stamp, 0 where there is none."""
        view = self._view_of_stamp.get(stamp_ns)
        if view is None or view.depth is None or self._read_depth is None:
            return None
        return self._read_depth(view.depth)


def glob_in_order(folder: Path, pattern: str) -> list[Path]:
    """Return the files of a folder that match, numbers in their names by value."""
    return sorted(folder.glob(pattern), key=natural_sort_key)


def has_images(folder: Path) -> bool:
    """Tell whether a folder is there and holds images."""
    return folder.is_dir() and any(is_image_file(file) for file in folder.iterdir())


def image_size(folder: Path) -> tuple[int, int]:
    """Return width and height of the first image of a folder that can be read.

    Raises:
        SourceError: none can.
    """
    return first_image_size(list_images(folder), folder)


def first_image_size(files: Sequence[Path], folder: Path) -> tuple[int, int]:
    """Return width and height of the first of these files that is an image."""
    sizes = (_size(file) for file in files)
    size = next((size for size in sizes if size is not None), None)
    if size is not None:
        return size
    msg = f"{folder}: none of {len(files)} files can be read as an image"
    raise SourceError(msg)


def _size(file: Path) -> tuple[int, int] | None:
    try:
        with Image.open(file) as image:
            return image.size
    except OSError:
        return None


def existing(path: Path) -> Path | None:
    """Return a file if it is there."""
    return path if path.is_file() else None


def number_in_name(path: Path) -> int:
    """Return the last number in the name of a file; raise `SourceError` where there is none."""
    digits = [part for part in natural_sort_key(path)[0] if isinstance(part, int)]
    if not digits:
        msg = f"{path}: expected a number in the name"
        raise SourceError(msg)
    return digits[-1]


def pinhole(K: Float64Array, size: tuple[int, int]) -> Intrinsics:
    """Return the camera of a matrix (3, 3) and an image's width and height."""
    return Intrinsics(float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2]), *size)


def read_matrix(path: Path, *shape: int) -> Float64Array:
    """Return the numbers of a text file as an array of a shape, of which one side may be -1.

    Raises:
        SourceError: it holds something else; NaN and infinities are numbers.
    """
    try:
        return np.array(path.read_text(encoding="utf-8").split(), np.float64).reshape(shape)
    except (OSError, ValueError) as error:
        expected = " x ".join("n" if side < 0 else str(side) for side in shape)
        msg = f"{path}: expected {expected} numbers ({error})"
        raise SourceError(msg) from error


def parsed(
    path: Path, table: list[list[str]], parse: Callable[[list[str]], ItemT], expected: str
) -> list[ItemT]:
    """Return what each row of a table stands for; raise `SourceError` where one stands for nothing."""
    row: list[str] = []
    try:
        return [parse(row := words) for words in table]
    except ValueError as error:
        msg = f"{path}: expected '{expected}', found '{' '.join(row)}' ({error})"
        raise SourceError(msg) from error


def rows(path: Path, separator: str | None, columns: int, expected: str) -> list[list[str]]:
    """Return the first columns of a table of text without comments.

    Raises:
        SourceError: a row has too few; the message names file and line.
    """
    found = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read: {error}"
        raise SourceError(msg) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        words = [word.strip() for word in line.split(separator)]
        if len(words) < columns:
            msg = f"{path}:{number}: expected '{expected}', found '{line}'"
            raise SourceError(msg)
        found.append(words[:columns])
    return found


def nearest(stamps_ns: Sequence[int], stamp_ns: int, tolerance_ns: int) -> int | None:
    """Return the index of the nearest of sorted stamps, nothing if none is near enough."""
    after = bisect_left(stamps_ns, stamp_ns)
    near = [index for index in (after - 1, after) if 0 <= index < len(stamps_ns)]
    best = min(near, key=lambda index: abs(stamps_ns[index] - stamp_ns), default=None)
    return best if best is not None and abs(stamps_ns[best] - stamp_ns) <= tolerance_ns else None
