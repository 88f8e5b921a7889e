# SPDX-License-Identifier: Apache-2.0
"""All transforms of a bag as one tree, like the buffer of the node without its time limit."""

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
    stamp_ns: int | None  # None: static


class BagTransforms:
    """A tree of frames. If a frame has several parents, the most frequent one counts.

    A frame with both static and dynamic transforms is dynamic.
    """

    def __init__(self, recorded: Iterable[RecordedTransform]) -> None:
        by_child: dict[str, dict[str, list[RecordedTransform]]] = defaultdict(lambda: defaultdict(list))
        for transform in recorded:
            by_child[transform.child][transform.parent].append(transform)
        self._tree = TransformTree()
        for child, by_parent in by_child.items():
            transforms = by_parent[_select_parent(child, by_parent)]
            dynamic = [transform for transform in transforms if transform.stamp_ns is not None]
            self._add(dynamic or transforms)

    def _add(self, transforms: list[RecordedTransform]) -> None:
        refused = []
        for transform in transforms:
            try:
                self._tree.add(*transform)
            except TransformError as error:  # noqa: PERF203 - the others are usable
                refused.append(error)
        if refused:
            logger.warning("%d transforms of the bag are dropped: %s", len(refused), refused[0])

    def frames(self) -> set[str]:
        """Return the names of all frames."""
        links = self._tree.links
        return set(links) | {link.parent for link in links.values()}

    def lookup(self, parent: str, child: str, stamp_ns: int) -> Float64Array | None:
        """Return T_parent_child (4, 4) at a stamp along any chain, None if it is unknown at that time."""
        try:
            return self._tree.lookup(parent, child, stamp_ns)
        except TransformError:
            return None

    def root_of(self, frame: str, below: Collection[str] = ()) -> str:
        """Return the topmost ancestor of a frame below the given frames; the frame itself without a parent."""
        return self._tree.root_of(frame, below)


def _select_parent(child: str, by_parent: dict[str, list[RecordedTransform]]) -> str:
    parent = max(by_parent, key=lambda name: len(by_parent[name]))
    if len(by_parent) > 1:
        logger.warning(
            "the bag has several parents of %s (%s); %s is used",
            child,
            ", ".join(sorted(by_parent)),
            parent,
        )
    return parent
