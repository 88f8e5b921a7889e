# SPDX-License-Identifier: Apache-2.0
"""The exported graphs in onnxruntime, chained over the state, and their deviation from PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import torch

from ttt3r_ros.model.network.view import View

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from ttt3r_ros.model.network.network import Ttt3r

NAMES = ("encoder", "step", "heads")  # in the order in which they run
TOLERANCE = 1e-4  # relative to the largest magnitude of the array


class OnnxChain:
    """Runs a batch of image streams on the CPU.

    ``fresh`` (B,) marks the streams that start from the initial state at the next image; initially all do.
    """

    def __init__(self, folder: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._graphs = [
            onnxruntime.InferenceSession(
                folder / f"{name}.onnx", options, providers=["CPUExecutionProvider"]
            )
            for name in NAMES
        ]
        shapes = {entry.name: entry.shape for graph in self._graphs for entry in graph.get_inputs()}
        self._recurrent: dict[str, NDArray[Any]] = {
            name: np.zeros(shapes[name], np.float32) for name in ("state", "memory")
        }
        self.fresh = np.ones(shapes["fresh"], np.bool_)

    def step(self, image: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Run images (B, 3, H, W) in [-1, 1]; return all outputs of all graphs by name."""
        values: dict[str, NDArray[Any]] = {"image": image, "fresh": self.fresh, **self._recurrent}
        for graph in self._graphs:
            inputs = {entry.name: values[entry.name] for entry in graph.get_inputs()}
            outputs = [entry.name for entry in graph.get_outputs()]
            values.update(zip(outputs, graph.run(outputs, inputs), strict=True))
        self._recurrent = {name: values[f"next_{name}"] for name in self._recurrent}
        self.fresh = values["next_fresh"]
        return values


@torch.no_grad()
def compute_deviations(network: Ttt3r, chain: OnnxChain, images: Sequence[Tensor]) -> dict[str, float]:
    """Run network and graphs on a stream of images (B, 3, H, W); return the largest deviation of each output.

    Deviations are relative to the largest magnitude of the frame's array; NaN if either has a NaN.
    """
    largest: dict[str, float] = {}
    state = network.initial_state(images[0].shape[0])
    for image in images:
        output, state = network.step(View(image=image), state)
        expected = {
            "pose": output.pose,
            "points": output.camera.points,
            "confidence": output.camera.confidence,
            "next_state": state.tokens,
            "next_memory": state.memory,
        }
        found = chain.step(image.numpy())
        for name, tensor in expected.items():
            differs = deviation(found[name], tensor.numpy(), mirrored=name == "points")
            largest[name] = float(np.maximum(differs, largest.get(name, 0.0)))  # propagates NaN
    return largest


def deviation(found: NDArray[Any], expected: NDArray[Any], *, mirrored: bool = False) -> float:
    """Return the largest difference relative to the largest magnitude.

    ``mirrored``: accept both signs for points (..., 3) of depth close to 0. The linear head flips points to the front
    of the camera, and at depth 0 the last bit decides the sign.
    """
    scale = max(float(np.abs(expected).max()), float(np.finfo(np.float32).tiny))
    difference = np.abs(found - expected)
    if mirrored:
        edge = np.abs(expected[..., 2:]) < TOLERANCE * scale
        difference = np.where(edge, np.minimum(difference, np.abs(found + expected)), difference)
    return float(difference.max()) / scale
