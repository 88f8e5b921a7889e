# SPDX-License-Identifier: Apache-2.0
"""How the two halves of a step run: as written, with parts compiled by inductor, recorded as graphs, or both.

The first half, the encoder, needs no state; so it can be done for an image whose predecessor is still under way.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ttt3r_ros.model.network.state import RecurrentState
from ttt3r_ros.model.network.view import View
from ttt3r_ros.model.runtime.compilation import compile_parts
from ttt3r_ros.model.runtime.threads import is_narrow
from ttt3r_ros.model.runtime.tracing import Traced, on_two_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from ttt3r_ros.model.network.config import NetworkConfig
    from ttt3r_ros.model.network.network import Ttt3r
    from ttt3r_ros.model.runtime.tracing import TensorFunction

logger = logging.getLogger(__name__)

# Before a recording, so that libraries have chosen their algorithms and tables are made.
_WARM_UP_CALLS = 3


class Shown(NamedTuple):
    """What a batch of images showed, on the device."""

    points: Tensor  # (B, h, w, 3) meters, camera's optical frame
    confidence: Tensor  # (B, h, w)
    pose: Tensor  # (B, 7) x, y, z, then quaternion w, x, y, z
    finite: Tensor  # (B,) bool: no NaN or infinity, neither here nor in the state after it


class Execution:
    """Runs the halves of a network's step as written, or as the two functions that it is given."""

    def __init__(self, encode: TensorFunction, advance: TensorFunction) -> None:
        self._encode = encode
        self._advance = advance

    def encode(self, images: Tensor) -> Tensor:
        """Return the features (B, N, F) of images (B, 3, h, w)."""
        return self._encode(images)[0]

    def advance(
        self, images: Tensor, features: Tensor, state: RecurrentState
    ) -> tuple[Shown, RecurrentState]:
        """Show images whose features are known to a state; return what is seen and the next state."""
        found = self._advance(images, features, state.tokens, state.memory, state.fresh)
        return Shown(*found[:4]), RecurrentState(*found[4:])


def execution(network: Ttt3r, mode: str, *, side_by_side: bool = False) -> Execution:
    """Return the execution of a mode that `resolve_compile` gave; it may compile parts of the network in place.

    A graph runs the two decoders of a layer ``side_by_side`` on two threads of a processor; on a CUDA device always.
    """

    def encode(images: Tensor) -> tuple[Tensor]:
        return (network.encode(View(image=images)),)

    def advance(
        images: Tensor, features: Tensor, tokens: Tensor, memory: Tensor, fresh: Tensor
    ) -> tuple[Tensor, ...]:
        state = RecurrentState(tokens, memory, fresh)
        output, after = network.advance(View(image=images), features, state)
        shown = (output.camera.points, output.camera.confidence, output.pose)
        learnt = (after.tokens, after.memory, after.fresh)
        return *shown, _all_finite((*shown, *learnt[:2])), *learnt

    if "inductor" in mode:
        compile_parts(network)
    if "graph" not in mode:
        return Execution(encode, advance)
    network.requires_grad_(requires_grad=False)
    if next(network.parameters()).is_cuda:
        network.side_by_side = TwoStreams()
        return Execution(Replayed(encode), Replayed(advance))
    if side_by_side:
        network.side_by_side = on_two_threads
    return Execution(Traced(encode), Traced(advance))


def resolve_compile(requested: str, device: str, network: NetworkConfig) -> str:
    """Return 'none', 'inductor', 'graph' or 'inductor, graph'.

    'auto' records graphs on a CUDA device, and on a processor of a network whose operations are short.
    """
    cuda = device.startswith("cuda")
    wished = ("auto", "inductor") if cuda else ("auto",) if is_narrow(network) else ()
    graph = ["graph"] if requested in ("graph", *wished) else []
    inductor = ["inductor"] if requested == "inductor" else []
    return ", ".join(inductor + graph) or "none"


class Replayed:
    """A function of tensors, recorded as a CUDA graph for each shape it meets and replayed with new values.

    Every function has a memory pool and a stream for recording of its own, so that different ones may replay at the
    same time: what a library needs for its products is kept for each stream, and a graph goes on using it.
    """

    def __init__(self, function: TensorFunction) -> None:
        self._function = function
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream()
        self._recordings: dict[tuple[torch.Size, ...], _Recording] = {}
        # The last call, from whatever stream, is done with the recording.
        self._idle = torch.cuda.Event()

    def __call__(self, *values: Tensor) -> tuple[Tensor, ...]:
        """Return fresh copies of the outputs, so that a result stays a value when the next one is made."""
        shapes = tuple(value.shape for value in values)
        if shapes not in self._recordings:
            self._recordings[shapes] = _record(self._function, values, self._pool, self._stream)
        recording = self._recordings[shapes]
        stream = torch.cuda.current_stream()
        stream.wait_event(self._idle)
        for held, value in zip(recording.inputs, values, strict=True):
            held.copy_(value, non_blocking=True)
        recording.graph.replay()
        results = tuple(output.clone() for output in recording.outputs)
        self._idle.record(stream)
        return results


class _Recording(NamedTuple):
    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def _record(
    function: TensorFunction, values: tuple[Tensor, ...], pool: Any, stream: torch.cuda.Stream
) -> _Recording:
    inputs = tuple(value.clone() for value in values)
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP_CALLS):
            function(*inputs)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    # What other threads do on the device meanwhile is not recorded, and need not stop it.
    with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
        outputs = function(*inputs)
    logger.info("recorded a CUDA graph for inputs %s", [tuple(value.shape) for value in values])
    return _Recording(graph, inputs, outputs)


class TwoStreams:
    """Runs two independent functions at the same time on a CUDA device; a recorded graph keeps the fork."""

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
    # A NaN is the smallest and the largest of all; so one pass over each tensor tells.
    extremes = [extreme for tensor in tensors for extreme in tensor.flatten(1).aminmax(dim=1)]
    return torch.isfinite(torch.stack(extremes)).all(dim=0)
