# SPDX-License-Identifier: Apache-2.0
"""Execution of the two halves of a step: eager, compiled by inductor, as traced graphs, or both.

The first half, the encoder, needs no state. It can run for the next image while the current one is still mapped.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ttt3r_ros.model.network.state import RecurrentState
from ttt3r_ros.model.network.view import View
from ttt3r_ros.model.runtime.compilation import compile_modules
from ttt3r_ros.model.runtime.graph_cache import GraphCache
from ttt3r_ros.model.runtime.threads import is_narrow
from ttt3r_ros.model.runtime.tracing import TracedFunction, run_on_two_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from ttt3r_ros.model.network.config import NetworkConfig
    from ttt3r_ros.model.network.network import Ttt3r
    from ttt3r_ros.model.runtime.tracing import TensorFunction

logger = logging.getLogger(__name__)

_WARM_UP_CALLS = 3  # before a capture: libraries choose their algorithms, rotary tables are computed


@dataclass(frozen=True)
class ExecutionOptions:
    """Where and how a network is executed."""

    device: str = "cpu"
    precision: str = "float32"
    mode: str = "none"  # as returned by `resolve_compile`
    parallel_decoders: bool = False  # CPU graphs only: both decoders of a layer at the same time
    encode_ahead: bool = False  # encode the next image while the current one is mapped


class NetworkOutputs(NamedTuple):
    """Network outputs of a batch of images, on the device."""

    points: Tensor  # (B, h, w, 3) meters, camera's optical frame
    confidence: Tensor  # (B, h, w)
    pose: Tensor  # (B, 7) x, y, z, then quaternion w, x, y, z
    finite: Tensor  # (B,) bool: no NaN or infinity in the outputs and the next state


class Execution:
    """Runs the two halves of a network's step."""

    def __init__(self, encode: TensorFunction, advance: TensorFunction) -> None:
        self._encode = encode
        self._advance = advance

    def encode(self, images: Tensor) -> Tensor:
        """Return the features (B, N, F) of images (B, 3, h, w)."""
        return self._encode(images)[0]

    def advance(
        self, images: Tensor, features: Tensor, state: RecurrentState
    ) -> tuple[NetworkOutputs, RecurrentState]:
        """Run the second half of a step on encoded images; return outputs and next state."""
        tensors = self._advance(images, features, state.tokens, state.memory, state.fresh)
        return NetworkOutputs(*tensors[:4]), RecurrentState(*tensors[4:])


def build_execution(network: Ttt3r, mode: str, *, parallel_decoders: bool = False) -> Execution:
    """Build the execution of a mode of `resolve_compile`; may compile modules of the network in place.

    ``parallel_decoders``: a CPU graph runs the two decoders of a layer on two threads; a CUDA graph always does.
    """

    def encode(images: Tensor) -> tuple[Tensor]:
        return (network.encode(View(image=images)),)

    def advance(
        images: Tensor, features: Tensor, tokens: Tensor, memory: Tensor, fresh: Tensor
    ) -> tuple[Tensor, ...]:
        state = RecurrentState(tokens, memory, fresh)
        output, after = network.advance(View(image=images), features, state)
        outputs = (output.camera.points, output.camera.confidence, output.pose)
        next_state = (after.tokens, after.memory, after.fresh)
        return *outputs, _all_finite((*outputs, *next_state[:2])), *next_state

    if "inductor" in mode:
        compile_modules(network)
    if "graph" not in mode:
        return Execution(encode, advance)
    network.requires_grad_(requires_grad=False)
    if next(network.parameters()).is_cuda:
        network.run_both = ParallelStreams()
        return Execution(CudaGraphFunction(encode), CudaGraphFunction(advance))
    if parallel_decoders:
        network.run_both = run_on_two_threads
    return Execution(TracedFunction(encode), TracedFunction(advance))


def resolve_compile(requested: str, device: str, network: NetworkConfig) -> str:
    """Return 'none', 'inductor', 'graph' or 'inductor, graph'.

    'auto' uses graphs on a CUDA device, and on a CPU for narrow networks, whose operations are short.
    """
    cuda = device.startswith("cuda")
    with_graph = ("auto", "inductor") if cuda else ("auto",) if is_narrow(network) else ()
    graph = ["graph"] if requested in ("graph", *with_graph) else []
    inductor = ["inductor"] if requested == "inductor" else []
    return ", ".join(inductor + graph) or "none"


class CudaGraphFunction:
    """A function of tensors, captured as one CUDA graph per input shape and replayed with new values.

    Each instance has its own memory pool and capture stream, so that different functions can replay at the same
    time: libraries keep a workspace per stream, and a captured graph continues to use it.
    """

    def __init__(self, function: TensorFunction) -> None:
        self._function = function
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream()
        self._graphs: GraphCache[_CapturedGraph] = GraphCache(self._record)
        self._idle = torch.cuda.Event()  # recorded when the last call, on any stream, has finished

    def __call__(self, *values: Tensor) -> tuple[Tensor, ...]:
        """Return copies of the outputs; the next replay does not change them."""
        captured = self._graphs.get(values)
        stream = torch.cuda.current_stream()
        stream.wait_event(self._idle)
        for buffer, value in zip(captured.inputs, values, strict=True):
            buffer.copy_(value, non_blocking=True)
        captured.graph.replay()
        results = tuple(output.clone() for output in captured.outputs)
        self._idle.record(stream)
        return results

    def _record(self, values: tuple[Tensor, ...]) -> _CapturedGraph:
        self._idle.synchronize()  # the graph that this one replaces must not run any more
        return _capture(self._function, values, self._pool, self._stream)


class _CapturedGraph(NamedTuple):
    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def _capture(
    function: TensorFunction, values: tuple[Tensor, ...], pool: Any, stream: torch.cuda.Stream
) -> _CapturedGraph:
    inputs = tuple(value.clone() for value in values)
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP_CALLS):
            function(*inputs)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    # Work of other threads on the device is not captured and does not invalidate the capture.
    with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
        outputs = function(*inputs)
    logger.info("captured a CUDA graph for inputs %s", [tuple(value.shape) for value in values])
    return _CapturedGraph(graph, inputs, outputs)


class ParallelStreams:
    """Runs two independent functions on two CUDA streams; a captured graph keeps the fork."""

    def __init__(self) -> None:
        self._side = torch.cuda.Stream()

    def __call__(
        self, first: Callable[[], object], second: Callable[[], object]
    ) -> tuple[object, object]:
        """Return both results."""
        main = torch.cuda.current_stream()
        self._side.wait_stream(main)
        with torch.cuda.stream(self._side):
            second_result = second()
        first_result = first()
        main.wait_stream(self._side)
        return first_result, second_result


def _all_finite(tensors: tuple[Tensor, ...]) -> Tensor:
    # aminmax propagates NaN, so one pass over each tensor finds NaN and infinity.
    extremes = [extreme for tensor in tensors for extreme in tensor.flatten(1).aminmax(dim=1)]
    return torch.isfinite(torch.stack(extremes)).all(dim=0)
