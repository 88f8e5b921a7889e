# SPDX-License-Identifier: Apache-2.0
"""Control panel of the viewer."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ttt3r_ros.viewer import colors
from ttt3r_ros.viewer.points import BANDS, confidence_bands
from ttt3r_ros.viewer.scene import CAPACITY, MAX_POINTS, Selection

if TYPE_CHECKING:
    from collections.abc import Callable

    from ttt3r_ros.types import UInt8Array
    from ttt3r_ros.viewer.scene import RgbdImage


@dataclass(frozen=True)
class PanelSettings:
    """Initial values of the controls."""

    point_size: float = 0.03  # [m]
    min_confidence: float = 1.0
    has_confidence: bool = True
    frames: int = 0  # of a recorded run; 0: a live map without playback
    rate_hz: float = 10.0  # of playback


_NO_IMAGE = np.full((120, 160, 3), 24, np.uint8)
_IMAGE_WIDTH = 320  # [px]
_MILLION = 1e6


class Panel:
    """Controls, status text and current images."""

    def __init__(
        self,
        gui: Any,
        settings: PanelSettings,
        *,
        on_download: Callable[[Any], None],
        on_screenshot: Callable[[Any], None],
    ) -> None:
        self._status = gui.add_markdown("")
        with gui.add_folder("Points"):
            self._band = int(confidence_bands(np.array([settings.min_confidence], np.float32))[0])
            self.confidence = gui.add_slider(
                "min. confidence", BANDS[0], BANDS[-1], 0.5, BANDS[self._band],
                marks=[(band, f"{band:g}") for band in BANDS if band != 1.5],
                disabled=not settings.has_confidence, hint="Points of lower confidence are hidden.",
            )  # fmt: skip
            self.point_size = gui.add_slider(
                "point size [m]", 0.002, 0.2, 0.002, float(np.clip(settings.point_size, 0.002, 0.2))
            )
            self.max_points = gui.add_slider(
                "max. points [M]", 0.1, CAPACITY / _MILLION, 0.1, MAX_POINTS / _MILLION,
                hint="In millions. Above it, every second, fourth, ... point is drawn.",
            )  # fmt: skip
            self.by_segment = gui.add_checkbox(
                "color by segment",
                initial_value=False,
                hint="Each state reset starts a segment.",
            )
        with gui.add_folder("Camera"):
            self.follow = gui.add_checkbox(
                "follow camera", initial_value=False, hint="Moves the view with the camera."
            )
            self.frusta = gui.add_checkbox(
                "frusta", initial_value=True, hint="Draws cameras along the path."
            )
        self.playback = PlaybackControls(gui, settings) if settings.frames else None
        with gui.add_folder("Current frame"):
            self._image = gui.add_image(_NO_IMAGE, label="image")
            self._depth = gui.add_image(_NO_IMAGE, label="depth")
        gui.add_button("screenshot").on_click(lambda event: on_screenshot(event.client))
        gui.add_button("download PLY").on_click(lambda event: on_download(event.client))
        self._text = ""
        self._rgbd: RgbdImage | None = None

    def selection(self) -> Selection:
        """Return the current settings."""
        return Selection(
            band=self._selected_band(),
            max_points=round(self.max_points.value * _MILLION),
            by_segment=bool(self.by_segment.value),
            frusta=bool(self.frusta.value),
            until=self.playback.frame if self.playback is not None else None,
        )

    def _selected_band(self) -> int:
        """Return the band at the slider; between two bands, move the slider on to the next one in its direction."""
        value, previous = float(self.confidence.value), BANDS[self._band]
        if value != previous:
            band = bisect_left(BANDS, value) if value > previous else bisect_right(BANDS, value) - 1
            self._band = min(max(band, 0), len(BANDS) - 1)
            self.confidence.value = BANDS[self._band]
        return self._band

    def set_status(self, text: str) -> None:
        """Show text in Markdown."""
        if text != self._text:
            self._status.content = self._text = text

    def set_image(self, rgbd: RgbdImage | None) -> None:
        """Show image and depth of a frame."""
        if rgbd is self._rgbd:
            return
        self._rgbd = rgbd
        if rgbd is None:
            image, depth, ends = _NO_IMAGE, _NO_IMAGE, None
        else:
            image, (depth, ends) = rgbd.rgb, colors.depth_colors(rgbd.depth_m)
        self._image.image, self._depth.image = _resize_to_panel(image), _resize_to_panel(depth)
        self._depth.label = (
            "depth" if ends is None else f"depth, {ends[0]:.1f} m (red) to {ends[1]:.1f} m (blue)"
        )


def _resize_to_panel(rgb: UInt8Array) -> UInt8Array:
    """Return an image (h, w, 3) resized to the panel's width."""
    height, width = rgb.shape[:2]
    size = (_IMAGE_WIDTH, max(1, round(height * _IMAGE_WIDTH / width)))
    interpolation = cv2.INTER_AREA if width > _IMAGE_WIDTH else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(rgb, size, interpolation=interpolation), np.uint8)


class PlaybackControls:
    """Selection and playback of the frames of a recorded run."""

    def __init__(self, gui: Any, settings: PanelSettings) -> None:
        self._last = settings.frames - 1
        self._position = float(self._last)
        with gui.add_folder("Playback"):
            self.slider = gui.add_slider("frame", 0, max(1, self._last), 1, self._last)
            self.button = gui.add_button("play")
            self.rate = gui.add_number(
                "frames/s",
                round(float(np.clip(settings.rate_hz, 0.5, 120.0)), 2),
                min=0.5,
                max=120.0,
                step=0.5,
            )
        self.playing = False
        self.button.on_click(lambda _: self._toggle())

    @property
    def frame(self) -> int:
        """Return the index of the selected frame."""
        return min(int(self.slider.value), self._last)

    def advance(self, seconds: float) -> None:
        """Advance playback by a time [s]; stop at the last frame."""
        if not self.playing:
            return
        if int(self._position) != self.frame:  # the user has moved the slider
            self._position = float(self.frame)
        self._position = min(self._position + seconds * float(self.rate.value), float(self._last))
        if int(self._position) != self.frame:
            self.slider.value = int(self._position)
        if self._position >= self._last:
            self._set_playing(playing=False)

    def _toggle(self) -> None:
        if not self.playing and self.frame >= self._last:
            self.slider.value, self._position = 0, 0.0
        self._set_playing(playing=not self.playing)

    def _set_playing(self, *, playing: bool) -> None:
        self.playing = playing
        self.button.label = "pause" if playing else "play"
