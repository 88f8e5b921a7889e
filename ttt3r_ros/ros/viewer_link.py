# SPDX-License-Identifier: Apache-2.0
"""Pass the results of each frame to the viewer, by reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rclpy.impl.rcutils_logger import RcutilsLogger

    from ttt3r_ros.config import Config
    from ttt3r_ros.ros.mapped_camera import MappedCamera, TrackedBody
    from ttt3r_ros.types import Update
    from ttt3r_ros.viewer.live import LiveViewer


class ViewerLink:
    """Does nothing without ``viewer: true``. Of several maps the viewer shows the one with the first frame."""

    def __init__(self, config: Config, log: RcutilsLogger) -> None:
        """Start the viewer.

        Raises:
            ConfigError: viser is not installed, or the port is in use.
        """
        self._body: TrackedBody | None = None
        self.live = _open(config) if config.viewer else None
        if self.live is not None:
            log.info(f"viewer at {self.live.page.url}")

    def show(self, camera: MappedCamera, update: Update) -> None:
        """Pass the results of a frame; called on the worker thread."""
        if self.live is None:
            return
        self._body = self._body or camera.body
        if camera.body is not self._body:
            return
        reconstructor = self._body.reconstructor
        is_reference_camera = reconstructor.is_reference_camera(update.frame)
        self.live.show(update, reconstructor, is_reference_camera=is_reference_camera)

    def facts(self) -> dict[str, str]:
        """Return the diagnostics of the viewer."""
        if self.live is None:
            return {}
        state = self.live.page.url if self.live.failure is None else f"stopped: {self.live.failure}"
        return {"viewer": state, "viewer_dropped": str(self.live.slot.dropped)}

    def close(self) -> None:
        """Stop the viewer."""
        if self.live is not None:
            self.live.close()
            self.live = None


def _open(config: Config) -> LiveViewer:
    from ttt3r_ros.viewer.live import open_live  # noqa: PLC0415 - viser is optional

    return open_live(
        config.viewer_host,
        config.viewer_port,
        voxel_size=config.map.voxel_size,
        max_range=config.map.max_range,
        min_confidence=config.map.min_confidence,
    )
