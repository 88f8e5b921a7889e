# SPDX-License-Identifier: Apache-2.0
"""Viewer of a running reconstruction: the mapping thread passes references, a viewer thread draws."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ttt3r_ros.viewer.panel import PanelSettings
from ttt3r_ros.viewer.scene import POINT_SIZE, SCENE_VOXEL_SIZE, RgbdImage, Scene
from ttt3r_ros.viewer.server import Page

if TYPE_CHECKING:
    from ttt3r_ros.pipeline.reconstructor import Reconstructor
    from ttt3r_ros.types import Update

PERIOD_S = 0.2  # minimum, between two updates of the page
_IDLE_RATIO = 9.0  # idle time per working time of the viewer thread: it uses at most a tenth of one core
logger = logging.getLogger(__name__)
ItemT = TypeVar("ItemT")


class LatestSlot(Generic[ItemT]):
    """Queue of one item; a newer item displaces one that was not taken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._item: ItemT | None = None
        self.dropped = 0

    def put(self, item: ItemT) -> None:
        """Put an item; blocks only while another thread puts or takes."""
        with self._lock:
            if self._item is not None:
                self.dropped += 1
            self._item = item

    def take(self) -> ItemT | None:
        """Remove and return the item; None if there is none."""
        with self._lock:
            item, self._item = self._item, None
        return item


@dataclass(frozen=True)
class FrameReference:
    """References to a frame's results and its reconstruction, which any thread may read."""

    update: Update
    reconstructor: Reconstructor[Any]
    newest: int  # index of the last pose of the trajectory
    is_reference_camera: bool  # the last pose is this frame's; otherwise it is of the rig's first camera
    # Counters of trajectory and map; if they have changed, the frame belongs to an earlier map.
    trajectory_revision: int
    map_epoch: int

    @classmethod
    def create(
        cls, update: Update, reconstructor: Reconstructor[Any], *, is_reference_camera: bool = True
    ) -> FrameReference:
        """Return the reference of the newest frame."""
        trajectory, voxels = reconstructor.trajectory, reconstructor.map.voxels
        return cls(
            update,
            reconstructor,
            len(trajectory) - 1,
            is_reference_camera,
            trajectory.revision,
            voxels.epoch,
        )


class SceneUpdater:
    """Updates a scene from a reconstruction, which may be reset, cleared or restored at any time."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._reconstructor: Reconstructor[Any] | None = None
        self._epoch = self._revision = self._map_epoch = -1  # of the content of the scene

    def update(self, reference: FrameReference | None) -> None:
        """Update the poses and, if the frame belongs to the current map, add its points."""
        if reference is not None:
            self._reconstructor = reference.reconstructor
        if self._reconstructor is None:
            return
        self._update_poses(self._reconstructor)
        current = (self._revision, self._map_epoch)
        if reference is not None and (reference.trajectory_revision, reference.map_epoch) == current:
            update = reference.update
            T_map_camera = None if reference.is_reference_camera else update.T_map_camera
            self.scene.add(RgbdImage.from_update(update), reference.newest, update.segment, T_map_camera)

    def _update_poses(self, reconstructor: Reconstructor[Any]) -> None:
        map_epoch = reconstructor.map.voxels.epoch
        delta = reconstructor.trajectory.delta(self._revision, len(self.scene.camera_path))
        if delta.epoch != self._epoch:
            self.scene.clear()
        elif map_epoch != self._map_epoch:
            self.scene.clear_points()
        self._epoch, self._revision = delta.epoch, delta.revision
        self._map_epoch = map_epoch
        self.scene.update_poses(delta.poses, delta.start)


def open_live(
    host: str, port: int, *, voxel_size: float, max_range: float, min_confidence: float
) -> LiveViewer:
    """Serve a page for a growing map with a voxel size [m] and a range [m].

    Raises:
        ConfigError: viser is not installed, or the port is in use.
    """
    settings = PanelSettings(point_size=POINT_SIZE * voxel_size, min_confidence=min_confidence)
    scene = Scene(SCENE_VOXEL_SIZE * voxel_size, max_range)
    return LiveViewer(scene, Page(host, port, settings))


class LiveViewer:
    """Page of a running reconstruction, with the thread that updates it."""

    def __init__(self, scene: Scene, page: Page) -> None:
        self.slot: LatestSlot[FrameReference] = LatestSlot()
        self.scene, self.page = scene, page
        self.failure: Exception | None = None
        self._updater = SceneUpdater(scene)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="viewer", daemon=True)
        self._thread.start()

    def show(
        self, update: Update, reconstructor: Reconstructor[Any], *, is_reference_camera: bool = True
    ) -> None:
        """Show the newest frame with the next update, unless a newer one displaces it.

        Call it on the mapping thread after the frame was integrated. ``is_reference_camera`` is false for a frame of
        another camera of a rig. The page then also follows resets, clearing and restoring of the reconstruction.
        """
        self.slot.put(
            FrameReference.create(update, reconstructor, is_reference_camera=is_reference_camera)
        )

    def close(self) -> None:
        """Stop thread and page."""
        self._closing.set()
        self._thread.join()
        self.page.close()

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                started = time.perf_counter()
                self._updater.update(self.slot.take())
                dropped = self.slot.dropped
                self.page.show(self.scene, f"{dropped} frames dropped by the viewer" if dropped else "")
                spent_s = time.perf_counter() - started
                self._closing.wait(max(PERIOD_S - spent_s, _IDLE_RATIO * spent_s))
        except Exception as error:  # mapping continues without the viewer
            self.failure = error
            logger.exception("the viewer stopped")
            self.page.panel.set_status(f"**The viewer stopped:** `{error!r}`")
