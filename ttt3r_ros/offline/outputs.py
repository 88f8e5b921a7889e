# SPDX-License-Identifier: Apache-2.0
"""Outputs of a run: images and the bag are written during the run, everything else at its end."""

from __future__ import annotations

import json
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from ttt3r_ros.errors import OutputError, describe_error
from ttt3r_ros.geometry import pose_matrix_xyzw
from ttt3r_ros.io.atomic import atomic_write
from ttt3r_ros.io.export.colmap import PosedImage, write_colmap
from ttt3r_ros.io.export.frame_images import FrameImageWriter
from ttt3r_ros.io.export.glb import write_glb
from ttt3r_ros.io.export.map_files import write_map
from ttt3r_ros.io.export.nerfstudio import write_transforms
from ttt3r_ros.io.frame_records import FrameRecord, mapped_records, median_camera, write_frames
from ttt3r_ros.io.run_folder import CAMERA, FRAMES, MAP, TRAJECTORY
from ttt3r_ros.io.trajectory_files import write_trajectory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ttt3r_ros.config import Config
    from ttt3r_ros.offline.mapper import RecordingMapper
    from ttt3r_ros.offline.recorded_sensors import RecordedSensors
    from ttt3r_ros.types import Float64Array, Update

logger = logging.getLogger(__name__)
_FRAME_KINDS = ("rgb", "depth", "confidence", "npz")


class RunOutputs:
    """The outputs of one run, by their names."""

    def __init__(
        self,
        folder: Path,
        names: tuple[str, ...],
        config: Config,
        robot: RecordedSensors,
        first: int = 0,
    ) -> None:
        """Prepare the outputs; ``first``: first frame of this process."""
        self.folder = folder
        self.names = names
        self.written: list[str] = []
        self._open_images = partial(_frame_files, folder, names, config.min_confidence)
        self._images: FrameImageWriter | None = None  # opened with the first frame, as the bag
        self._open_bag = partial(_output_bag, folder / _bag_name(first), config, robot)
        self._bag: Any = None  # opened with the first frame, so that a run without frames writes none

    def add(self, index: int, update: Update) -> None:
        """Write the images and messages of one frame.

        Raises:
            OutputError: it cannot be written.
        """
        self._images = self._images or self._open_images()
        if self._images is not None:
            self._images.add(index, update)
        if "bag" in self.names:
            self._bag = self._bag or self._open_bag()
            self._bag.add(update)

    def before_reset(self, mapping: RecordingMapper) -> None:
        """Write map and trajectory before they are cleared, as the node does when time goes back.

        Raises:
            OutputError: they cannot be written.
        """
        suffix = f"_until_{mapping.newest_stamp_ns}"
        if "trajectory" in self.names:
            self._write_trajectory(mapping, suffix, forms=("tum",))
        if "map" in self.names:
            self._write_map(mapping, suffix)

    def finish(self, mapping: RecordingMapper) -> list[str]:
        """Write the outputs of the whole run; return a message for each that failed."""
        steps: dict[str, Callable[[], None]] = {
            "frames": lambda: write_frames(self.folder / FRAMES, mapping.records),
        }
        if len(mapping.reconstructor.trajectory):
            steps |= {
                "trajectory": lambda: self._write_trajectory(mapping),
                "map": lambda: self._write_map(mapping),
                "glb": lambda: self._write_glb(mapping),
                "colmap": lambda: self._write_colmap(mapping),
                "nerfstudio": lambda: self._write_transforms(mapping),
                "bag": lambda: self._close_bag(mapping),
            }
        selected = {name: step for name, step in steps.items() if name in self.names}
        problems = [problem for name, step in selected.items() if (problem := self.attempt(name, step))]
        if len(mapping.reconstructor.trajectory):
            self.written += [name for name in _FRAME_KINDS if name in self.names]
        return problems

    def attempt(self, name: str, step: Callable[[], None]) -> str:
        """Write one output; return the error message, empty on success."""
        try:
            step()
        except OutputError as error:
            return str(error)
        except Exception as error:  # the other outputs are written all the same
            logger.exception("output %s", name)
            return f"output {name}: {describe_error(error)}"
        self.written.append(name)
        return ""

    def close(self) -> None:
        """Discard an unfinished bag."""
        if self._bag is not None:
            self._bag.abort()

    def _write_trajectory(
        self,
        mapping: RecordingMapper,
        suffix: str = "",
        forms: tuple[str, ...] = ("tum", "kitti", "euroc"),
    ) -> None:
        names = {"tum": TRAJECTORY, "kitti": "trajectory_kitti.txt", "euroc": "trajectory_euroc.csv"}
        stamps_ns, poses = mapping.reconstructor.trajectory.poses()
        for form in forms:
            path = self.folder / names[form]
            write_trajectory(path.with_stem(path.stem + suffix), stamps_ns, poses, form)
        if not suffix:
            write_json(self.folder / CAMERA, _camera(mapping.records))

    def _write_map(self, mapping: RecordingMapper, suffix: str = "") -> None:
        write_map((self.folder / MAP).with_stem(f"map{suffix}"), mapping.reconstructor.map)

    def _write_glb(self, mapping: RecordingMapper) -> None:
        cloud = mapping.reconstructor.map.voxels.point_cloud()
        write_glb(self.folder / "map.glb", cloud, list(_poses(mapping)))

    def _write_colmap(self, mapping: RecordingMapper) -> None:
        cloud = mapping.reconstructor.map.voxels.point_cloud()
        write_colmap(self.folder / "colmap", _views(self.folder, mapping), cloud)

    def _write_transforms(self, mapping: RecordingMapper) -> None:
        views = _views(self.folder, mapping)
        write_transforms(self.folder / "transforms.json", views, self.folder / MAP)

    def _close_bag(self, mapping: RecordingMapper) -> None:
        if self._bag is not None:
            self._bag.close(mapping.reconstructor)
            self._bag = None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write an object as JSON.

    Raises:
        OutputError: the file cannot be written.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False, default=str)
    with atomic_write(path) as file:
        file.write(f"{text}\n".encode("utf-8", "backslashreplace"))  # file names need not be UTF-8


def _camera(records: list[FrameRecord]) -> dict[str, float | int]:
    camera = median_camera(records)
    return {name: getattr(camera, name) for name in ("fx", "fy", "cx", "cy", "width", "height")}


def _poses(mapping: RecordingMapper) -> Float64Array:
    _, poses = mapping.reconstructor.trajectory.poses()
    return pose_matrix_xyzw(poses)


def _views(folder: Path, mapping: RecordingMapper) -> list[PosedImage]:
    median = median_camera(mapping.records)
    views = []
    for record, T_map_camera in zip(mapped_records(mapping.records), _poses(mapping), strict=True):
        same_size = (record.width, record.height) == (median.width, median.height)
        name = f"{record.index:06d}.jpg"
        camera = median if same_size else record.intrinsics
        image = folder / "rgb" / name
        if image.is_file():  # the last image is missing if the disk was full
            views.append(PosedImage(name, T_map_camera, camera, image))
    return views


def _frame_files(folder: Path, names: tuple[str, ...], min_confidence: float) -> FrameImageWriter | None:
    kinds = {name for name in _FRAME_KINDS if name in names}
    return FrameImageWriter(folder, kinds, min_confidence) if kinds else None


def _bag_name(first: int) -> str:
    return f"bag_{first:06d}" if first else "bag"


def _output_bag(path: Path, config: Config, robot: RecordedSensors) -> Any:
    from ttt3r_ros.io.bags.writer import OutputBag  # noqa: PLC0415 - rosbags is an optional extra

    return OutputBag(path, config, robot.mount)
