# SPDX-License-Identifier: Apache-2.0
"""The transforms that a bag recorded: at any stamp, over any chain of frames. Knows no message types.

Answers are those of the live node's buffer, which keeps the last seconds only.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ttt3r_ros.geometry import interpolated, inverse

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from ttt3r_ros.types import Float64Array

logger = logging.getLogger(__name__)


class RecordedTransform(NamedTuple):
    """One transform of /tf, or of /tf_static without a stamp."""

    parent: str
    child: str
    T_parent_child: Float64Array  # (4, 4)
    stamp_ns: int | None  # None: it holds for ever


class _Link:
    """A frame in its parent, over time."""

    def __init__(self, parent: str, said: list[RecordedTransform]) -> None:
        self.parent = parent
        still = [one.T_parent_child for one in said if one.stamp_ns is None]
        moving = {one.stamp_ns: one.T_parent_child for one in said if one.stamp_ns is not None}
        self._static = still[-1] if still and not moving else None
        self._stamps_ns = np.array(sorted(moving), np.int64)
        self._transforms = [moving[int(stamp_ns)] for stamp_ns in self._stamps_ns]

    def at(self, stamp_ns: int) -> Float64Array | None:
        if self._static is not None:
            return self._static
        after = int(np.searchsorted(self._stamps_ns, stamp_ns))
        if after == len(self._transforms):
            return None
        end_ns = int(self._stamps_ns[after])
        if end_ns == stamp_ns:
            return self._transforms[after]
        if not after:
            return None
        begin_ns = int(self._stamps_ns[after - 1])
        share = (stamp_ns - begin_ns) / (end_ns - begin_ns)
        return interpolated(self._transforms[after - 1], self._transforms[after], share)


class BagTransforms:
    """A tree of frames; where a frame was given several parents, the one that was named most often is its parent."""

    def __init__(self, recorded: Iterable[RecordedTransform]) -> None:
        said: dict[str, dict[str, list[RecordedTransform]]] = defaultdict(lambda: defaultdict(list))
        for one in recorded:
            said[one.child][one.parent].append(one)
        self._links = {child: _link(child, parents) for child, parents in said.items()}

    def frames(self) -> set[str]:
        """Return the names of all frames."""
        return set(self._links) | {link.parent for link in self._links.values()}

    def lookup(self, parent: str, child: str, stamp_ns: int) -> Float64Array | None:
        """Return T_parent_child (4, 4) at a stamp, over any chain; None if it is not known at that time."""
        parents, children = self._line(parent), self._line(child)
        shared = next((frame for frame in children if frame in parents), None)
        if shared is None:
            return None
        T_shared_child = self._down(children[: children.index(shared)], stamp_ns)
        T_shared_parent = self._down(parents[: parents.index(shared)], stamp_ns)
        if T_shared_child is None or T_shared_parent is None:
            return None
        return inverse(T_shared_parent) @ T_shared_child

    def root_of(self, frame: str, below: Collection[str] = ()) -> str:
        """Return the topmost ancestor of a frame below any of these; itself if it has no parent."""
        for ancestor in self._line(frame):
            link = self._links.get(ancestor)
            if link is None or link.parent in below:
                return ancestor
        return frame

    def _line(self, frame: str) -> list[str]:
        """Return a frame and its ancestors, upwards; a loop ends where it began."""
        line = [frame]
        while (link := self._links.get(line[-1])) is not None and link.parent not in line:
            line.append(link.parent)
        return line

    def _down(self, line: list[str], stamp_ns: int) -> Float64Array | None:
        T: Float64Array = np.eye(4)
        for child in line:
            T_parent_child = self._links[child].at(stamp_ns)
            if T_parent_child is None:
                return None
            T = T_parent_child @ T
        return T


def _link(child: str, parents: dict[str, list[RecordedTransform]]) -> _Link:
    parent = max(parents, key=lambda name: len(parents[name]))
    if len(parents) > 1:
        logger.warning(
            "the bag has several parents of %s (%s); %s is taken",
            child,
            ", ".join(sorted(parents)),
            parent,
        )
    return _Link(parent, parents[parent])
