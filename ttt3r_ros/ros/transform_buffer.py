# SPDX-License-Identifier: Apache-2.0
"""Thread-safe transform tree of the last seconds, with lookups that wait; independent of message types.

Not tf2_ros: its Python buffer keeps old transforms when time goes back (Humble), has no query for the root of a frame
and is not available as a wheel (ADR 10).
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from ttt3r_ros.transforms.tree import TransformError, TransformTree

if TYPE_CHECKING:
    from collections.abc import Collection

    from ttt3r_ros.types import Float64Array

logger = logging.getLogger(__name__)

KEEP_NS = 10 * 10**9


class TransformBuffer:
    """Transforms of /tf and /tf_static; thread-safe."""

    def __init__(self) -> None:
        self._tree = TransformTree(KEEP_NS)
        self._parents: dict[str, dict[str, float]] = {}  # by child; monotonic time of the last message
        self._refused: set[tuple[str, str]] = set()  # edges with unusable transforms
        self._changed = threading.Condition()

    def add(self, parent: str, child: str, T_parent_child: Float64Array, stamp_ns: int | None) -> None:
        """Add a transform (4, 4); it is static if ``stamp_ns`` is None. Unusable ones are dropped with a warning."""
        with self._changed:
            try:
                self._tree.add(parent, child, T_parent_child, stamp_ns)
            except TransformError as error:
                if (parent, child) not in self._refused:  # once: a publisher repeats it at a high rate
                    self._refused.add((parent, child))
                    logger.warning("%s", error)
                return
            self._parents.setdefault(child, {})[parent] = time.monotonic()
            self._changed.notify_all()

    def clear(self) -> None:
        """Remove the moving transforms after time has jumped back; static ones stay."""
        with self._changed:
            self._tree.clear_dynamic()

    def lookup(
        self, target: str, source: str, stamp_ns: int | None, wait_s: float = 0.0
    ) -> Float64Array:
        """Return T_target_source (4, 4) at a stamp, the latest for None; wait for it up to ``wait_s`` seconds.

        Raises:
            TransformError: it is not available; the message names the missing link.
        """
        deadline = time.monotonic() + wait_s
        with self._changed:
            while True:
                try:
                    return self._tree.lookup(target, source, stamp_ns)
                except TransformError:  # noqa: PERF203 - retried after each change
                    left = deadline - time.monotonic()
                    if left <= 0.0:
                        raise
                    self._changed.wait(left)

    def root_of(self, frame: str, below: Collection[str] = ()) -> str:
        """Return the topmost ancestor of a frame, but below any of the given frames; itself if it has no parent."""
        with self._changed:
            return self._tree.root_of(frame, below)

    def wait_for(self, frame: str, wait_s: float) -> bool:
        """Wait until a frame has a parent; return whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: frame in self._tree.links, wait_s)

    def parents_of(self, frame: str, within_s: float = 5.0) -> set[str]:
        """Return the parents published for a frame within the last seconds; more than one is an error."""
        now = time.monotonic()
        with self._changed:
            parents = self._parents.get(frame, {})
            return {parent for parent, received_s in parents.items() if now - received_s < within_s}
