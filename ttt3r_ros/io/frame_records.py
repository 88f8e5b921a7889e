# SPDX-License-Identifier: Apache-2.0
"""What became of every image of a recording: one line each in ``frames.csv``."""

from __future__ import annotations

import csv
import io
from dataclasses import astuple, dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.atomic import atomic_write
from ttt3r_ros.text_files import read_bytes
from ttt3r_ros.types import Intrinsics

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True)
class FrameRecord:
    """One image; of one that was skipped, the reason and nothing more."""

    index: int  # among all images that could be decoded, from 0; the name of its pictures
    stamp_ns: int
    map_id: int  # map session: counts up whenever time goes back and the map starts again
    skipped: str = ""  # reason, if it was not mapped
    skip_detail: str = ""
    segment: int = 0  # counts state resets
    scale: float = 1.0  # meters per unit of the network
    confidence_mean: float = 0.0
    fused_fraction: float = 0.0  # of the pixels; the others are unsure or too far away
    landmarks: int = 0  # used for the pose; 0: pose of the network
    position_std_m: float = 0.0  # by the model of the odometry's error, along the worst axis
    fx: float = 0.0  # of the network's image, as all that follows
    fy: float = 0.0
    cx: float = 0.0
    cy: float = 0.0
    width: int = 0
    height: int = 0
    distortion: str = ""  # model and coefficients, where the image was not rectified

    @property
    def intrinsics(self) -> Intrinsics:
        """Return the camera of the network's image."""
        model, *coefficients = self.distortion.split() or [""]
        return Intrinsics(
            self.fx, self.fy, self.cx, self.cy, self.width, self.height,
            model, tuple(float(word) for word in coefficients),
        )  # fmt: skip


_TYPES = {"int": int, "float": float, "str": str}
_MAX_TEXT = 1000  # characters; readers refuse fields of 131072
COLUMNS = tuple(field.name for field in fields(FrameRecord))


def mapped_records(records: Iterable[FrameRecord]) -> list[FrameRecord]:
    """Return the records with a pose in the trajectory, in its order: frames mapped since time last jumped back."""
    records = list(records)
    map_id = records[-1].map_id if records else 0
    return [record for record in records if record.map_id == map_id and not record.skipped]


def median_camera(records: Iterable[FrameRecord]) -> Intrinsics:
    """Return the median camera of the mapped frames that have the newest one's size; there must be one.

    An estimated focal length is less accurate in the first frames than over all frames.
    """
    newest, *others = reversed(mapped_records(records))
    alike = [newest, *(r for r in others if (r.width, r.height) == (newest.width, newest.height))]
    fx, fy, cx, cy = (
        float(np.median([getattr(r, name) for r in alike])) for name in ("fx", "fy", "cx", "cy")
    )
    return replace(newest.intrinsics, fx=fx, fy=fy, cx=cx, cy=cy)


def write_frames(path: Path, records: Iterable[FrameRecord]) -> None:
    """Write records as CSV with a header; numbers keep all their digits.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_write(path) as file:
        file.write(format_frames(records))


def read_frames(path: Path) -> list[FrameRecord]:
    """Read the records that `write_frames` wrote.

    Raises:
        SourceError: the file is missing or is not a table of frames.
    """
    content = read_bytes(path)
    try:
        return parse_frames(content)
    except SourceError as error:
        msg = f"{path}: {error}"
        raise SourceError(msg) from error


def format_frames(records: Iterable[FrameRecord]) -> bytes:
    """Return records as CSV with a header; numbers keep all their digits.

    In texts a space replaces each character that is not printable, because CSV readers do not agree on line ends, NUL
    and bytes that are not UTF-8. Texts are cut at 1000 characters.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    rows.writerows([_to_cell(value) for value in astuple(record)] for record in records)
    return text.getvalue().encode("utf-8")


def _to_cell(value: object) -> object:
    if not isinstance(value, str) or (value.isprintable() and len(value) <= _MAX_TEXT):
        return value
    return "".join(letter if letter.isprintable() else " " for letter in value[:_MAX_TEXT])


def parse_frames(data: bytes) -> list[FrameRecord]:
    """Return the records that `format_frames` formatted.

    Raises:
        SourceError: the data is not a table of frames.
    """
    try:
        rows = csv.DictReader(io.StringIO(data.decode("utf-8"), newline=""))
        return [_parse_record(row) for row in rows]
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        found = f"column {error} is missing" if isinstance(error, KeyError) else str(error)
        msg = f"not a table of frames: {found[:200]}"
        raise SourceError(msg) from error


def _parse_record(values: dict[str, str]) -> FrameRecord:
    return FrameRecord(
        **{field.name: _TYPES[str(field.type)](values[field.name]) for field in fields(FrameRecord)}
    )
