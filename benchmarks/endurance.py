#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure whether frame time and memory stay constant over thousands of frames.

The whole pipeline but ROS, network to map, on the demo's room walked there and back. The network's drift never lets
the map come to rest, so it grows as it would in new surroundings. Medians of windows, so that one disturbed frame does
not show. Minutes lie between the windows, in which a machine may have become slower; so at the end a second
reconstruction that has seen 50 frames takes turns with the old one. Exits with 1 if the old one is slower by more than
5 %, or its memory grew by more than 5 %.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not

import numpy as np

from ttt3r_ros.config import from_mapping
from ttt3r_ros.model.runtime.loading import load_backend
from ttt3r_ros.pipeline.reconstructor import Reconstructor
from ttt3r_ros.synthetic.room import ProceduralRoom
from ttt3r_ros.types import Frame

PATH = 120  # frames of the path
WINDOW = 100
YOUNG = 50  # frames that the other one has seen before they take turns
STAGES = ("preprocess", "network", "visual_odometry", "map")
TOLERANCE = 0.05


def main() -> int:
    """Print a row for each window."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=5000)
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:N")
    arguments = parser.parse_args()
    config = from_mapping({"device": arguments.device})
    backend, facts = load_backend(config)
    reconstructor = Reconstructor(backend, config)
    images = [frame.rgb for frame in ProceduralRoom(frames=PATH).frames()]
    windows = _windows(arguments.frames)
    print(
        f"{facts}\n{'frames':>12s} {'ms':>8s} "
        + " ".join(f"{s:>10s}" for s in STAGES)
        + f" {'MiB':>8s} {'voxels':>8s}"
    )
    memory_mib: list[float] = []
    times: list[list[float]] = []
    for index in range(arguments.frames):
        times.append(_step(reconstructor, images, index))
        if index + 1 in windows:
            memory_mib.append(_resident_mib())
            span = f"{index + 2 - WINDOW:6d}-{index + 1:<5d}"
            print(_row(span, times[-WINDOW:], memory_mib[-1], len(reconstructor.map.voxels)), flush=True)
    grown = memory_mib[-1] / memory_mib[0] - 1
    slower = _slower_than_a_young_one(
        reconstructor, Reconstructor(backend, config), images, arguments.frames
    )
    print(
        f"old against young: time {100 * slower:+.1f} %; memory since the first window {100 * grown:+.1f} %"
    )
    return int(max(slower, grown) > TOLERANCE)


def _slower_than_a_young_one(
    old: Reconstructor[Any], young: Reconstructor[Any], images: list[np.ndarray], shown: int
) -> float:
    """Let both take turns, and return by which share the median frame of the old one is slower."""
    for index in range(YOUNG):
        _step(young, images, index)
    times: dict[str, list[list[float]]] = {"old": [], "young": []}
    for index in range(WINDOW):
        times["old"].append(_step(old, images, shown + index))
        times["young"].append(_step(young, images, YOUNG + index))
    for name, reconstructor in (("old", old), ("young", young)):
        print(_row(name, times[name], _resident_mib(), len(reconstructor.map.voxels)))
    medians = [np.median([row[0] for row in times[name]]) for name in ("old", "young")]
    return float(medians[0] / medians[1] - 1)


def _row(name: str, times: list[list[float]], memory_mib: float, voxels: int) -> str:
    whole, *stages = np.median(np.array(times) * 1e3, axis=0)
    words = " ".join(f"{ms:10.2f}" for ms in stages)
    return f"{name:>12s} {whole:8.2f} {words} {memory_mib:8.0f} {voxels:8d}"


def _windows(frames: int) -> set[int]:
    """Return the last frames of the windows: about frame 100, then ever later, then about the last."""
    return {count for count in (150, 500, 1000, 2000, 3000, 4000) if count < frames} | {frames}


def _step(reconstructor: Reconstructor[Any], images: list[np.ndarray], index: int) -> list[float]:
    place = index % (2 * PATH - 2)
    rgb = images[place if place < PATH else 2 * PATH - 2 - place]
    started = time.perf_counter()
    update = reconstructor.step(Frame((index + 1) * 10**8, "camera", rgb))
    return [time.perf_counter() - started, *(update.timings_s[stage] for stage in STAGES)]


def _resident_mib() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


if __name__ == "__main__":
    sys.exit(main())
