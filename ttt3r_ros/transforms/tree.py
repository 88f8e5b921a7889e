# SPDX-License-Identifier: Apache-2.0
"""Tree of frames: transforms at any stamp along any chain, independent of message types. Not thread-safe."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ttt3r_ros.errors import Ttt3rError
from ttt3r_ros.geometry import interpolate_pose, require_pose, se3_inverse

if TYPE_CHECKING:
    from collections.abc import Collection

    from ttt3r_ros.types import Float64Array

_STALE = 64  # old transforms are removed in groups of this size


class TransformError(Ttt3rError):
    """A transform is unknown, unknown at that time, or not usable."""


@dataclass
class Link:
    """Transforms from a parent to one child over time."""

    parent: str
    static: Float64Array | None = None
    stamps_ns: list[int] = field(default_factory=list)
    transforms: list[Float64Array] = field(default_factory=list)

    def add(self, stamp_ns: int, T: Float64Array, keep_ns: int | None) -> None:
        """Add a transform (4, 4); remove those older than the newest by more than ``keep_ns``."""
        at = bisect_left(self.stamps_ns, stamp_ns)
        if at < len(self.stamps_ns) and self.stamps_ns[at] == stamp_ns:
            self.transforms[at] = T
            return
        self.stamps_ns.insert(at, stamp_ns)
        self.transforms.insert(at, T)
        stale = 0 if keep_ns is None else bisect_left(self.stamps_ns, self.stamps_ns[-1] - keep_ns)
        if stale > _STALE:
            del self.stamps_ns[:stale], self.transforms[:stale]

    def at(self, stamp_ns: int | None, child: str) -> Float64Array:
        """Return T_parent_child (4, 4) at a stamp, None: the latest; raise `TransformError` outside the time span."""
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
        return interpolate_pose(self.transforms[after - 1], self.transforms[after], share)


class TransformTree:
    """Frames and their parents. If a frame has several parents, the latest one counts."""

    def __init__(self, keep_ns: int | None = None) -> None:
        """Keep dynamic transforms for ``keep_ns``; None: without limit."""
        self.links: dict[str, Link] = {}  # by child
        self._keep_ns = keep_ns

    def add(self, parent: str, child: str, T_parent_child: Float64Array, stamp_ns: int | None) -> None:
        """Add a transform (4, 4); ``stamp_ns`` None: static.

        Raises:
            TransformError: it is not finite, not rigid or absurdly large; nothing has changed.
        """
        try:
            require_pose(T_parent_child)
        except ValueError as error:
            msg = f"transform {parent} -> {child} refused: {error}"
            raise TransformError(msg) from error
        link = self.links.get(child)
        if link is None or link.parent != parent:
            link = self.links[child] = Link(parent)
        if stamp_ns is None:
            link.static = T_parent_child
        else:
            link.static = None
            link.add(stamp_ns, T_parent_child, self._keep_ns)

    def clear_dynamic(self) -> None:
        """Remove all dynamic transforms; static ones stay."""
        self.links = {child: link for child, link in self.links.items() if link.static is not None}

    def lookup(self, target: str, source: str, stamp_ns: int | None) -> Float64Array:
        """Return T_target_source (4, 4) at a stamp, the latest for None.

        Raises:
            TransformError: a link is missing or unknown at the stamp; the message names it.
        """
        targets, sources = self._line(target), self._line(source)
        shared = next((frame for frame in sources if frame in targets), None)
        if shared is None:
            msg = f"no transform from {source} to {target}: {self._end(source, sources)}, {self._end(target, targets)}"
            raise TransformError(msg)
        T_shared_source = self._chain(sources[: sources.index(shared)], stamp_ns)
        T_shared_target = self._chain(targets[: targets.index(shared)], stamp_ns)
        return se3_inverse(T_shared_target) @ T_shared_source

    def root_of(self, frame: str, below: Collection[str] = ()) -> str:
        """Return the topmost ancestor of a frame below any of these frames; the frame itself if it has no parent."""
        for ancestor in self._line(frame):
            link = self.links.get(ancestor)
            if link is None or link.parent in below:
                return ancestor
        return frame

    def _line(self, frame: str) -> list[str]:
        """Return a frame and its ancestors, upwards. A loop ends at its first frame."""
        line = [frame]
        while (link := self.links.get(line[-1])) is not None and link.parent not in line:
            line.append(link.parent)
        return line

    def _chain(self, line: list[str], stamp_ns: int | None) -> Float64Array:
        T: Float64Array = np.eye(4)
        for child in line:
            T = self.links[child].at(stamp_ns, child) @ T
        return T

    def _end(self, frame: str, line: list[str]) -> str:
        known = len(line) > 1 or any(link.parent == frame for link in self.links.values())
        return f"the tree of {frame} ends at {line[-1]}" if known else f"{frame} is not published"
