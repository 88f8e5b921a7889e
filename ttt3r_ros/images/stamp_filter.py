# SPDX-License-Identifier: Apache-2.0
"""Are these stamps of one recording? Tells a stray stamp from a clock that has really moved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.errors import ImageError
from ttt3r_ros.state_dict import StateReader, pack_optional

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ttt3r_ros.state_dict import StateDict

BACKWARD_NS = 1_000_000_000  # older by more than this: maybe the recording began anew
FORWARD_NS = 10_000_000_000  # newer by more than this: maybe a stray stamp, unless images come so seldom
CONFIRMATIONS = 3  # stamps in a row on the new timeline before it is believed


class StampFilter:
    """Lets stamps pass that follow each other; a jump must be confirmed by the images after it."""

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self._elsewhere: list[int] = []  # stamps in a row that follow each other, but not the last one
        self._reach_ns = FORWARD_NS  # how far the next stamp may be ahead

    def accept(self, stamp_ns: int) -> bool:
        """Take the next stamp; return whether time has gone back, so that everything begins anew.

        Raises:
            ImageError: the stamp repeats, is a little older, or jumps and is not confirmed yet.
        """
        last = self._last_ns
        if last is None or last < stamp_ns <= last + self._reach_ns:
            self._last_ns, self._elsewhere = stamp_ns, []
            return False
        if last - BACKWARD_NS <= stamp_ns <= last:
            hint = "; does the driver leave it at zero?" if stamp_ns == 0 else ""
            msg = f"its stamp is not after the last one, {last}{hint}"
            raise ImageError(msg)
        self._confirm(stamp_ns, last)
        self._last_ns, self._elsewhere = stamp_ns, []
        return stamp_ns < last

    def state_dict(self) -> StateDict:
        """Return the last stamp and those of an unconfirmed jump."""
        return {
            "last_ns": pack_optional(self._last_ns, np.int64, ()),
            "elsewhere": np.array(self._elsewhere, np.int64),
            "reach_ns": self._reach_ns,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`.

        Raises:
            SourceError: an entry is invalid; nothing has changed.
        """
        with StateReader(state, "stamp filter") as read:
            last_ns = read.optional("last_ns", np.int64, ())
            elsewhere = read.array("elsewhere", np.int64, (None,)).tolist()
            reach_ns = read.integer("reach_ns")
        self._last_ns = None if last_ns is None else int(last_ns)
        self._elsewhere, self._reach_ns = elsewhere, reach_ns

    def _confirm(self, stamp_ns: int, last: int) -> None:
        elsewhere = self._elsewhere
        if elsewhere:
            # Images may come less often than that: then the ones after a jump are as far apart as it was wide.
            reach = max(FORWARD_NS, 2 * (elsewhere[0] - last))
            if not elsewhere[-1] < stamp_ns <= elsewhere[-1] + reach:
                elsewhere = []
        self._elsewhere = [*elsewhere, stamp_ns]
        if len(self._elsewhere) < CONFIRMATIONS:
            msg = (
                f"its stamp jumps by {(stamp_ns - last) * 1e-9:+.3f} s from the last one, {last};"
                f" image {len(self._elsewhere)} of {CONFIRMATIONS} that must agree"
            )
            raise ImageError(msg)
        self._reach_ns = max(FORWARD_NS, 2 * (stamp_ns - elsewhere[-1]))
