# SPDX-License-Identifier: Apache-2.0
"""Stamps of the images of a bag: those of the headers, or log times where the headers have none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.sequence import FIRST_STAMP_NS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SAMPLE_SIZE = 10  # images by which the headers are judged
_FROZEN = 2  # repetitions of a stamp after which it counts as constant


class ImageStamps:
    """Stamps of one topic. Headers count as without stamps if the first ones are all zero, negative or equal.

    A later header without stamp, or with one that stays the same, gets its log time plus the difference between the
    last good stamp and its log time.
    """

    def __init__(
        self, topic: str, sample: Sequence[tuple[int, int]], warn: Callable[[str], None]
    ) -> None:
        """Judge by stamps and log times [ns] of the first images.

        Raises:
            SourceError: neither the stamps nor the log times of the sample change.
        """
        self._topic, self._warn = topic, warn
        good = [(stamp_ns, log_ns) for stamp_ns, log_ns in sample if stamp_ns > 0]
        stamps_ns = {stamp_ns for stamp_ns, _ in good}
        self._unusable = bool(sample) and (not good or (len(sample) > 1 and len(stamps_ns) == 1))
        self._found = f"all {next(iter(stamps_ns), 0)} ns"
        log_times_ns = {log_ns for _, log_ns in sample}
        if self._unusable and len(sample) > 1 and len(log_times_ns) == 1:
            msg = (
                f"{topic}: the header stamps are {self._found} and the log times all {log_times_ns.pop()} ns; "
                "expected times that increase (images in a folder are mapped with --fps instead)"
            )
            raise SourceError(msg)
        self._offset_ns = good[0][0] - good[0][1] if good and not self._unusable else 0
        if self._unusable and min(log_times_ns) <= 0:
            self._offset_ns = FIRST_STAMP_NS - min(log_times_ns)
        self._last_ns, self._repeated = 0, 0

    def stamp_ns(self, stamp_ns: int, log_ns: int) -> int:
        """Return the stamp of the next image by the stamp of its header and its log time."""
        if self._unusable:
            if not self._repeated:
                self._warn(
                    f"{self._topic}: the header stamps are {self._found}; log times are used for all"
                )
            self._repeated += 1
            return log_ns + self._offset_ns
        self._repeated = self._repeated + 1 if stamp_ns == self._last_ns else 0
        self._last_ns = stamp_ns
        if stamp_ns <= 0 or self._repeated >= _FROZEN:
            self._warn(
                f"{self._topic}: some header stamps are zero or stay the same; their log times are used"
            )
            return log_ns + self._offset_ns
        if not self._repeated:
            self._offset_ns = stamp_ns - log_ns
        return stamp_ns
