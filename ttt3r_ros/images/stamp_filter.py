# SPDX-License-Identifier: Apache-2.0
"""Filter of image stamps: rejects stray stamps, accepts jumps of the clock that later images confirm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.errors import ImageError
from ttt3r_ros.state_dict import StateReader, pack_optional

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ttt3r_ros.state_dict import StateDict

BACKWARD_NS = 1_000_000_000  # a larger step back may be a restarted recording
FORWARD_NS = 10_000_000_000  # a larger step ahead may be a stray stamp or a very low frame rate
_MAX_STEP_NS = 2**62  # state files have integers of 64 bits
CONFIRMATIONS = 3  # consecutive stamps that confirm a jump


class StampFilter:
    """Accepts stamps that follow each other; the images after a jump must confirm it."""

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self._unconfirmed: list[int] = []  # consecutive stamps after a jump
        self._max_step_ns = FORWARD_NS  # from the last stamp to the next

    def accept(self, stamp_ns: int) -> bool:
        """Validate the next stamp; return whether time jumped back, which starts a new map.

        Raises:
            ImageError: the stamp repeats, is up to `BACKWARD_NS` older, or is of an unconfirmed jump.
        """
        last = self._last_ns
        if last is None or last < stamp_ns <= last + self._max_step_ns:
            self._last_ns, self._unconfirmed = stamp_ns, []
            return False
        if last - BACKWARD_NS <= stamp_ns <= last:
            hint = "; does the driver leave it at zero?" if stamp_ns == 0 else ""
            msg = f"its stamp is not after the last one, {last}{hint}"
            raise ImageError(msg)
        self._confirm(stamp_ns, last)
        self._last_ns, self._unconfirmed = stamp_ns, []
        return stamp_ns < last

    def state_dict(self) -> StateDict:
        """Return the last stamp and those of an unconfirmed jump."""
        return {
            "last_ns": pack_optional(self._last_ns, np.int64, ()),
            "unconfirmed": np.array(self._unconfirmed, np.int64),
            "max_step_ns": self._max_step_ns,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`.

        Raises:
            SourceError: an entry is invalid; nothing has changed.
        """
        with StateReader(state, "stamp filter") as read:
            last_ns = read.optional("last_ns", np.int64, ())
            unconfirmed = read.array("unconfirmed", np.int64, (None,)).tolist()
            max_step_ns = int(read.array("max_step_ns", np.int64, ()))
            read.require(max_step_ns >= FORWARD_NS, f"max_step_ns is {max_step_ns}")
        self._last_ns = None if last_ns is None else int(last_ns)
        self._unconfirmed, self._max_step_ns = unconfirmed, max_step_ns

    def _confirm(self, stamp_ns: int, last: int) -> None:
        unconfirmed = self._unconfirmed
        if unconfirmed:
            # At a frame period above FORWARD_NS every step is a jump as large as the one before.
            max_step = max(FORWARD_NS, 2 * (unconfirmed[0] - last))
            if not unconfirmed[-1] < stamp_ns <= unconfirmed[-1] + max_step:
                unconfirmed = []
        self._unconfirmed = [*unconfirmed, stamp_ns]
        if len(self._unconfirmed) < CONFIRMATIONS:
            msg = (
                f"its stamp jumps by {(stamp_ns - last) * 1e-9:+.3f} s from the last one, {last};"
                f" image {len(self._unconfirmed)} of {CONFIRMATIONS} that must agree"
            )
            raise ImageError(msg)
        self._max_step_ns = min(_MAX_STEP_NS, max(FORWARD_NS, 2 * (stamp_ns - unconfirmed[-1])))
