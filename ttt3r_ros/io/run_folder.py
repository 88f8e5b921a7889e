# SPDX-License-Identifier: Apache-2.0
"""The folder of a run: names of its files, and a reader."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.export.point_cloud import read_ply
from ttt3r_ros.io.frame_records import FrameRecord, mapped_records, read_frames
from ttt3r_ros.io.image_files import MM_PER_M, read_image
from ttt3r_ros.io.trajectory_files import read_tum
from ttt3r_ros.mapping.voxel_map import PointCloud
from ttt3r_ros.text_files import read_json

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ttt3r_ros.types import Float32Array, Float64Array, UInt8Array

RUN, FRAMES, TRAJECTORY, MAP, CAMERA, REPORT, STATE = (
    "run.json", "frames.csv", "trajectory.txt", "map.ply", "camera.json", "report.html", "state.npz",
)  # fmt: skip
CONFIDENCE_SCALE = 1000.0  # value in confidence/*.png for a confidence of one

# All files and folders that a run may write, by output.
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
    """The images of one frame, at the network's resolution; None: not an output of the run."""

    rgb: UInt8Array | None  # (h, w, 3)
    depth_m: Float32Array | None  # (h, w), NaN where unknown
    confidence: Float32Array | None  # (h, w)


class RunFolder:
    """Reader of one run; frame k has pose k of the trajectory, counted from 0."""

    def __init__(self, path: Path) -> None:
        """Open a folder.

        Raises:
            SourceError: it has no ``run.json`` of a finished run.
        """
        self.path = path
        if path.is_dir() and not (path / RUN).exists():
            msg = f"{path} is not a finished run: it has no {RUN}"
            raise SourceError(msg)
        self.meta: dict[str, Any] = read_json(path / RUN)

    def __len__(self) -> int:
        return len(self._poses)

    def poses(self) -> tuple[list[int], Float64Array]:
        """Return the stamps [ns] and T_map_camera (N, 4, 4); empty without a trajectory."""
        stamps_ns = [stamp_ns for stamp_ns, _ in self._poses]
        return stamps_ns, np.array([T for _, T in self._poses]).reshape(-1, 4, 4)

    def records(self) -> list[FrameRecord]:
        """Return the record of every frame that has a pose; empty without ``frames.csv``."""
        return self._records

    def frame(self, index: int) -> SavedFrame:
        """Return the images of the frame of a pose.

        Raises:
            SourceError: the frame does not exist, or an image is damaged.
        """
        if not self._records:
            return SavedFrame(None, None, None)
        if not 0 <= index < len(self._records):
            msg = f"{self.path}: frame {index} does not exist; expected 0 to {len(self._records) - 1}"
            raise SourceError(msg)
        name = f"{self._records[index].index:06d}"
        rgb = self._read_image("rgb", f"{name}.jpg", cv2.IMREAD_COLOR)
        depth = self._read_image("depth", f"{name}.png", cv2.IMREAD_UNCHANGED)
        confidence = self._read_image("confidence", f"{name}.png", cv2.IMREAD_UNCHANGED)
        self._require_same_size(name, rgb, depth, confidence)
        return SavedFrame(
            None if rgb is None else np.ascontiguousarray(rgb[..., ::-1]),
            None if depth is None else _depth_m(depth),
            None
            if confidence is None
            else (confidence / np.float32(CONFIDENCE_SCALE)).astype(np.float32),
        )

    def cloud(self) -> PointCloud:
        """Return the points of the map; empty without a map."""
        if not (self.path / MAP).is_file():
            return PointCloud(np.empty((0, 3), np.float32), np.empty((0, 3), np.uint8))
        return PointCloud(*read_ply(self.path / MAP))

    @cached_property
    def _poses(self) -> list[tuple[int, Float64Array]]:
        return read_tum(self.path / TRAJECTORY)

    @cached_property
    def _records(self) -> list[FrameRecord]:
        return mapped_records(read_frames(self.path / FRAMES)) if (self.path / FRAMES).is_file() else []

    def _require_same_size(
        self, name: str, rgb: NDArray[Any] | None, *gray: NDArray[Any] | None
    ) -> None:
        images = [image for image in (rgb, *gray) if image is not None]
        shapes = [image.shape for image in images]
        if len({shape[:2] for shape in shapes}) > 1 or any(
            image is not None and image.ndim != 2 for image in gray
        ):
            found = ", ".join("x".join(map(str, shape)) for shape in shapes)
            msg = f"{self.path}: the images {name} have the shapes {found}; expected one size, gray except rgb"
            raise SourceError(msg)

    def _read_image(self, kind: str, name: str, mode: int) -> NDArray[Any] | None:
        path = self.path / kind / name
        if not path.is_file():
            return None
        image = read_image(path, mode)
        if image is None:
            msg = f"{path} cannot be read as an image"
            raise SourceError(msg)
        return image


def _depth_m(millimeters: NDArray[Any]) -> Float32Array:
    depth = (millimeters / np.float32(MM_PER_M)).astype(np.float32)
    depth[millimeters == 0] = np.nan
    return depth
