# SPDX-License-Identifier: Apache-2.0
"""Shows what a run has left: its frames one after the other, or its map and trajectory alone."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.errors import SourceError
from ttt3r_ros.geometry import quat_xyzw_from_rotation
from ttt3r_ros.io.export.point_cloud import read_ply
from ttt3r_ros.io.run_folder import MAP, RUN, TRAJECTORY, RunFolder
from ttt3r_ros.io.trajectory_files import read_tum
from ttt3r_ros.mapping.voxel_map import PointCloud
from ttt3r_ros.types import Intrinsics
from ttt3r_ros.viewer.panel import PanelSettings
from ttt3r_ros.viewer.points import BANDS
from ttt3r_ros.viewer.scene import Scene, Sight
from ttt3r_ros.viewer.server import Page, Showing

if TYPE_CHECKING:
    from pathlib import Path
    from threading import Event

    from ttt3r_ros.types import Float64Array

_PERIOD_S = 0.05
_LOADING_S = 0.1  # at a time, before the page is looked after again
_DEFAULT_VOXEL_M = 0.05
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recording:
    """What is known of a run; what it did not write is empty."""

    stamps_ns: list[int]
    T_map_camera: Float64Array  # (N, 4, 4)
    cloud: PointCloud
    run: RunFolder | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def pictured(self) -> bool:
        """Tell whether there are depth images, so that the map can grow frame by frame."""
        return self._has("rgb", "depth")

    @property
    def graded(self) -> bool:
        """Tell whether there are confidences."""
        return self._has("rgb", "depth", "confidence")

    @property
    def rate_hz(self) -> float:
        """Return how many frames a second had."""
        span_s = (self.stamps_ns[-1] - self.stamps_ns[0]) * 1e-9 if self.stamps_ns else 0.0
        return (len(self.stamps_ns) - 1) / span_s if span_s > 0 else 10.0

    @property
    def min_confidence(self) -> float:
        """Return the least confidence of what went into the map."""
        return float(self.settings.get("map.min_confidence", BANDS[0])) if self.graded else BANDS[0]

    @property
    def voxel_size(self) -> float:
        """Return the edge of the map's voxels [m]."""
        return float(self.settings.get("map.voxel_size", _DEFAULT_VOXEL_M))

    def sight(self, index: int) -> Sight | None:
        """Return what the frame of a pose shows, None if no picture of it was written.

        Raises:
            SourceError: a picture is damaged.
        """
        if self.run is None or not self.run.records():
            return None
        record, saved = self.run.records()[index], self.run.frame(index)
        rgb, depth, confidence = saved
        shape = next((picture.shape[:2] for picture in saved if picture is not None), None)
        if shape is None:
            return None
        return Sight.of_depth(
            np.zeros((*shape, 3), np.uint8) if rgb is None else rgb,
            np.full(shape, np.nan, np.float32) if depth is None else depth,
            np.full(shape, BANDS[-1], np.float32) if confidence is None else confidence,
            Intrinsics(record.fx, record.fy, record.cx, record.cy, record.width, record.height),
        )

    def segment(self, index: int) -> int:
        """Return the segment of a pose."""
        return self.run.records()[index].segment if self.run is not None and self.run.records() else 0

    def _has(self, *pictures: str) -> bool:
        return (
            self.run is not None
            and bool(self.run.records())
            and all((self.run.path / kind).is_dir() for kind in pictures)
        )


