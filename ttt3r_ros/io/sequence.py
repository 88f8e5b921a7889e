# SPDX-License-Identifier: Apache-2.0
"""The interface of image sequences, and the selection of frames."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol, TypeVar

from ttt3r_ros.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ttt3r_ros.types import Float64Array, Frame

CAMERA_FRAME = "camera_optical_frame"
FIRST_STAMP_NS = 1_000_000_000  # a stamp of zero means "latest" to TF

StampedPose = tuple[int, "Float64Array"]  # (stamp_ns, T_world_camera)
ItemT = TypeVar("ItemT")


class ImageSequence(Protocol):
    """Something that yields frames, maybe with ground truth.

    Those with measured depth also have ``true_depth_m(stamp_ns)``, which returns that (h, w) of the frame of a stamp,
    0 where there is none, or nothing.
    """

    @property
    def name(self) -> str:
        """Return what to call it in a table."""
        ...

    @property
    def skipped(self) -> int:
        """Return how many frames were left out as broken, so far in this reading."""
        ...

    def __len__(self) -> int:
        """Return the number of frames, 0 if it is not known beforehand."""
        ...

    def frames(self) -> Iterator[Frame]:
        """Read the frames in order; where the source breaks off, `SourceError` follows the last good one."""
        ...

    def ground_truth(self) -> list[StampedPose]:
        """Return stamped optical camera poses T_world_camera, all of them finite; empty if there are none."""
        ...


@dataclass(frozen=True)
class FrameSelection:
    """Every ``stride``-th frame from the first on, at most ``max_frames`` of them (0: all)."""

    stride: int = 1
    max_frames: int = 0

    def __post_init__(self) -> None:
        if self.stride < 1 or self.max_frames < 0:
            msg = f"stride is {self.stride} and max_frames {self.max_frames}; expected at least 1 and 0"
            raise ConfigError(msg)

    def count(self, available: int) -> int:
        """Return how many of so many frames are chosen."""
        chosen = -(-available // self.stride)
        return min(chosen, self.max_frames) if self.max_frames else chosen

    def apply(self, items: Iterable[ItemT]) -> Iterator[ItemT]:
        """Choose from items, none of which is taken after the last chosen one."""
        stop = self.stride * (self.max_frames - 1) + 1 if self.max_frames else None
        return islice(items, 0, stop, self.stride)


ALL_FRAMES = FrameSelection()


def frame_stamp_ns(index: int, rate_hz: float) -> int:
    """Return the stamp of a frame that has none of its own; the first is at one second."""
    return FIRST_STAMP_NS + round(index * 1e9 / rate_hz)
