# SPDX-License-Identifier: Apache-2.0
"""The layouts of data sets that are known, and which of them a folder has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.datasets import indoor as layouts_indoor
from ttt3r_ros.io.datasets import rendered as layouts_rendered
from ttt3r_ros.io.datasets import robots as layouts_robots
from ttt3r_ros.io.datasets.common import has_images

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ttt3r_ros.io.datasets.common import DatasetSequence
    from ttt3r_ros.io.sequence import Selection


@dataclass(frozen=True)
class Layout:
    """One way in which a data set lays out a sequence."""

    name: str
    looks_like: str  # what is looked for, in words
    fits: Callable[[Path], bool]
    open: Callable[[Path, Selection], DatasetSequence]


# The first that fits is taken, so the particular ones stand before the general ones.
LAYOUTS = (
    Layout("7scenes", "frame-*.color.png", layouts_indoor.is_7scenes, layouts_indoor.open_7scenes),
    Layout(
        "scannet",
        "color/ with images and pose/ or intrinsic/",
        layouts_indoor.is_scannet,
        layouts_indoor.open_scannet,
    ),
    Layout(
        "euroc",
        "mav0/cam0/data.csv or cam0/data.csv",
        layouts_robots.is_euroc,
        layouts_robots.open_euroc,
    ),
    Layout(
        "kitti",
        "times.txt and image_2/ (or another camera); image/ and groundtruth_depth/; image_gathered/DRIVE beside "
        "groundtruth_depth_gathered/; image_02/data/ and proj_depth/groundtruth/image_02/",
        layouts_robots.is_kitti,
        layouts_robots.open_kitti,
    ),
    Layout("bonn", "rgb.txt in a folder named *bonn*", layouts_indoor.is_bonn, layouts_indoor.open_bonn),
    Layout("tum", "rgb.txt", layouts_indoor.is_tum, layouts_indoor.open_tum),
    Layout(
        "sintel",
        "frame_*.png, with ../../depth/NAME or ../../camdata_left/NAME",
        layouts_rendered.is_sintel,
        layouts_rendered.open_sintel,
    ),
    Layout("nrgbd", "images/ and focal.txt", layouts_rendered.is_nrgbd, layouts_rendered.open_nrgbd),
)
# Where a layout is asked for by name, the name of the folder does not matter.
_ASKED_FOR = {"bonn": layouts_indoor.is_tum}


def layout_of(root: Path) -> Layout | None:
    """Return the layout of a folder, nothing if it has none that is known."""
    return next((layout for layout in LAYOUTS if layout.fits(root)), None)


def open_layout(name: str, root: Path, selection: Selection) -> DatasetSequence:
    """Open a folder in a layout that is asked for.

    Raises:
        SourceError: the folder has not got what the layout is known by, or that is broken.
    """
    layout = next(layout for layout in LAYOUTS if layout.name == name)
    fits = _ASKED_FOR.get(name, layout.fits)
    if not root.is_dir() or not fits(root):
        msg = f"{root} is no sequence of layout {name}: expected {layout.looks_like}{_inside(root)}"
        raise SourceError(msg)
    return layout.open(root, selection)


def nothing_found(root: Path) -> SourceError:
    """Return the error of a folder that has no known layout, with everything that was looked for."""
    looked_for = "; ".join(f"{layout.looks_like} ({layout.name})" for layout in LAYOUTS)
    found = sorted(path.name for path in root.iterdir())
    what = f"holds {', '.join(found[:5])}{', ...' if len(found) > 5 else ''}" if found else "is empty"
    msg = (
        f"{root} {what}: no sequence of images; looked for metadata.yaml, *.mcap, *.db3, *.bag (bag); "
        f"{looked_for}; images in it or in rgb/ (folder){_inside(root)}"
    )
    return SourceError(msg)


def _inside(root: Path) -> str:
    """Say which folders inside are sequences, since it is easy to name the one above."""
    if not root.is_dir():
        return ""
    folders = (path for path in sorted(root.iterdir()) if path.is_dir())
    inside = [folder.name for folder in folders if layout_of(folder) or has_images(folder)]
    if not inside:
        return ""
    return f"; sequences inside it: {', '.join(inside[:8])}{', ...' if len(inside) > 8 else ''}"
