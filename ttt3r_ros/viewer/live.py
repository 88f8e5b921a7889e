# SPDX-License-Identifier: Apache-2.0
"""The viewer beside a running reconstruction: who maps leaves a reference, a thread does everything else."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from ttt3r_ros.viewer.panel import PanelSettings
from ttt3r_ros.viewer.scene import Scene, Sight
from ttt3r_ros.viewer.server import Page, Showing

if TYPE_CHECKING:
    from ttt3r_ros.pipeline.trajectory import Trajectory
    from ttt3r_ros.types import Update

PERIOD_S = 0.2  # between two pictures, and so the most of them: 5 per second
_REST = 4.0  # times as long as it worked does the thread rest: it takes a fifth of one core at most
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
    trajectory: Trajectory
    newest: int  # index of the trajectory's last pose
    leads: bool  # that pose is this frame's; otherwise the frame is of another camera of the rig


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
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="viewer", daemon=True)
        self._thread.start()

    def show(self, update: Update, trajectory: Trajectory, *, leads: bool = True) -> None:
        """Show a frame as soon as there is time for it, unless a newer one comes before that.

        To be called by who has just appended the frame's pose; ``leads`` false: that of the rig's first camera.
        """
        self.mailbox.put(Snapshot(update, trajectory, len(trajectory) - 1, leads))

    def close(self) -> None:
        """Close the page."""
        self._closing.set()
        self._thread.join()
        self.page.close()

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                started = time.perf_counter()
                self._look()
                spent = time.perf_counter() - started
                self._closing.wait(max(PERIOD_S - spent, _REST * spent))
        except Exception as error:  # the mapping goes on without its viewer
            self.failure = error
            logger.exception("the viewer stopped")

    def _look(self) -> None:
        if (snapshot := self.mailbox.take()) is not None:
            self._take_in(snapshot)
        self.page.show(self.scene, Showing(f"{self.mailbox.dropped} frames left out here"))

    def _take_in(self, snapshot: Snapshot) -> None:
        update, index = snapshot.update, snapshot.newest
        # A snapshot from before a restart of the mapping shows nothing of the map that began with it.
        if not self.scene.follow(*snapshot.trajectory.poses()) or index >= len(self.scene.way):
            return
        if snapshot.leads and self.scene.way.stamps_ns[index] != update.frame.stamp_ns:
            return
        beside = None if snapshot.leads else update.T_map_camera
        self.scene.add(Sight.of(update), index, update.segment, beside)
