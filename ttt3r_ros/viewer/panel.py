# SPDX-License-Identifier: Apache-2.0
"""The controls beside the picture."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ttt3r_ros.viewer import colors
from ttt3r_ros.viewer.points import BANDS, bands_of
from ttt3r_ros.viewer.scene import CAPACITY, MOST_POINTS, Choice

if TYPE_CHECKING:
    from collections.abc import Callable

    from ttt3r_ros.types import UInt8Array
    from ttt3r_ros.viewer.scene import Sight


@dataclass(frozen=True)
class PanelSettings:
    """How the controls stand at first."""

    point_size: float = 0.03  # [m]
    min_confidence: float = 1.0
    graded: bool = True  # the points have confidences
    frames: int = 0  # of a recorded run, through which the user may go
    rate_hz: float = 10.0  # at which it is played


_NOTHING = np.full((120, 160, 3), 24, np.uint8)
_PICTURE_WIDTH = 320  # of images beside the picture
_MILLION = 1e6


class Panel:
    """Reads what the user chose, and shows the newest images and a few lines of text."""

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
            self._band = int(bands_of(np.array([settings.min_confidence], np.float32))[0])
            self.confidence = gui.add_slider(
                "confidence", BANDS[0], BANDS[-1], 0.5, BANDS[self._band],
                marks=[(least, f"{least:g}") for least in BANDS if least != 1.5],
                disabled=not settings.graded, hint="Points of which the network is less sure are hidden.",
            )  # fmt: skip
            self.point_size = gui.add_slider(
                "size [m]", 0.002, 0.2, 0.002, float(np.clip(settings.point_size, 0.002, 0.2))
            )
            self.most = gui.add_slider(
                "at most [M]", 0.1, CAPACITY / _MILLION, 0.1, MOST_POINTS / _MILLION,
                hint="Of more points every second, fourth and so on is drawn.",
            )  # fmt: skip
            self.by_segment = gui.add_checkbox(
                "color segments",
                initial_value=False,
                hint="A new segment begins with each reset of the state.",
            )
        with gui.add_folder("Camera"):
            self.follow = gui.add_checkbox("follow", initial_value=False)
            self.frusta = gui.add_checkbox(
                "frusta", initial_value=True, hint="Every so many-th camera along the path."
            )
        self.player = Player(gui, settings) if settings.frames else None
        with gui.add_folder("Now"):
            self._image = gui.add_image(_NOTHING, label="image")
            self._depth = gui.add_image(_NOTHING, label="depth")
        gui.add_button("screenshot").on_click(lambda event: on_screenshot(event.client))
        gui.add_button("download PLY").on_click(lambda event: on_download(event.client))
        self._text = ""
        self._sight: Sight | None = None

    def choice(self) -> Choice:
        """Return what the user wants to see."""
        return Choice(
            band=self._chosen_band(),
            most_points=round(self.most.value * _MILLION),
            by_segment=bool(self.by_segment.value),
            frusta=bool(self.frusta.value),
            until=self.player.frame if self.player is not None else None,
        )

    def _chosen_band(self) -> int:
        """Return the band that begins where the slider stands; between two it goes on to the next one."""
        chosen, before = float(self.confidence.value), BANDS[self._band]
        if chosen != before:
            upwards = chosen > before
            place = bisect_left(BANDS, chosen) if upwards else bisect_right(BANDS, chosen) - 1
            self._band = min(max(place, 0), len(BANDS) - 1)
            self.confidence.value = BANDS[self._band]
        return self._band

    def tell(self, text: str) -> None:
        """Show some lines of Markdown."""
        if text != self._text:
            self._status.content = self._text = text

    def picture(self, sight: Sight | None) -> None:
        """Show image and depth."""
        if sight is self._sight:
            return
        self._sight = sight
        if sight is None:
            image, depth, ends = _NOTHING, _NOTHING, None
        else:
            image, (depth, ends) = sight.rgb, colors.of_depth(sight.depth_m)
        self._image.image, self._depth.image = _fitted(image), _fitted(depth)
        self._depth.label = (
            "depth" if ends is None else f"depth, {ends[0]:.1f} m (red) to {ends[1]:.1f} m (blue)"
        )


def _fitted(rgb: UInt8Array) -> UInt8Array:
    """Return a picture (h, w, 3) at the panel's width."""
    height, width = rgb.shape[:2]
    size = (_PICTURE_WIDTH, max(1, round(height * _PICTURE_WIDTH / width)))
    way = cv2.INTER_AREA if width > _PICTURE_WIDTH else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(rgb, size, interpolation=way), np.uint8)


class Player:
    """Which frame of a recorded run is shown last, and whether time goes on."""

    def __init__(self, gui: Any, settings: PanelSettings) -> None:
        self._last = settings.frames - 1
        self._position = float(self._last)
        with gui.add_folder("Time"):
            self.slider = gui.add_slider("frame", 0, max(1, self._last), 1, self._last)
            self.button = gui.add_button("play")
            self.rate = gui.add_number(
                "frames per second",
                round(float(np.clip(settings.rate_hz, 0.5, 120.0)), 2),
                min=0.5,
                max=120.0,
                step=0.5,
            )
        self.playing = False
        self.button.on_click(lambda _: self._turn())

    @property
    def frame(self) -> int:
        """Return the index of the frame."""
        return min(int(self.slider.value), self._last)

    def advance(self, seconds: float) -> None:
        """Let time pass [s]; at the end it stops."""
        if not self.playing:
            return
        if int(self._position) != self.frame:  # the user has moved the slider
            self._position = float(self.frame)
        self._position = min(self._position + seconds * float(self.rate.value), float(self._last))
        if int(self._position) != self.frame:
            self.slider.value = int(self._position)
        if self._position >= self._last:
            self._set(playing=False)

    def _turn(self) -> None:
        if not self.playing and self.frame >= self._last:
            self.slider.value, self._position = 0, 0.0
        self._set(playing=not self.playing)

    def _set(self, *, playing: bool) -> None:
        self.playing = playing
        self.button.label = "pause" if playing else "play"
