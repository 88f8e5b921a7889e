# SPDX-License-Identifier: Apache-2.0
"""Recorded graphs of one function by the shapes of its inputs; the least recently used one is removed."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Size, Tensor

GraphT = TypeVar("GraphT")

MAX_GRAPHS = 8  # image sizes times batch sizes; a graph has its own buffers


class GraphCache(Generic[GraphT]):
    """Keeps the graphs of the `MAX_GRAPHS` shapes that were used last."""

    def __init__(self, record: Callable[[tuple[Tensor, ...]], GraphT]) -> None:
        self._record = record
        self._graphs: OrderedDict[tuple[Size, ...], GraphT] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of graphs."""
        return len(self._graphs)

    def get(self, values: tuple[Tensor, ...]) -> GraphT:
        """Return the graph for inputs of these shapes; record it if there is none."""
        shapes = tuple(value.shape for value in values)
        if shapes not in self._graphs:
            self._graphs[shapes] = self._record(values)
            if len(self._graphs) > MAX_GRAPHS:
                self._graphs.popitem(last=False)
        self._graphs.move_to_end(shapes)
        return self._graphs[shapes]
