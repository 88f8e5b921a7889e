# SPDX-License-Identifier: Apache-2.0
"""Viewer of a recorded run: frame by frame, or its final map and trajectory."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.config import setting_value
from ttt3r_ros.errors import ConfigError, SourceError, short_text
from ttt3r_ros.geometry import pose_row_xyzw
from ttt3r_ros.io.export.point_cloud import read_ply
from ttt3r_ros.io.run_folder import MAP, RUN, TRAJECTORY, RunFolder
from ttt3r_ros.io.trajectory_files import read_tum
from ttt3r_ros.mapping.voxel_map import PointCloud
from ttt3r_ros.types import Intrinsics
from ttt3r_ros.viewer.panel import PanelSettings
from ttt3r_ros.viewer.points import BANDS
from ttt3r_ros.viewer.scene import POINT_SIZE, SCENE_VOXEL_SIZE, RgbdImage, Scene
from ttt3r_ros.viewer.server import Page

if TYPE_CHECKING:
    from pathlib import Path
    from threading import Event

    from ttt3r_ros.types import Float64Array

_PERIOD_S = 0.05
_LOADING_S = 0.1  # between two updates of the page
_DEFAULT_VOXEL_M = 0.05
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SavedRun:
    """Recorded data of a run; outputs that were not written are empty."""

    stamps_ns: list[int]
    T_map_camera: Float64Array  # (N, 4, 4)
    cloud: PointCloud
    run: RunFolder | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def has_depth(self) -> bool:
        """Return whether there are depth images, from which the map can grow frame by frame."""
        return self._has("rgb", "depth")

    @property
    def has_confidence(self) -> bool:
        """Return whether there are confidence images."""
        return self._has("rgb", "depth", "confidence")

    @property
    def rate_hz(self) -> float:
        """Return the mean frame rate."""
        span_s = (self.stamps_ns[-1] - self.stamps_ns[0]) * 1e-9 if self.stamps_ns else 0.0
        return (len(self.stamps_ns) - 1) / span_s if span_s > 0 else 10.0

    @property
    def min_confidence(self) -> float:
        """Return the minimum confidence of points in the map."""
        return self._setting("map.min_confidence", BANDS[0]) if self.has_confidence else BANDS[0]

    @property
    def voxel_size(self) -> float:
        """Return the edge length of the map's voxels [m]."""
        return self._setting("map.voxel_size", _DEFAULT_VOXEL_M)

    @property
    def max_range(self) -> float:
        """Return the maximum distance of points in the map [m]."""
        return self._setting("map.max_range", np.inf)

    def rgbd(self, index: int) -> RgbdImage | None:
        """Return the images of a pose, None if none was written.

        Raises:
            SourceError: an image is damaged.
        """
        if self.run is None or not self.run.records():
            return None
        record, saved = self.run.records()[index], self.run.frame(index)
        rgb, depth, confidence = saved
        shape = next((image.shape[:2] for image in saved if image is not None), None)
        if shape is None:
            return None
        return RgbdImage.from_depth(
            np.zeros((*shape, 3), np.uint8) if rgb is None else rgb,
            np.full(shape, np.nan, np.float32) if depth is None else depth,
            np.full(shape, BANDS[-1], np.float32) if confidence is None else confidence,
            Intrinsics(record.fx, record.fy, record.cx, record.cy, record.width, record.height),
        )

    def segment(self, index: int) -> int:
        """Return the segment of a pose."""
        return self.run.records()[index].segment if self.run is not None and self.run.records() else 0

    def _setting(self, name: str, default: float) -> float:
        if name not in self.settings:
            return default
        try:
            return float(setting_value(name, self.settings[name]))
        except ConfigError as error:
            msg = f"{self.run.path / RUN if self.run else RUN}: {error}"
            raise SourceError(msg) from error

    def _has(self, *kinds: str) -> bool:
        return (
            self.run is not None
            and bool(self.run.records())
            and all((self.run.path / kind).is_dir() for kind in kinds)
        )


