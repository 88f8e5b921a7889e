# SPDX-License-Identifier: Apache-2.0
"""TorchScript graphs of tensor functions, which a CPU runs without Python.

Eager execution competes for Python's interpreter lock hundreds of times a frame. A traced graph does not hold the
lock: other threads of the node continue to run, and both decoders of a layer can run in parallel.
"""

from __future__ import annotations

import logging
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from ttt3r_ros.model.runtime.graph_cache import GraphCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    TensorFunction = Callable[..., tuple[Tensor, ...]]

logger = logging.getLogger(__name__)

_WARM_UP_CALLS = 2  # TorchScript's profiling executor optimizes a graph during its first calls


class TracedFunction:
    """A function of tensors, traced for each input shape. It must not branch on values or need gradients."""

    def __init__(self, function: TensorFunction) -> None:
        self._graphs: GraphCache[TensorFunction] = GraphCache(partial(_trace, function))

    def __call__(self, *values: Tensor) -> tuple[Tensor, ...]:
        """Return the results of the function, equal to the last bit."""
        return self._graphs.get(values)(*values)


def _trace(function: TensorFunction, values: tuple[Tensor, ...]) -> TensorFunction:
    function(*values)  # cached values such as rotary tables must not become part of the graph
    with warnings.catch_warnings():
        # Deprecated, but its successors need a compiler on the robot and half a minute at each start.
        warnings.simplefilter("ignore", DeprecationWarning)
        # Branches depend on shapes only, and each shape has its own graph.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        try:
            # Not torch.jit.trace: torch keeps its result and all weights until the process ends.
            graph, _ = torch._C._create_graph_by_tracing(function, values, _no_name, True, False)  # noqa: SLF001, FBT003
            traced: TensorFunction = torch._C._create_function_from_graph("traced", graph)  # noqa: SLF001
        except (RuntimeError, AttributeError, TypeError) as error:
            reason = str(error).strip().partition("\n")[0]
            logger.warning("TorchScript cannot trace the network, it runs eagerly: %s", reason)
            return function
    for _ in range(_WARM_UP_CALLS):
        traced(*values)
    logger.info("traced a TorchScript graph for inputs %s", [tuple(value.shape) for value in values])
    return traced


def _no_name(_: object) -> str:
    return ""


def run_on_two_threads(
    first: Callable[[], object], second: Callable[[], object]
) -> tuple[object, object]:
    """Return both results; while a graph is traced, add a fork that runs them in parallel."""
    if not torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return first(), second()
    future: Any = torch.jit.fork(second)  # type: ignore[no-untyped-call]
    return first(), torch.jit.wait(future)  # type: ignore[no-untyped-call]
