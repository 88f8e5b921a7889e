# SPDX-License-Identifier: Apache-2.0
"""What /tf and /tf_static said in the last seconds: a tree that one thread fills and another asks and waits for.

Not tf2_ros: its Python buffer keeps old transforms when time goes back (Humble), cannot name the root of a frame's
tree, and is in no wheel (ADR 10). Knows no message types.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from ttt3r_ros.transforms.tree import TransformError, TransformTree

if TYPE_CHECKING:
    from collections.abc import Collection

    from ttt3r_ros.types import Float64Array

KEEP_NS = 10 * 10**9


class TransformBuffer:
    """Any thread may add and look up."""

    def __init__(self) -> None:
        self._tree = TransformTree(KEEP_NS)
        self._parents: dict[str, dict[str, float]] = {}  # of each child, when last heard of (monotonic)
        self._news = threading.Condition()

    def add(self, parent: str, child: str, T_parent_child: Float64Array, stamp_ns: int | None) -> None:
        """Take a transform (4, 4); ``stamp_ns`` None: it holds for ever."""
        with self._news:
            self._parents.setdefault(child, {})[parent] = time.monotonic()
            self._tree.add(parent, child, T_parent_child, stamp_ns)
            self._news.notify_all()

    def clear(self) -> None:
        """Forget what moves, as when time went back; what holds for ever stays."""
        with self._news:
            self._tree.clear_dynamic()

    def lookup(
        self, target: str, source: str, stamp_ns: int | None, wait_s: float = 0.0
    ) -> Float64Array:
        """Return T_target_source (4, 4) at a stamp, the latest for None; wait for it this long.

        Raises:
            TransformError: it is not known; the message says which link is missing.
        """
        deadline = time.monotonic() + wait_s
        with self._news:
            while True:
                try:
                    return self._tree.lookup(target, source, stamp_ns)
                except TransformError:  # noqa: PERF203 - each failure is worth a wait
                    left = deadline - time.monotonic()
                    if left <= 0.0:
                        raise
                    self._news.wait(left)

    def root_of(self, frame: str, below: Collection[str] = ()) -> str:
        """Return the topmost ancestor of a frame below any of these; itself if it has no parent."""
        with self._news:
            return self._tree.root_of(frame, below)

    def wait_for(self, frame: str, wait_s: float) -> bool:
        """Wait until a frame has a parent; return whether it has."""
        with self._news:
            return self._news.wait_for(lambda: frame in self._tree.links, wait_s)

    def parents_of(self, frame: str, heard_within_s: float = 5.0) -> set[str]:
        """Return every parent that was claimed for a frame lately; more than one is somebody's mistake."""
        now = time.monotonic()
        with self._news:
            heard = self._parents.get(frame, {})
            return {parent for parent, at in heard.items() if now - at < heard_within_s}
