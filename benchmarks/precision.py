#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Accumulated error of each number format in the recurrent state over a long sequence, against float32.

The small trained network sees one sequence in every arithmetic, without resets, so that nothing wipes out an error;
deviations are relative and printed after 10, 100 and 1,000 frames. ``accuracy.py --precision`` measures
their effect on a trajectory.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not

import torch

from ttt3r_ros.model.checkpoints.networks import PACKAGE_WEIGHTS, load_network
from ttt3r_ros.model.network.view import View
from ttt3r_ros.model.runtime.devices import resolve_device
from ttt3r_ros.model.runtime.precision import use_precision
from ttt3r_ros.model.runtime.preprocessing import InputSize, normalize_image, resize_and_crop
from ttt3r_ros.synthetic.room import ProceduralRoom

if TYPE_CHECKING:
    from torch import Tensor

    from ttt3r_ros.model.network.network import Ttt3r

KINDS = ("bfloat16", "float16", "int8")
LOOP = 120  # frames of the room's path, there and back, so that the sequence is smooth and of any length


def main() -> int:
    """Print one row for each arithmetic and length."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:N")
    arguments = parser.parse_args()
    device = resolve_device(arguments.device)
    kinds = [kind for kind in KINDS if device == "cpu" or kind != "int8"]
    networks = {
        kind: use_precision(load_network(PACKAGE_WEIGHTS).network, kind).to(device)
        for kind in ("float32", *kinds)
    }
    images = _images(networks["float32"])
    states = {kind: network.initial_state() for kind, network in networks.items()}
    print(f"{'arithmetic':11s} {'frames':>7s} {'pose':>9s} {'depth':>9s} {'state':>9s} {'memory':>9s}")
    for index in range(arguments.frames):
        view = View(image=images[_there_and_back(index, len(images))].to(device))
        found: dict[str, tuple[Tensor, ...]] = {}
        for kind, network in networks.items():
            with torch.inference_mode():
                output, states[kind] = network.step(view, states[kind])
            after = states[kind]
            found[kind] = (output.pose, output.camera.points, after.tokens, after.memory)
        if index + 1 in (10, 100, 1000, arguments.frames):
            for kind in kinds:
                errors = [
                    float((a - b).norm() / b.norm())
                    for a, b in zip(found[kind], found["float32"], strict=True)
                ]
                print(
                    f"{kind:11s} {index + 1:7d} " + " ".join(f"{error:9.1e}" for error in errors),
                    flush=True,
                )
    return 0


def _there_and_back(index: int, count: int) -> int:
    index %= 2 * count - 2
    return index if index < count else 2 * count - 2 - index


def _images(network: Ttt3r) -> list[Tensor]:
    room = ProceduralRoom(frames=LOOP)
    frames = [frame.rgb for frame in room.frames()]
    plan = InputSize.of(network.config).geometry(frames[0].shape[1], frames[0].shape[0])
    return [normalize_image(resize_and_crop(rgb, plan)) for rgb in frames]


if __name__ == "__main__":
    sys.exit(main())
