# SPDX-License-Identifier: Apache-2.0
"""Shared by the dataset formats: a sequence of image files, readers of tables, association by time."""

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
    """A sequence of image files with optional poses, depth files and calibration."""

    def __init__(
        self,
        root: Path,
        records: Sequence[ImageRecord],
        selection: FrameSelection,
        read_depth: Callable[[Path], Float32Array] | None = None,
        remarks: tuple[str, ...] = (),
    ) -> None:
        """Set the records in order; ``read_depth`` returns the depth (h, w) [m] of a file, 0: unknown.

        Stamps may repeat or go back, as in a bag: the `ImagePreprocessor` rejects them.

        Raises:
            SourceError: there is no record.
        """
        if not records:
            msg = f"{root} has no images ({', '.join(IMAGE_SUFFIXES)})"
            raise SourceError(msg)
        super().__init__(root, records, selection, remarks)
        self._read_depth = read_depth

    def true_depth_m(self, stamp_ns: int) -> Float32Array | None:
        """Return the measured depth (h, w) [m] of the frame with this stamp, 0: unknown; None: no depth image."""
        record = self._record_by_stamp.get(stamp_ns)
        if record is None or record.depth is None or self._read_depth is None:
            return None
        return self._read_depth(record.depth)


def glob_in_order(folder: Path, pattern: str) -> list[Path]:
    """Return the files of a folder that match, in natural order."""
    return sorted(folder.glob(pattern), key=natural_sort_key)


def has_images(folder: Path) -> bool:
    """Return whether a folder exists and has images."""
    return folder.is_dir() and any(is_image_file(file) for file in folder.iterdir())


def image_size(folder: Path) -> tuple[int, int]:
    """Return width and height of the first readable image of a folder.

    Raises:
        SourceError: no image can be read.
    """
    return first_image_size(list_images(folder), folder)


def first_image_size(files: Sequence[Path], folder: Path) -> tuple[int, int]:
    """Return width and height of the first readable image; raise `SourceError` if none can be read."""
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


def optional_file(path: Path) -> Path | None:
    """Return the path if it is a file."""
    return path if path.is_file() else None


def number_in_name(path: Path) -> int:
    """Return the last number in the name of a file; raise `SourceError` if it has none."""
    digits = [part for part in natural_sort_key(path)[0] if isinstance(part, int)]
    if not digits:
        msg = f"{path}: expected a number in the name"
        raise SourceError(msg)
    return digits[-1]


def pinhole(K: Float64Array, size: tuple[int, int]) -> Intrinsics:
    """Return the pinhole camera of a matrix (3, 3) or (3, 4), and width and height of its image."""
    return Intrinsics(float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2]), *size)


def read_matrix(path: Path, *shape: int) -> Float64Array:
    """Return the numbers of a text file as an array of the given shape; one side may be -1.

    Raises:
        SourceError: the file has other numbers or text; NaN and infinity are numbers.
    """
    try:
        return np.array(path.read_text(encoding="utf-8").split(), np.float64).reshape(shape)
    except (OSError, ValueError) as error:
        expected = " x ".join("n" if side < 0 else str(side) for side in shape)
        msg = f"{path}: expected {expected} numbers ({error})"
        raise SourceError(msg) from error


def parse_rows(
    path: Path, rows: list[tuple[int, list[str]]], parse: Callable[[list[str]], ItemT], expected: str
) -> list[ItemT]:
    """Return ``parse(row)`` of each row of a file; raise `SourceError` where it raises `ValueError`."""
    line, row = 0, [""]
    try:
        return [parse(row := words) for line, words in rows]
    except ValueError as error:
        msg = f"{path}:{line}: expected '{expected}', found '{' '.join(row)}' ({error})"
        raise SourceError(msg) from error


def read_rows(
    path: Path, separator: str | None, columns: int, expected: str
) -> list[tuple[int, list[str]]]:
    """Return line number and first columns of the rows of a text table, without comments.

    Raises:
        SourceError: a row has too few columns; the message names file and line.
    """
    rows = []
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
        rows.append((number, words[:columns]))
    return rows


def nearest_index(stamps_ns: Sequence[int], stamp_ns: int, tolerance_ns: int) -> int | None:
    """Return the index of the nearest of sorted stamps, None if it is not within the tolerance."""
    after = bisect_left(stamps_ns, stamp_ns)
    neighbors = [index for index in (after - 1, after) if 0 <= index < len(stamps_ns)]
    best = min(neighbors, key=lambda index: abs(stamps_ns[index] - stamp_ns), default=None)
    return best if best is not None and abs(stamps_ns[best] - stamp_ns) <= tolerance_ns else None