def open_recording(path: Path) -> Recording:
    """Open the folder of a run, of the demo or of the node's saves.

    Raises:
        SourceError: there is nothing to show in it, or it is damaged.
    """
    if (path / RUN).is_file():
        run = RunFolder(path)
        return Recording(*run.poses(), run.cloud(), run, dict(run.meta.get("settings") or {}))
    if not path.is_dir():
        msg = f"{path} is no folder; expected one that `ttt3r_ros run` has written"
        raise SourceError(msg)
    if not any((path / name).is_file() for name in (TRAJECTORY, MAP)):
        msg = f"{path} holds no {RUN}, {TRAJECTORY} or {MAP}; expected what `ttt3r_ros run` leaves"
        raise SourceError(msg)
    poses = read_tum(path / TRAJECTORY)
    cloud = PointCloud(np.empty((0, 3), np.float32), np.empty((0, 3), np.uint8))
    if (path / MAP).is_file():
        cloud = PointCloud(*read_ply(path / MAP))
    stamps_ns = [stamp_ns for stamp_ns, _ in poses]
    return Recording(stamps_ns, np.array([T for _, T in poses]).reshape(-1, 4, 4), cloud)


class Replay:
    """Shows a recording until it is told to stop."""

    def __init__(self, recording: Recording, host: str, port: int) -> None:
        """Serve the page; the frames come while `run` runs.

        Raises:
            ConfigError: viser is missing, or the port cannot be had.
        """
        self._recording = recording
        self._frames = len(recording.stamps_ns)
        growing = recording.pictured
        self.scene = Scene(
            0.5 * recording.voxel_size if growing else recording.voxel_size,
            float(recording.settings.get("map.max_range", np.inf)),
        )
        self.scene.way.complete = True
        self.scene.follow(_rows(recording.T_map_camera))
        self.scene.way.segments[:] = [recording.segment(index) for index in range(self._frames)]
        if not growing:
            self.scene.add_cloud(recording.cloud)
        self._to_load = iter(range(self._frames if growing else 0))
        self._shown = -1
        self._damaged: list[str] = []  # what was skipped, each once
        self.page = Page(
            host,
            port,
            PanelSettings(
                point_size=0.6 * recording.voxel_size,
                min_confidence=recording.min_confidence,
                graded=recording.graded,
                frames=self._frames,
                rate_hz=recording.rate_hz,
            ),
        )

    def run(self, closing: Event) -> None:
        """Load, play and show; then serve no more."""
        before = time.perf_counter()
        try:
            while not closing.is_set():
                now = time.perf_counter()
                self._tick(now - before)
                before = now
                closing.wait(max(0.0, now + _PERIOD_S - time.perf_counter()))
        finally:
            self.page.close()

    def _tick(self, passed_s: float) -> None:
        loaded = self._load()
        if (player := self.page.panel.player) is not None:
            player.advance(passed_s)
            self._look_at(player.frame)
        self.page.show(self.scene, Showing(self._note(loaded)))

    def _note(self, loaded: int | None) -> str:
        lines = [] if loaded is None else [f"reading frame {loaded}"]
        if self._damaged:
            more = f" ({len(self._damaged)} in all)" if len(self._damaged) > 1 else ""
            lines.append(f"skipped: `{self._damaged[-1]}`{more}")
        return "  \n".join(lines)

    def _load(self) -> int | None:
        """Read some frames; return the last of them, None once all are there."""
        until = time.perf_counter() + _LOADING_S
        index = None
        while time.perf_counter() < until and (index := next(self._to_load, None)) is not None:
            if (sight := self._sight(index)) is not None:
                self.scene.add(sight, index, self._recording.segment(index))
                self._shown = -1
        return index

    def _look_at(self, frame: int) -> None:
        if frame != self._shown:
            self.scene.sight, self._shown = self._sight(frame), frame

    def _sight(self, index: int) -> Sight | None:
        """Return what a frame shows, None if no picture of it was written or one is damaged."""
        try:
            return self._recording.sight(index)
        except SourceError as error:
            if str(error) not in self._damaged:
                self._damaged.append(str(error))
                logger.warning("skipped: %s", error)
            return None


def _rows(T_map_camera: Float64Array) -> Float64Array:
    rows = [(*T[:3, 3], *quat_xyzw_from_rotation(T[:3, :3])) for T in T_map_camera]
    return np.array(rows).reshape(-1, 7)
