# SPDX-License-Identifier: Apache-2.0
"""Sequences that show what others show, changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ttt3r_ros.io.sequence import ImageSequence, StampedPose
    from ttt3r_ros.types import Frame, Intrinsics


class SequenceWrapper:
    """Is called as the sequence that it shows, has its poses, and has left out what that one has."""

    def __init__(self, sequence: ImageSequence) -> None:
        self._sequence = sequence

    @property
    def name(self) -> str:
        """Return the sequence's name."""
        return self._sequence.name

    @property
    def skipped(self) -> int:
        """Return how many frames the sequence has left out."""
        return self._sequence.skipped

    def ground_truth(self) -> list[StampedPose]:
        """Return the sequence's poses."""
        return self._sequence.ground_truth()


class CalibratedSequence(SequenceWrapper):
    """Shows what a sequence shows, with these intrinsics in place of its own."""

    def __init__(self, sequence: ImageSequence, intrinsics: Intrinsics) -> None:
        super().__init__(sequence)
        self._intrinsics = intrinsics

    def __len__(self) -> int:
        return len(self._sequence)

    def frames(self) -> Iterator[Frame]:
        """Return the frames; raises as the sequence does."""
        for frame in self._sequence.frames():
            yield replace(frame, intrinsics=self._intrinsics)

    def __getattr__(self, name: str) -> Any:  # true_depth_m and transforms, where the sequence has them
        return getattr(self._sequence, name)
