# SPDX-License-Identifier: Apache-2.0
"""The viewer beside a running reconstruction: who maps leaves a reference, a thread does everything else."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ttt3r_ros.viewer.panel import PanelSettings
from ttt3r_ros.viewer.scene import Scene, Sight
from ttt3r_ros.viewer.server import Page, Showing

if TYPE_CHECKING:
    from ttt3r_ros.pipeline.reconstructor import Reconstructor
    from ttt3r_ros.types import Update

PERIOD_S = 0.2  # between two pictures, and so the most of them: 5 per second
_REST = 9.0  # times as long as it worked does the thread rest: it takes a tenth of one core at most
logger = logging.getLogger(__name__)
ItemT = TypeVar("ItemT")


class Mailbox(Generic[ItemT]):
    """One slot, in which the newest item replaces the one that nobody took."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._item: ItemT | None = None
        self.dropped = 0

    def put(self, item: ItemT) -> None:
        """Leave an item; never waits for more than another's put or take."""
        with self._lock:
            if self._item is not None:
                self.dropped += 1
            self._item = item

    def take(self) -> ItemT | None:
        """Return the item and empty the slot; None if it is empty."""
        with self._lock:
            item, self._item = self._item, None
        return item


@dataclass(frozen=True)
class Snapshot:
    """What the worker hands over: references to what does not change, or may be read by any thread."""

    update: Update
    reconstructor: Reconstructor[Any]
    newest: int  # index of the trajectory's last pose
    leads: bool  # that pose is this frame's; otherwise the frame is of another camera of the rig
    # The counters of trajectory and map as they were: once they are others, the frame belongs to what is gone.
    trajectory_revision: int
    map_epoch: int

    @classmethod
    def of(cls, update: Update, reconstructor: Reconstructor[Any], *, leads: bool = True) -> Snapshot:
        """Return that of a frame whose pose, or that of the rig's first camera, is the newest."""
        trajectory, voxels = reconstructor.trajectory, reconstructor.map.voxels
        return cls(update, reconstructor, len(trajectory) - 1, leads, trajectory.revision, voxels.epoch)


class Follower:
    """Keeps a scene in step with a reconstruction that begins anew, is emptied or restored as it likes."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._reconstructor: Reconstructor[Any] | None = None
        self._epoch = self._revision = self._map_epoch = -1  # as the scene shows them

    def look(self, snapshot: Snapshot | None) -> None:
        """Take over what has changed, and what a frame has shown if it is of the map as it is now."""
        if snapshot is not None:
            self._reconstructor = snapshot.reconstructor
        if self._reconstructor is None:
            return
        self._follow(self._reconstructor)
        now = (self._revision, self._map_epoch)
        if snapshot is not None and (snapshot.trajectory_revision, snapshot.map_epoch) == now:
            update = snapshot.update
            beside = None if snapshot.leads else update.T_map_camera
            self.scene.add(Sight.of(update), snapshot.newest, update.segment, beside)

    def _follow(self, reconstructor: Reconstructor[Any]) -> None:
        map_epoch = reconstructor.map.voxels.epoch
        delta = reconstructor.trajectory.delta(self._revision, len(self.scene.way))
        if delta.epoch != self._epoch:
            self.scene.clear()
        elif map_epoch != self._map_epoch:
            self.scene.clear_points()
        self._epoch, self._revision = delta.epoch, delta.revision
        self._map_epoch = map_epoch
        self.scene.follow(delta.poses, delta.start)


def open_live(
    host: str, port: int, *, voxel_size: float, max_range: float, min_confidence: float
) -> LiveViewer:
    """Serve a page for a map that grows; voxel size and range [m] are those of the map itself.

    Raises:
        ConfigError: viser is missing, or the port cannot be had.
    """
    settings = PanelSettings(point_size=0.6 * voxel_size, min_confidence=min_confidence)
    return LiveViewer(Scene(0.5 * voxel_size, max_range), Page(host, port, settings))


class LiveViewer:
    """Shows in the browser what a reconstruction gives it."""

    def __init__(self, scene: Scene, page: Page) -> None:
        self.mailbox: Mailbox[Snapshot] = Mailbox()
        self.scene, self.page = scene, page
        self.failure: Exception | None = None
        self._follower = Follower(scene)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="viewer", daemon=True)
        self._thread.start()

    def show(self, update: Update, reconstructor: Reconstructor[Any], *, leads: bool = True) -> None:
        """Show a frame as soon as there is time for it, unless a newer one comes before that.

        To be called by who has just appended the frame's pose; ``leads`` false: that of the rig's first camera.
        From then on the page also shows when the reconstruction begins anew, is emptied or restored.
        """
        self.mailbox.put(Snapshot.of(update, reconstructor, leads=leads))

    def close(self) -> None:
        """Close the page."""
        self._closing.set()
        self._thread.join()
        self.page.close()

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                started = time.perf_counter()
                self._follower.look(self.mailbox.take())
                dropped = self.mailbox.dropped
                self.page.show(self.scene, Showing(f"{dropped} frames left out here" if dropped else ""))
                spent = time.perf_counter() - started
                self._closing.wait(max(PERIOD_S - spent, _REST * spent))
        except Exception as error:  # the mapping goes on without its viewer
            self.failure = error
            logger.exception("the viewer stopped")
            self.page.panel.tell(f"**The viewer stopped:** `{error!r}`")