def open_run(path: Path) -> SavedRun:
    """Open a run folder, or a folder with results of the demo or the node.

    Raises:
        SourceError: the folder has no results, or they are damaged.
    """
    if (path / RUN).is_file():
        run = RunFolder(path)
        settings = run.meta.get("settings") or {}
        if not isinstance(settings, dict):
            msg = f"{path / RUN}: settings is {short_text(settings)}; expected an object"
            raise SourceError(msg)
        return SavedRun(*run.poses(), run.cloud(), run, settings)
    if not path.is_dir():
        msg = f"{path} is not a folder; expected the output of `ttt3r_ros run`"
        raise SourceError(msg)
    if not any((path / name).is_file() for name in (TRAJECTORY, MAP)):
        msg = f"{path} has no {RUN}, {TRAJECTORY} or {MAP}; expected the output of `ttt3r_ros run`"
        raise SourceError(msg)
    poses = read_tum(path / TRAJECTORY)
    cloud = PointCloud(np.empty((0, 3), np.float32), np.empty((0, 3), np.uint8))
    if (path / MAP).is_file():
        cloud = PointCloud(*read_ply(path / MAP))
    stamps_ns = [stamp_ns for stamp_ns, _ in poses]
    return SavedRun(stamps_ns, np.array([T for _, T in poses]).reshape(-1, 4, 4), cloud)


class Replay:
    """Page of a recorded run."""

    def __init__(self, recording: SavedRun, host: str, port: int) -> None:
        """Serve the page; `run` loads the frames.

        Raises:
            ConfigError: viser is not installed, or the port is in use.
        """
        self._recording = recording
        self._frame_count = len(recording.stamps_ns)
        growing = recording.has_depth
        self.scene = Scene(
            SCENE_VOXEL_SIZE * recording.voxel_size if growing else recording.voxel_size,
            recording.max_range,
        )
        self.scene.camera_path.complete = True
        self.scene.update_poses(pose_row_xyzw(recording.T_map_camera))
        self.scene.camera_path.segments[:] = [
            recording.segment(index) for index in range(self._frame_count)
        ]
        if not growing:
            self.scene.add_cloud(recording.cloud)
        self._to_load = iter(range(self._frame_count if growing else 0))
        self._shown_frame = -1
        self._damaged: list[str] = []  # errors of skipped images, each once
        self.page = Page(
            host,
            port,
            PanelSettings(
                point_size=POINT_SIZE * recording.voxel_size,
                min_confidence=recording.min_confidence,
                has_confidence=recording.has_confidence,
                frames=self._frame_count,
                rate_hz=recording.rate_hz,
            ),
        )

    def run(self, closing: Event) -> None:
        """Load, play and show frames until closed."""
        previous = time.perf_counter()
        try:
            while not closing.is_set():
                now = time.perf_counter()
                self._tick(now - previous)
                previous = now
                closing.wait(max(0.0, now + _PERIOD_S - time.perf_counter()))
        finally:
            self.page.close()

    def _tick(self, elapsed_s: float) -> None:
        loaded = self._load()
        if (playback := self.page.panel.playback) is not None:
            playback.advance(elapsed_s)
            self._select_frame(playback.frame)
        self.page.show(self.scene, self._note(loaded))

    def _note(self, loaded: int | None) -> str:
        lines = [] if loaded is None else [f"loading frame {loaded}"]
        if self._damaged:
            more = f" ({len(self._damaged)} in total)" if len(self._damaged) > 1 else ""
            lines.append(f"skipped: `{self._damaged[-1]}`{more}")
        return "  \n".join(lines)

    def _load(self) -> int | None:
        """Load some frames; return the index of the last one, None if all were loaded before."""
        deadline = time.perf_counter() + _LOADING_S
        index = None
        while time.perf_counter() < deadline and (index := next(self._to_load, None)) is not None:
            if (rgbd := self._read_rgbd(index)) is not None:
                self.scene.add(rgbd, index, self._recording.segment(index))
                self._shown_frame = -1
        return index

    def _select_frame(self, frame: int) -> None:
        if frame != self._shown_frame:
            self.scene.rgbd, self._shown_frame = self._read_rgbd(frame), frame

    def _read_rgbd(self, index: int) -> RgbdImage | None:
        """Return the images of a frame, None if none was written or one is damaged."""
        try:
            return self._recording.rgbd(index)
        except SourceError as error:
            if str(error) not in self._damaged:
                self._damaged.append(str(error))
                logger.warning("skipped: %s", error)
            return None
