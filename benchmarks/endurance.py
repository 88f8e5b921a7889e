#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whether a frame costs the same after thousands of frames, and whether memory stays flat.

The whole pipeline but ROS, network to map, on the demo's room walked there and back. The network's drift never lets
the map come to rest, so it grows as it would in new surroundings. Medians of windows, so that one disturbed frame does
not show; exits with 1 if the last window is slower than the first by more than 5 % or memory grew by more than 5 %.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is loaded
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not

import numpy as np

from ttt3r_ros.config import from_mapping
from ttt3r_ros.io.room import ProceduralRoom
from ttt3r_ros.model.loading import load_backend
from ttt3r_ros.pipeline.reconstructor import Reconstructor
from ttt3r_ros.types import Frame

PATH = 120  # frames of the path
WINDOW = 100
STAGES = ("preprocess", "network", "map")
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
    found: list[tuple[float, float]] = []
    times: list[list[float]] = []
    for index in range(arguments.frames):
        times.append(_step(reconstructor, images, index))
        if index + 1 in windows:
            medians = np.median(np.array(times[-WINDOW:]) * 1e3, axis=0)
            found.append((float(medians[0]), _resident_mib()))
            print(
                f"{index + 2 - WINDOW:6d}-{index + 1:<5d} {medians[0]:8.2f} "
                + " ".join(f"{ms:10.2f}" for ms in medians[1:])
                + f" {found[-1][1]:8.0f} {len(reconstructor.map):8d}",
                flush=True,
            )
    slower, grown = (found[-1][k] / found[0][k] - 1 for k in (0, 1))
    print(f"last window against the first: time {100 * slower:+.1f} %, memory {100 * grown:+.1f} %")
    return int(max(slower, grown) > TOLERANCE)


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
