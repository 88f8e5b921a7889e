# SPDX-License-Identifier: Apache-2.0
"""From the mapping node to its viewer: a reference for each frame, nothing that costs time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rclpy.impl.rcutils_logger import RcutilsLogger

    from ttt3r_ros.config import Config
    from ttt3r_ros.ros.mapped_camera import MappedCamera, TrackedBody
    from ttt3r_ros.types import Update
    from ttt3r_ros.viewer.live import LiveViewer


class ViewerLink:
    """Does nothing unless the settings want a viewer. It shows one map: of several, the one that begins first."""

    def __init__(self, config: Config, log: RcutilsLogger) -> None:
        """Open the page.

        Raises:
            ConfigError: viser is not installed, or the port cannot be had.
        """
        self._body: TrackedBody | None = None
        self.live = _opened(config) if config.viewer else None
        if self.live is not None:
            log.info(f"the map can be seen at {self.live.page.url}")

    def show(self, camera: MappedCamera, update: Update) -> None:
        """Leave what a frame brought where the viewer finds it; on the worker thread."""
        if self.live is None:
            return
        self._body = self._body or camera.body
        if camera.body is not self._body:
            return
        reconstructor = self._body.reconstructor
        leads = reconstructor.is_reference_camera(update.frame)
        self.live.show(update, reconstructor, leads=leads)

    def facts(self) -> dict[str, str]:
        """Return what diagnostics say of the viewer."""
        if self.live is None:
            return {}
        state = self.live.page.url if self.live.failure is None else f"stopped: {self.live.failure}"
        return {"viewer": state, "viewer_dropped": str(self.live.mailbox.dropped)}

    def close(self) -> None:
        """Close the page."""
        if self.live is not None:
            self.live.close()
            self.live = None


def _opened(config: Config) -> LiveViewer:
    from ttt3r_ros.viewer.live import open_live  # noqa: PLC0415 - only where it is wanted

    return open_live(
        config.viewer_host,
        config.viewer_port,
        voxel_size=config.map.voxel_size,
        max_range=config.map.max_range,
        min_confidence=config.map.min_confidence,
    )
