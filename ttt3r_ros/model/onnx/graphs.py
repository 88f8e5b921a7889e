# SPDX-License-Identifier: Apache-2.0
"""Export of the network as three static ONNX graphs: encoder, step, heads. The step has the recurrent inputs.

Batch and image size are fixed. Values are passed between the graphs by name, see `OnnxChain`.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ttt3r_ros.errors import ConfigError
from ttt3r_ros.model.network.network import Decoded
from ttt3r_ros.model.network.state import RecurrentState
from ttt3r_ros.model.network.view import OptionalOutputs, View, patch_grid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ttt3r_ros.model.network.config import NetworkConfig
    from ttt3r_ros.model.network.network import Ttt3r

OPSETS = range(18, 24)  # the exporter's minimum to the newest tested one
RECURRENT = ("state", "memory", "fresh")  # inputs of the step; its outputs are next_state, ...

# A protobuf file is limited to 2 GiB; weights above half of it are stored in a separate file.
EXTERNAL_DATA_BYTES = 2**30

_LAYERS = ("layer_half", "layer_three_quarters", "layer_end")
_CONTROL_FLOW = {"If", "Loop", "Scan"}


@dataclass(frozen=True)
class Graph:
    """One of the three parts, with example inputs and outputs."""

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


class EncoderGraph(nn.Module):
    """Maps images to features; needs no state."""

    def __init__(self, network: Ttt3r) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """Map (B, 3, H, W) in [-1, 1] to (B, N, F)."""
        return (self.network.encode(View(image=image)),)


class StepGraph(nn.Module):
    """Reads the pose memory, runs both decoders, updates state and memory.

    Where ``fresh`` is set, the initial state replaces the input state and memory.
    """

    initial_tokens: Tensor
    initial_memory: Tensor

    def __init__(self, network: Ttt3r, grid: tuple[int, int], batch: int) -> None:
        super().__init__()
        self.network, self.grid = network, grid
        initial = network.initial_state(batch)
        self.register_buffer("initial_tokens", initial.tokens.clone())
        self.register_buffer("initial_memory", initial.memory.clone())

    def forward(
        self, features: Tensor, state: Tensor, memory: Tensor, fresh: Tensor
    ) -> tuple[Tensor, ...]:
        """Return the decoder layers for the heads, next state (B, S, C), next memory (B, M, 2C), next fresh."""
        network, is_fresh = self.network, fresh[:, None, None]
        before = RecurrentState(
            torch.where(is_fresh, self.initial_tokens, state),
            torch.where(is_fresh, self.initial_memory, memory),
            fresh,
        )
        key = network.pose_retriever.key(features)
        decoded = network.decode(features, network.read_memory(before, key), before, self.grid)
        proposed = network.pose_retriever.write(before.memory, key, decoded.layers[-1][:, :1])
        # The state update depends on the presence of an image, not on its values.
        after = network.update_state(View(image=features), before, decoded, proposed)
        layers = [
            layer for name, layer in zip(_LAYERS, decoded.layers, strict=True) if name in self.reads
        ]
        # Always False, but computed: some runtimes reject a constant output.
        return (*layers, after.tokens, after.memory, fresh & ~fresh)

    @property
    def reads(self) -> tuple[str, ...]:
        """Return the names of the output layers."""
        return _head_inputs(self.network.config)


class HeadsGraph(nn.Module):
    """Maps features and decoder layers to pose, points and confidence."""

    def __init__(self, network: Ttt3r, grid: tuple[int, int]) -> None:
        super().__init__()
        self.network, self.grid = network, grid

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map the inputs of `_head_inputs` to pose (B, 7), points (B, H, W, 3), confidence (B, H, W)."""
        # Linear heads have the last layer as their only input.
        features, half, three_quarters, end = inputs if len(inputs) > 1 else inputs * 4
        decoded = Decoded(state=end, layers=(half, three_quarters, end), gate_logit=end)
        heads = self.network.run_heads(features, decoded, self.grid, OptionalOutputs())
        return heads.pose, heads.camera.points, heads.camera.confidence


