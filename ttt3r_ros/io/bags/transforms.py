# SPDX-License-Identifier: Apache-2.0
"""The transforms that a bag recorded, all of them; the live node's buffer keeps the last seconds of the same tree."""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from ttt3r_ros.transforms.tree import TransformError, TransformTree

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


class BagTransforms:
    """A tree of frames; where a frame was given several parents, the one that was named most often is its parent.

    What moves at any time counts as moving always.
    """

    def __init__(self, recorded: Iterable[RecordedTransform]) -> None:
        said: dict[str, dict[str, list[RecordedTransform]]] = defaultdict(lambda: defaultdict(list))
        for one in recorded:
            said[one.child][one.parent].append(one)
        self._tree = TransformTree()
        for child, parents in said.items():
            of_parent = parents[_parent(child, parents)]
            moving = [one for one in of_parent if one.stamp_ns is not None]
            for one in moving or of_parent:
                self._tree.add(*one)

    def frames(self) -> set[str]:
        """Return the names of all frames."""
        links = self._tree.links
        return set(links) | {link.parent for link in links.values()}

    def lookup(self, parent: str, child: str, stamp_ns: int) -> Float64Array | None:
        """Return T_parent_child (4, 4) at a stamp, over any chain; None if it is not known at that time."""
        try:
            return self._tree.lookup(parent, child, stamp_ns)
        except TransformError:
            return None

    def root_of(self, frame: str, below: Collection[str] = ()) -> str:
        """Return the topmost ancestor of a frame below any of these; itself if it has no parent."""
        return self._tree.root_of(frame, below)


def _parent(child: str, parents: dict[str, list[RecordedTransform]]) -> str:
    parent = max(parents, key=lambda name: len(parents[name]))
    if len(parents) > 1:
        logger.warning(
            "the bag has several parents of %s (%s); %s is taken",
            child,
            ", ".join(sorted(parents)),
            parent,
        )
    return parent
