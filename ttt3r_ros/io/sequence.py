# SPDX-License-Identifier: Apache-2.0
"""The interface of image sequences, the selection of frames, and wrappers of sequences."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ttt3r_ros.errors import ConfigError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ttt3r_ros.images.calibration import Calibration
    from ttt3r_ros.types import Float64Array, Frame

logger = logging.getLogger(__name__)

CAMERA_FRAME = "camera_optical_frame"
FIRST_STAMP_NS = 1_000_000_000  # a stamp of zero means "latest" in TF

StampedPose = tuple[int, "Float64Array"]  # (stamp_ns, T_world_camera)
ItemT = TypeVar("ItemT")


class ImageSequence(Protocol):
    """A sequence of frames, optionally with ground truth.

    Sequences with measured depth also have ``true_depth_m(stamp_ns)``: the depth (h, w) [m] of the frame with this
    stamp, 0: unknown; None: no depth image. Those with recorded transforms have ``transforms()``.
    """

    @property
    def name(self) -> str:
        """Return the name in tables."""
        ...

    @property
    def skipped(self) -> int:
        """Return the number of damaged frames that the current iteration skipped so far."""
        ...

    def __len__(self) -> int:
        """Return the number of frames, 0: unknown."""
        ...

    def frames(self) -> Iterator[Frame]:
        """Read the frames in order; a truncated source raises `SourceError` after its last complete frame."""
        ...

    def ground_truth(self) -> list[StampedPose]:
        """Return stamped poses T_world_camera of the optical camera, all finite; empty without ground truth."""
        ...


@dataclass(frozen=True)
class FrameSelection:
    """Every ``stride``-th frame, starting with the first, at most ``max_frames`` (0: all)."""

    stride: int = 1
    max_frames: int = 0

    def __post_init__(self) -> None:
        if self.stride < 1 or self.max_frames < 0:
            msg = f"stride is {self.stride} and max_frames {self.max_frames}; expected at least 1 and 0"
            raise ConfigError(msg)

    def count(self, available: int) -> int:
        """Return the number of selected frames out of the available ones."""
        selected = -(-available // self.stride)
        return min(selected, self.max_frames) if self.max_frames else selected

    def apply(self, items: Iterable[ItemT]) -> Iterator[ItemT]:
        """Yield the selected items; no item after the last selected one is consumed."""
        stop = self.stride * (self.max_frames - 1) + 1 if self.max_frames else None
        return islice(items, 0, stop, self.stride)


ALL_FRAMES = FrameSelection()


def frame_stamp_ns(index: int, rate_hz: float) -> int:
    """Return the stamp of a frame of a source without stamps; the first is one second."""
    return FIRST_STAMP_NS + round(index * 1e9 / rate_hz)


class SequenceWrapper:
    """Base class of sequences that change the frames of another one; forwards its other properties."""

    def __init__(self, sequence: ImageSequence) -> None:
        self._sequence = sequence

    @property
    def name(self) -> str:
        """Return the name of the sequence."""
        return self._sequence.name

    @property
    def skipped(self) -> int:
        """Return the number of frames that the sequence skipped."""
        return self._sequence.skipped

    def ground_truth(self) -> list[StampedPose]:
        """Return the poses of the sequence."""
        return self._sequence.ground_truth()


class CalibratedSequence(SequenceWrapper):
    """A sequence with a given calibration in place of its own."""

    def __init__(
        self, sequence: ImageSequence, calibration: Calibration, *, is_rectified: bool = False
    ) -> None:
        """Set the calibration of images that are raw, or rectified already."""
        super().__init__(sequence)
        self._calibration = calibration
        self._is_rectified = is_rectified

    def __len__(self) -> int:
        return len(self._sequence)

    def frames(self) -> Iterator[Frame]:
        """Read the frames.

        Raises:
            SourceError: as the sequence, or the calibration is invalid for its images.
        """
        remark = self._calibration.remark(is_rectified=self._is_rectified)
        if remark:
            logger.warning("%s: %s", self.name, remark)
        for frame in self._sequence.frames():
            height, width = frame.rgb.shape[:2]
            try:
                camera = self._calibration.intrinsics(width, height, is_rectified=self._is_rectified)
            except ConfigError as error:
                msg = f"the calibration file: {error}"
                raise SourceError(msg) from error
            yield replace(frame, intrinsics=camera)

    def __getattr__(self, name: str) -> Any:  # true_depth_m and transforms, where the sequence has them
        return getattr(self._sequence, name)
