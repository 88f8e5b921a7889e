# SPDX-License-Identifier: Apache-2.0
"""The folder that ``ttt3r_ros run`` leaves: the names of its files, and how to read it."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.export.point_cloud import read_ply
from ttt3r_ros.io.frame_records import FrameRecord, mapped_records, read_frames
from ttt3r_ros.io.image_files import read_image
from ttt3r_ros.io.trajectory_files import read_tum
from ttt3r_ros.mapping.voxel_map import PointCloud

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ttt3r_ros.types import Float32Array, Float64Array, UInt8Array

RUN, FRAMES, TRAJECTORY, MAP, CAMERA, REPORT, STATE = (
    "run.json", "frames.csv", "trajectory.txt", "map.ply", "camera.json", "report.html", "state.npz",
)  # fmt: skip
MM_PER_M = 1000.0  # what one meter is in depth/*.png
CONFIDENCE = 1000.0  # what a confidence of one is in confidence/*.png

# All that a run may write, by the name of the output that it belongs to.
FILES: dict[str, tuple[str, ...]] = {
    "trajectory": (TRAJECTORY, "trajectory_kitti.txt", "trajectory_euroc.csv", CAMERA),
    "map": (MAP, "map.pcd", "map.pgm", "map.yaml"),
    "glb": ("map.glb",),
    "rgb": ("rgb",),
    "depth": ("depth",),
    "confidence": ("confidence",),
    "npz": ("depth_npz",),
    "colmap": ("colmap",),
    "nerfstudio": ("transforms.json",),
    "bag": ("bag",),
    "report": (REPORT,),
    "frames": (FRAMES,),
    "state": (STATE,),
}
OUTPUTS = tuple(FILES)
DEFAULT_OUTPUTS = ("trajectory", "map", "report", "frames", "state")


class SavedFrame(NamedTuple):
    """The pictures of one frame, at the network's resolution; None: not written by that run."""

    rgb: UInt8Array | None  # (h, w, 3)
    depth_m: Float32Array | None  # (h, w), NaN where unknown
    confidence: Float32Array | None  # (h, w)


class RunFolder:
    """Reads one run; poses and frames are counted alike, from 0 over what the trajectory holds."""

    def __init__(self, path: Path) -> None:
        """Open a folder.

        Raises:
            SourceError: no run has left its ``run.json`` there.
        """
        self.path = path
        try:
            meta = json.loads((path / RUN).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            msg = f"{path} is no finished run: there is no {RUN}"
            raise SourceError(msg) from error
        except (OSError, ValueError) as error:
            msg = f"{path / RUN} cannot be read: {error}"
            raise SourceError(msg) from error
        if not isinstance(meta, dict):
            msg = f"{path / RUN} holds {type(meta).__name__}; expected an object"
            raise SourceError(msg)
        self.meta: dict[str, Any] = meta

    def __len__(self) -> int:
        return len(self._poses)

    def poses(self) -> tuple[list[int], Float64Array]:
        """Return the stamps [ns] and T_map_camera (N, 4, 4); empty if no trajectory was written."""
        stamps_ns = [stamp_ns for stamp_ns, _ in self._poses]
        return stamps_ns, np.array([T for _, T in self._poses]).reshape(-1, 4, 4)

    def records(self) -> list[FrameRecord]:
        """Return what is known of every frame that has a pose; empty if no ``frames.csv`` was written."""
        return self._records

    def frame(self, index: int) -> SavedFrame:
        """Return the pictures of the frame of a pose.

        Raises:
            SourceError: there is no such frame, or a picture is damaged.
        """
        if not self._records:
            return SavedFrame(None, None, None)
        if not 0 <= index < len(self._records):
            msg = f"{self.path} has frames 0 to {len(self._records) - 1}, and no {index}"
            raise SourceError(msg)
        name = f"{self._records[index].index:06d}"
        rgb = self._picture("rgb", f"{name}.jpg", cv2.IMREAD_COLOR)
        depth = self._picture("depth", f"{name}.png", cv2.IMREAD_UNCHANGED)
        confidence = self._picture("confidence", f"{name}.png", cv2.IMREAD_UNCHANGED)
        return SavedFrame(
            None if rgb is None else np.ascontiguousarray(rgb[..., ::-1]),
            None if depth is None else _depth_m(depth),
            None if confidence is None else (confidence / np.float32(CONFIDENCE)).astype(np.float32),
        )

    def cloud(self) -> PointCloud:
        """Return the map's points; none if no map was written."""
        if not (self.path / MAP).is_file():
            return PointCloud(np.empty((0, 3), np.float32), np.empty((0, 3), np.uint8))
        return PointCloud(*read_ply(self.path / MAP))

    @cached_property
    def _poses(self) -> list[tuple[int, Float64Array]]:
        return read_tum(self.path / TRAJECTORY)

    @cached_property
    def _records(self) -> list[FrameRecord]:
        return mapped_records(read_frames(self.path / FRAMES)) if (self.path / FRAMES).is_file() else []

    def _picture(self, kind: str, name: str, mode: int) -> NDArray[Any] | None:
        path = self.path / kind / name
        if not path.is_file():
            return None
        picture = read_image(path, mode)
        if picture is None:
            msg = f"{path} cannot be read as an image"
            raise SourceError(msg)
        return picture


def _depth_m(millimeters: NDArray[Any]) -> Float32Array:
    depth = (millimeters / np.float32(MM_PER_M)).astype(np.float32)
    depth[millimeters == 0] = np.nan
    return depth
