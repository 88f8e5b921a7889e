# SPDX-License-Identifier: Apache-2.0
"""What /tf and /tf_static said in the last seconds: transforms at any stamp, over any chain of frames.

Not tf2_ros: its Python buffer keeps old transforms when time goes back (Humble), cannot name the root of a frame's
tree, and is in no wheel (ADR 10). Knows no message types.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.errors import Ttt3rError
from ttt3r_ros.geometry import interpolated, inverse

if TYPE_CHECKING:
    from collections.abc import Collection

    from ttt3r_ros.types import Float64Array

KEEP_NS = 10 * 10**9


class TransformError(Ttt3rError):
    """A transform is not known, or not at that time."""


@dataclass
class _Link:
    """A frame in its parent, over time."""

    parent: str
    static: Float64Array | None = None
    stamps_ns: list[int] = field(default_factory=list)
    transforms: list[Float64Array] = field(default_factory=list)

    def add(self, stamp_ns: int, T: Float64Array) -> None:
        at = bisect_left(self.stamps_ns, stamp_ns)
        if at < len(self.stamps_ns) and self.stamps_ns[at] == stamp_ns:
            self.transforms[at] = T
            return
        self.stamps_ns.insert(at, stamp_ns)
        self.transforms.insert(at, T)
        stale = bisect_left(self.stamps_ns, self.stamps_ns[-1] - KEEP_NS)
        if stale > 64:  # not one by one
            del self.stamps_ns[:stale], self.transforms[:stale]

    def at(self, stamp_ns: int | None, child: str) -> Float64Array:
        if self.static is not None:
            return self.static
        if stamp_ns is None:
            return self.transforms[-1]
        first, last = self.stamps_ns[0], self.stamps_ns[-1]
        if not first <= stamp_ns <= last:
            late = "newest" if stamp_ns > last else "oldest"
            off_s = (stamp_ns - (last if stamp_ns > last else first)) * 1e-9
            msg = f"{self.parent} -> {child} is not known at that time: its {late} is {abs(off_s):.3f} s off"
            raise TransformError(msg)
        after = bisect_left(self.stamps_ns, stamp_ns)
        if self.stamps_ns[after] == stamp_ns:
            return self.transforms[after]
        begin, end = self.stamps_ns[after - 1 : after + 1]
        share = (stamp_ns - begin) / (end - begin)
        return interpolated(self.transforms[after - 1], self.transforms[after], share)


class TransformBuffer:
    """Any thread may add and look up."""

    def __init__(self) -> None:
        self._links: dict[str, _Link] = {}  # by child
        self._parents: dict[str, dict[str, float]] = {}  # of each child, when last heard of (monotonic)
        self._news = threading.Condition()

    def add(self, parent: str, child: str, T_parent_child: Float64Array, stamp_ns: int | None) -> None:
        """Take a transform (4, 4); ``stamp_ns`` None: it holds for ever."""
        with self._news:
            self._parents.setdefault(child, {})[parent] = time.monotonic()
            link = self._links.get(child)
            if link is None or link.parent != parent:
                link = self._links[child] = _Link(parent)
            if stamp_ns is None:
                link.static = T_parent_child
            else:
                link.static = None
                link.add(stamp_ns, T_parent_child)
            self._news.notify_all()

    def clear(self) -> None:
        """Forget what moves, as when time went back; what holds for ever stays."""
        with self._news:
            self._links = {child: link for child, link in self._links.items() if link.static is not None}

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
                    return self._lookup(target, source, stamp_ns)
                except TransformError:  # noqa: PERF203 - each failure is worth a wait
                    left = deadline - time.monotonic()
                    if left <= 0.0:
                        raise
                    self._news.wait(left)

    def root_of(self, frame: str, below: Collection[str] = ()) -> str:
        """Return the topmost ancestor of a frame below any of these; itself if it has no parent."""
        with self._news:
            for ancestor in self._line(frame):
                link = self._links.get(ancestor)
                if link is None or link.parent in below:
                    return ancestor
        return frame

    def wait_for(self, frame: str, wait_s: float) -> bool:
        """Wait until a frame has a parent; return whether it has."""
        with self._news:
            return self._news.wait_for(lambda: frame in self._links, wait_s)

    def parents_of(self, frame: str, heard_within_s: float = 5.0) -> set[str]:
        """Return every parent that was claimed for a frame lately; more than one is somebody's mistake."""
        now = time.monotonic()
        with self._news:
            heard = self._parents.get(frame, {})
            return {parent for parent, at in heard.items() if now - at < heard_within_s}

    def _lookup(self, target: str, source: str, stamp_ns: int | None) -> Float64Array:
        targets, sources = self._line(target), self._line(source)
        shared = next((frame for frame in sources if frame in targets), None)
        if shared is None:
            msg = f"no transform from {source} to {target}: {self._end(source, sources)}, {self._end(target, targets)}"
            raise TransformError(msg)
        T_shared_source = self._down(sources[: sources.index(shared)], stamp_ns)
        T_shared_target = self._down(targets[: targets.index(shared)], stamp_ns)
        return inverse(T_shared_target) @ T_shared_source

    def _line(self, frame: str) -> list[str]:
        """Return a frame and its ancestors, upwards; a loop ends where it began."""
        line = [frame]
        while (link := self._links.get(line[-1])) is not None and link.parent not in line:
            line.append(link.parent)
        return line

    def _down(self, line: list[str], stamp_ns: int | None) -> Float64Array:
        T: Float64Array = np.eye(4)
        for child in line:
            T = self._links[child].at(stamp_ns, child) @ T
        return T

    def _end(self, frame: str, line: list[str]) -> str:
        known = len(line) > 1 or any(link.parent == frame for link in self._links.values())
        return f"the tree of {frame} ends at {line[-1]}" if known else f"nobody publishes {frame}"