@torch.no_grad()
def graphs(network: Ttt3r, width: int, height: int, batch: int = 1) -> list[Graph]:
    """Return encoder, step and heads, in execution order.

    Each part is run once: this determines the shapes and fills the network's cache of rotary tables, which the
    exporter then treats as constants.

    Raises:
        ImageError: the size is not supported by the network.
    """
    grid = patch_grid(torch.empty(batch, 3, height, width, device="meta"), network.config.patch_size)
    initial = network.initial_state(batch)
    values = {
        "image": torch.zeros(batch, 3, height, width),
        "state": initial.tokens.clone(),
        "memory": initial.memory.clone(),
        "fresh": initial.fresh.clone(),
    }
    reads = _head_inputs(network.config)
    parts: list[tuple[str, nn.Module, tuple[str, ...], tuple[str, ...]]] = [
        ("encoder", EncoderGraph(network), ("image",), ("features",)),
        (
            "step",
            StepGraph(network, grid, batch),
            ("features", *RECURRENT),
            (*(name for name in reads if name in _LAYERS), *(f"next_{name}" for name in RECURRENT)),
        ),
        ("heads", HeadsGraph(network, grid), reads, ("pose", "points", "confidence")),
    ]
    return [_run_part(name, module, into, out, values) for name, module, into, out in parts]


def _run_part(
    name: str, module: nn.Module, into: tuple[str, ...], out: tuple[str, ...], values: dict[str, Tensor]
) -> Graph:
    inputs = {key: values[key] for key in into}
    outputs = dict(zip(out, module.eval()(*inputs.values()), strict=True))
    values.update(outputs)
    return Graph(name, module, inputs, outputs)


def _head_inputs(config: NetworkConfig) -> tuple[str, ...]:
    return ("features", *_LAYERS) if config.head_type == "dpt" else _LAYERS[-1:]


@torch.no_grad()
def export_program(graph: Graph, opset: int) -> torch.onnx.ONNXProgram:
    """Convert a graph to ONNX.

    Raises:
        ConfigError: the opset is not in `OPSETS`, or the graph has control flow.
    """
    if opset not in OPSETS:
        msg = f"opset is {opset}; expected {OPSETS[0]} to {OPSETS[-1]}"
        raise ConfigError(msg)
    with _quiet_exporter():
        with _DecomposedAttention():
            exported = torch.export.export(graph.module, tuple(graph.inputs.values()))
        program = torch.onnx.export(
            exported,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    check_no_control_flow(graph.name, program.model)
    _strip_source_locations(program.model)
    return program


def save_onnx(
    program: torch.onnx.ONNXProgram, path: Path, external_data_bytes: int = EXTERNAL_DATA_BYTES
) -> None:
    """Write a graph; weights above ``external_data_bytes`` go into ``path`` + ``.data``.

    Raises:
        OSError: a file cannot be written.
    """
    model: Any = program.model
    weights = sum(value.const_value.nbytes for value in model.graph.initializers.values())
    program.save(path, external_data=weights > external_data_bytes)


class _DecomposedAttention(TorchFunctionMode):
    """Traces attention and einsum as matrix products, which inference engines can fuse."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replace attention and einsum; pass other calls on."""
        if func is F.scaled_dot_product_attention:
            return _attention(*args, **kwargs or {})
        if func is torch.einsum:
            return torch.ops.aten.einsum.default.decompose(args[0], args[1:])
        return func(*args, **kwargs or {})


def _attention(q: Tensor, k: Tensor, v: Tensor, *, scale: float | None = None) -> Tensor:
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return torch.softmax((q * scale) @ k.transpose(-2, -1), dim=-1) @ v


def check_no_control_flow(name: str, model: Any) -> None:
    """Raise `ConfigError` if an `onnx_ir` model has control flow."""
    found = sorted(_CONTROL_FLOW & {node.op_type for node in model.graph.all_nodes()})
    if found:
        msg = f"the {name} graph has {', '.join(found)}; expected a graph without control flow (required by TensorRT)"
        raise ConfigError(msg)


def _strip_source_locations(model: Any) -> None:
    """Remove the source locations of all nodes, which contain paths of this machine."""
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence the exporter's log messages and warnings."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
