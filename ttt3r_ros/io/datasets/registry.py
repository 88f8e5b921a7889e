# SPDX-License-Identifier: Apache-2.0
"""Registry of dataset formats and their detection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.datasets import indoor, rendered, robots
from ttt3r_ros.io.datasets.common import has_images

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ttt3r_ros.io.datasets.common import DatasetSequence
    from ttt3r_ros.io.sequence import FrameSelection


@dataclass(frozen=True)
class DatasetFormat:
    """Files and reader of one dataset."""

    name: str
    expected_files: str  # for messages
    matches: Callable[[Path], bool]
    open: Callable[[Path, FrameSelection], DatasetSequence]


# The first match counts: special formats before general ones.
DATASET_FORMATS = (
    DatasetFormat("7scenes", "frame-*.color.png", indoor.is_7scenes, indoor.open_7scenes),
    DatasetFormat(
        "scannet",
        "color/ with images and pose/ or intrinsic/",
        indoor.is_scannet,
        indoor.open_scannet,
    ),
    DatasetFormat(
        "euroc",
        "mav0/cam0/data.csv or cam0/data.csv",
        robots.is_euroc,
        robots.open_euroc,
    ),
    DatasetFormat(
        "kitti",
        "times.txt and image_2/ (or another camera); image/ and groundtruth_depth/; image_gathered/DRIVE beside "
        "groundtruth_depth_gathered/; image_02/data/ and proj_depth/groundtruth/image_02/",
        robots.is_kitti,
        robots.open_kitti,
    ),
    DatasetFormat("bonn", "rgb.txt in a folder named *bonn*", indoor.is_bonn, indoor.open_bonn),
    DatasetFormat("tum", "rgb.txt", indoor.is_tum, indoor.open_tum),
    DatasetFormat(
        "sintel",
        "frame_*.png, with ../../depth/NAME or ../../camdata_left/NAME",
        rendered.is_sintel,
        rendered.open_sintel,
    ),
    DatasetFormat("nrgbd", "images/ and focal.txt", rendered.is_nrgbd, rendered.open_nrgbd),
)
# With an explicit format, the name of the folder does not matter.
_MATCHES_BY_NAME = {"bonn": indoor.is_tum}


def detect_format(root: Path) -> DatasetFormat | None:
    """Return the dataset format of a folder, None if it is unknown."""
    return next(
        (dataset_format for dataset_format in DATASET_FORMATS if dataset_format.matches(root)), None
    )


def open_dataset(name: str, root: Path, selection: FrameSelection) -> DatasetSequence:
    """Open a folder in the named format.

    Raises:
        SourceError: the folder lacks the files of the format, or they are damaged.
    """
    dataset_format = next(
        dataset_format for dataset_format in DATASET_FORMATS if dataset_format.name == name
    )
    matches = _MATCHES_BY_NAME.get(name, dataset_format.matches)
    if not root.is_dir() or not matches(root):
        msg = f"{root} is not a {name} sequence: expected {dataset_format.expected_files}{_sequences_inside(root)}"
        raise SourceError(msg)
    return dataset_format.open(root, selection)


def unknown_format_error(root: Path) -> SourceError:
    """Return the error of a folder of unknown format, with the expected files of all formats."""
    expected = "; ".join(
        f"{dataset_format.expected_files} ({dataset_format.name})" for dataset_format in DATASET_FORMATS
    )
    found = sorted(path.name for path in root.iterdir())
    content = f"has {', '.join(found[:5])}{', ...' if len(found) > 5 else ''}" if found else "is empty"
    msg = (
        f"{root} {content}: not a sequence of images; expected metadata.yaml, *.mcap, *.db3, *.bag (bag); "
        f"{expected}; images in it or in rgb/ (folder){_sequences_inside(root)}"
    )
    return SourceError(msg)


def _sequences_inside(root: Path) -> str:
    """Return the part of a message that lists the sequences inside a folder: users often name their parent."""
    if not root.is_dir():
        return ""
    folders = (path for path in sorted(root.iterdir()) if path.is_dir())
    names = [folder.name for folder in folders if detect_format(folder) or has_images(folder)]
    if not names:
        return ""
    return f"; sequences inside it: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
