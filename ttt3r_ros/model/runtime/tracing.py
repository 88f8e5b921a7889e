# SPDX-License-Identifier: Apache-2.0
"""Functions of tensors recorded as TorchScript graphs, which a processor runs without Python.

One thread of a process at a time runs Python, and who waits for that turn has to be woken, hundreds of times a frame. A
graph needs no turn: the node's other threads go on beside it, and the two decoders of a layer beside each other.
"""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    TensorFunction = Callable[..., tuple[Tensor, ...]]

logger = logging.getLogger(__name__)

_WARM_UP_CALLS = 2  # in which, with the one that answers, TorchScript finds out how to run a graph


class Traced:
    """A function of tensors, recorded for each shape it meets. It must not branch by values, nor need gradients."""

    def __init__(self, function: TensorFunction) -> None:
        self._function = function
        self._recordings: dict[tuple[torch.Size, ...], TensorFunction] = {}

    def __call__(self, *values: Tensor) -> tuple[Tensor, ...]:
        """Return what the function returns, to the last bit."""
        shapes = tuple(value.shape for value in values)
        if shapes not in self._recordings:
            self._recordings[shapes] = _recorded(self._function, values)
        return self._recordings[shapes](*values)


def _recorded(function: TensorFunction, values: tuple[Tensor, ...]) -> TensorFunction:
    function(*values)  # what is made once and kept, as rotary tables, is no part of the graph
    with warnings.catch_warnings():
        # Deprecated, but what would follow it needs a compiler on the robot and half a minute at each start.
        warnings.simplefilter("ignore", DeprecationWarning)
        # Shapes decide branches here, and each has a recording of its own.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        try:
            # Not torch.jit.trace: torch keeps what that gives, and all its weights, as long as the process lives.
            graph, _ = torch._C._create_graph_by_tracing(function, values, _unnamed, True, False)  # noqa: SLF001, FBT003
            recorded: TensorFunction = torch._C._create_function_from_graph("recorded", graph)  # noqa: SLF001
        except (RuntimeError, AttributeError, TypeError) as error:
            reason = str(error).strip().partition("\n")[0]
            logger.warning("TorchScript records no graph here, the network runs as written: %s", reason)
            return function
    for _ in range(_WARM_UP_CALLS):
        recorded(*values)
    logger.info("recorded a TorchScript graph for inputs %s", [tuple(value.shape) for value in values])
    return recorded


def _unnamed(_: object) -> str:
    return ""


def on_two_threads(first: Callable[[], object], second: Callable[[], object]) -> tuple[object, object]:
    """Return both results; a graph that is being recorded will run them at the same time."""
    if not torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return first(), second()
    under_way: Any = torch.jit.fork(second)  # type: ignore[no-untyped-call]
    return first(), torch.jit.wait(under_way)  # type: ignore[no-untyped-call]
