# SPDX-License-Identifier: Apache-2.0
"""What the subcommand ``export`` does: graphs, metadata, and the check without which nothing is written."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import onnxscript
import torch

from ttt3r_ros import __version__
from ttt3r_ros.errors import OutputError
from ttt3r_ros.io.atomic import atomic_write_folder
from ttt3r_ros.model.checkpoints.networks import PACKAGE_WEIGHTS, load_network, network_id
from ttt3r_ros.model.onnx.chain import TOLERANCE, OnnxChain, compute_deviations
from ttt3r_ros.model.onnx.graphs import RECURRENT, export_program, graphs, save_onnx
from ttt3r_ros.model.runtime.preprocessing import InputSize, normalize_image
from ttt3r_ros.synthetic.room import ProceduralRoom

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from ttt3r_ros.model.checkpoints.networks import LoadedNetwork
    from ttt3r_ros.model.onnx.graphs import Graph

METADATA = "metadata.json"
CHECK_FRAMES = 5

CHAIN = (
    "run encoder, step, heads in this order, each on the values that its inputs name",
    "after each image the values of next_state, next_memory, next_fresh become state, memory, fresh",
    "a stream starts or restarts with fresh = true; state and memory are then ignored and may be zeros",
    "image is RGB, scaled to (value / 255 - 0.5) / 0.5",
    "pose is the camera in the first camera's frame; points are in the camera's optical frame, in meters",
)
MEANING = {
    "image": "(B, 3, H, W) RGB in [-1, 1]",
    "features": "(B, N, F) encoder output",
    "state": "(B, S, C) recurrent state",
    "memory": "(B, M, 2C) pose memory",
    "fresh": "(B,) true before the first image",
    "layer_half": "(B, 1 + N, C) decoder tokens at half of the depth",
    "layer_three_quarters": "(B, 1 + N, C) decoder tokens at three quarters of the depth",
    "layer_end": "(B, 1 + N, C) decoder tokens at the end",
    "next_state": "state of the next image",
    "next_memory": "memory of the next image",
    "next_fresh": "fresh of the next image",
    "pose": "(B, 7) x, y, z [m], then the unit quaternion w, x, y, z",
    "points": "(B, H, W, 3) [m]",
    "confidence": "(B, H, W)",
}


def run(arguments: argparse.Namespace) -> int:
    """Export, check, report; return the exit status."""
    folder: Path = arguments.output
    loaded = load_network(arguments.weights or PACKAGE_WEIGHTS, arguments.update_rule)
    width, height = arguments.size or _own_size(loaded)
    parts = graphs(loaded.network, width, height, arguments.batch)
    with atomic_write_folder(folder, last=METADATA) as staging:
        for part in parts:
            save_onnx(export_program(part, arguments.opset), staging / f"{part.name}.onnx")
        found = _check(loaded, staging, (width, height), arguments.batch)
        facts = _metadata(arguments, loaded, (width, height), parts, staging, found)
        (staging / METADATA).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    for entry in facts["files"]:
        print(f"{folder / entry['name']}: {entry['bytes'] / 2**20:.1f} MiB")
    print(
        f"{folder / METADATA}: images of {width}x{height}, batch {arguments.batch}, opset {arguments.opset}"
    )
    return 0


def _own_size(loaded: LoadedNetwork) -> tuple[int, int]:
    geometry = InputSize.of(loaded.network.config).geometry(640, 480)
    return geometry.width, geometry.height


def _check(loaded: LoadedNetwork, folder: Path, size: tuple[int, int], batch: int) -> dict[str, float]:
    found = compute_deviations(loaded.network, OnnxChain(folder), room_images(size, batch))
    deviations = ", ".join(f"{name} {value:.1e}" for name, value in found.items())
    print(
        f"largest deviation from PyTorch over {CHECK_FRAMES} chained images, relative: {deviations}; "
        f"tolerance {TOLERANCE:.0e}"
    )
    require_agreement(found)
    return found


def require_agreement(found: Mapping[str, float]) -> None:
    """Raise `OutputError` unless every deviation is within `TOLERANCE`; NaN is not."""
    name, worst = max(found.items(), key=lambda item: np.nan_to_num(item[1], nan=np.inf))
    if not worst <= TOLERANCE:
        msg = (
            f"the exported graphs differ from PyTorch by {worst:.1e} in {name}; expected at most {TOLERANCE:.0e}. "
            "Nothing was written"
        )
        raise OutputError(msg)


def room_images(size: tuple[int, int], batch: int, frames: int = CHECK_FRAMES) -> list[Tensor]:
    """Return a walk through the embedded room as network images (B, 3, H, W); each stream sees every B-th frame."""
    room = ProceduralRoom(frames=frames * batch, width=size[0], height=size[1])
    images = [normalize_image(room.render(k).rgb) for k in range(len(room))]
    return [torch.cat(images[k : k + batch]) for k in range(0, len(images), batch)]


def _metadata(
    arguments: argparse.Namespace,
    loaded: LoadedNetwork,
    size: tuple[int, int],
    parts: list[Graph],
    folder: Path,
    found: Mapping[str, float],
) -> dict[str, Any]:
    return {
        "format": 1,
        "weights": loaded.description,
        "weights_id": network_id(loaded.network),
        "update_rule": arguments.update_rule,
        "reset_interval": loaded.reset_interval,
        "image": {"width": size[0], "height": size[1]},
        "batch": arguments.batch,
        "opset": arguments.opset,
        "graphs": [
            {
                "name": part.name,
                "file": f"{part.name}.onnx",
                "inputs": [_describe(name, tensor) for name, tensor in part.inputs.items()],
                "outputs": [_describe(name, tensor) for name, tensor in part.outputs.items()],
            }
            for part in parts
        ],
        "carried": {f"next_{name}": name for name in RECURRENT},
        "chain": list(CHAIN),
        "files": [_file(path) for path in sorted(folder.iterdir())],
        "check": {"frames": CHECK_FRAMES, "tolerance": TOLERANCE, "deviations": dict(found)},
        "made_with": {
            "ttt3r_ros": __version__,
            "torch": torch.__version__,
            **{module.__name__: module.__version__ for module in (onnx, onnxruntime, onnxscript)},
        },
    }


def _describe(name: str, tensor: Tensor) -> dict[str, Any]:
    return {
        "name": name,
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "shape": list(tensor.shape),
        "meaning": MEANING[name],
    }


def _file(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": digest.hexdigest()}
