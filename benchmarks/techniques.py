# SPDX-License-Identifier: Apache-2.0
"""Each technique that makes the network faster, with its cost in accuracy: one row each, in one process.

The first row is the published form: float32, attention maps, all heads. Every row adds one technique to the row above
it, or, where its name begins with "or", stands in for that row. All see the same images with the same weights;
deviations are relative to the first row, after the last image, so that what adds up in the state shows.
"""

from __future__ import annotations

import copy
import csv
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # runs from a checkout, installed or not

from as_published import SHORTCUTS, without  # noqa: E402
from peak_memory import peak_mib, reset_peak  # noqa: E402
from stage_clock import FunctionClock  # noqa: E402

from ttt3r_ros.model.checkpoints.networks import PACKAGE_WEIGHTS, load_network, seeded_network  # noqa: E402
from ttt3r_ros.model.network.config import NetworkConfig  # noqa: E402
from ttt3r_ros.model.network.view import OptionalOutputs, View  # noqa: E402
from ttt3r_ros.model.runtime.backend import TorchBackend  # noqa: E402
from ttt3r_ros.model.runtime.execution import ExecutionOptions, build_execution  # noqa: E402
from ttt3r_ros.model.runtime.precision import use_precision  # noqa: E402
from ttt3r_ros.model.runtime.preprocessing import InputSize, normalize_image, resize_and_crop  # noqa: E402
from ttt3r_ros.synthetic.room import ProceduralRoom  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from ttt3r_ros.model.network.network import Ttt3r
    from ttt3r_ros.model.network.state import RecurrentState

RESULTS = ROOT / "benchmarks" / "results.csv"
STAGES = ("encoder", "memory read", "decoders", "memory write", "heads", "update")
COLUMNS = (
    *("commit", "network", "machine", "image", "technique", "precision", "frames"),
    *(f"{stage} ms" for stage in STAGES),
    *(
        "p50 ms",
        "p95 ms",
        "frames/s",
        "ratio",
        "MiB",
        "pose deviation",
        "depth deviation",
        "state deviation",
    ),
)


@dataclass(frozen=True)
class Technique:
    """One row."""

    name: str
    shortcuts: tuple[str, ...] = SHORTCUTS
    all_heads: bool = False
    precision: str = "float32"
    matmul: str = "highest"
    mode: str = "none"
    parallel_decoders: bool = False
    channels_last: bool = True


def techniques(device: str) -> list[Technique]:
    """Return the rows for a device, from the published form to the fastest."""
    ladder = [
        Technique(
            "as published" if not k else f"+ {SHORTCUTS[k - 1]}",
            shortcuts=SHORTCUTS[:k],
            all_heads=True,
            channels_last=False,
        )
        for k in range(len(SHORTCUTS) + 1)
    ]
    rows = [*ladder, Technique("+ one head", channels_last=False), Technique("+ channels last")]
    if device == "cpu":
        rows += [
            Technique("or oneDNN float32", matmul="medium"),
            Technique("or inductor", mode="inductor"),  # minutes to compile the large network
            Technique("or TorchScript", mode="graph"),
            Technique("or TorchScript, parts at once", mode="graph", parallel_decoders=True),
        ]
    else:
        rows += [Technique("or TF32", matmul="high")]
    rows += [Technique(f"+ {kind}", precision=kind) for kind in ("bfloat16", "float16")]
    if device == "cpu":
        return [*rows, Technique("or int8", precision="int8")]
    return [
        *rows,
        Technique("or CUDA graphs (float16)", precision="float16", mode="graph"),
        Technique("+ CUDA graphs (bfloat16)", precision="bfloat16", mode="graph"),
        Technique("+ inductor (bfloat16)", precision="bfloat16", mode="inductor, graph"),
    ]


@dataclass
class Row:
    """A technique and its measurements."""

    technique: Technique
    network: Ttt3r
    state: RecurrentState
    step: Callable[[Tensor, RecurrentState], tuple[Tensor, Tensor, RecurrentState]]
    frame_s: list[float] = field(default_factory=list)
    stage_s: dict[str, list[float]] = field(default_factory=dict)
    peak_mib: float = 0.0  # weights and what a step needs beside them
    pose: Tensor | None = None
    points: Tensor | None = None

    def p(self, percent: float) -> float:
        """Return a percentile of the time of a frame [ms]."""
        return float(np.percentile(self.frame_s, percent)) * 1e3


def compare(
    name: str, device: str, frames: int, only: Sequence[str] = (), leave_out: Sequence[str] = ()
) -> list[Row]:
    """Measure all rows, or those whose names contain one of ``only`` and none of ``leave_out``, and the published form.

    The rows take turns at each frame, so that what else the machine does falls on all of them alike. One that cannot
    run on this machine is named and left out.
    """
    first, *others = techniques(device)
    chosen = [
        technique
        for technique in others
        if (not only or any(word in technique.name for word in only))
        and not any(word in technique.name for word in leave_out)
    ]
    networks: dict[tuple[object, ...], Ttt3r] = {}
    rows = [_row(technique, name, device, networks) for technique in (first, *chosen)]
    for index, image in enumerate(_images(rows[0].network, frames + 1)):
        shown = image.to(device)
        if not index:
            rows = [row for row in rows if row is rows[0] or _can_run(row, shown, device)]
        for row in rows if index else rows[:1]:
            _show(row, shown, device, warm=index > 0)
    return rows


def _can_run(row: Row, image: Tensor, device: str) -> bool:
    """Process the first image; return the reason if that fails."""
    try:
        _show(row, image, device, warm=False)
    except RuntimeError as error:
        print(f"{row.technique.name}: {error}", file=sys.stderr, flush=True)
        return False
    return True


def backend_ms(
    published: Ttt3r, device: str, frames: int, precision: str, mode: str, *, encode_ahead: bool
) -> float:
    """Return the mean time of a frame of a stream through the backend, from image to arrays [ms]."""
    options = ExecutionOptions(device, precision, mode, encode_ahead=encode_ahead)
    backend = TorchBackend(copy.deepcopy(published), options)
    images = _frames(frames + 1)
    state = backend.initial_state()
    started = 0.0
    for index, (image, upcoming) in enumerate(zip(images, [*images[1:], images[0]], strict=True)):
        if index == 1:  # the first frame warms up
            started = time.perf_counter()
        backend.set_next_image_source(partial(np.asarray, upcoming))
        _, state = backend.step(image, state)
    return (time.perf_counter() - started) / frames * 1e3


@torch.inference_mode()
def _show(row: Row, image: Tensor, device: str, *, warm: bool) -> None:
    torch.set_float32_matmul_precision(row.technique.matmul)
    torch.backends.cudnn.allow_tf32 = row.technique.matmul != "highest"
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if row.technique.parallel_decoders else threads)
    before = reset_peak(device)
    clock = FunctionClock(device)
    timed = _parts(row.network) if row.technique.mode == "none" else []
    with without(set(SHORTCUTS) - set(row.technique.shortcuts)), clock.timing(timed):
        started = clock.synchronize()
        row.pose, row.points, row.state = row.step(image, row.state)
        spent = clock.synchronize() - started
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = True  # as torch has it
    if warm or "graph" in row.technique.mode:  # a graph takes its memory when it is recorded
        row.peak_mib = max(row.peak_mib, _weights_mib(row.network) + peak_mib(device) - before)
    if warm:
        row.frame_s.append(spent)
        for stage, seconds in clock.spent().items():
            row.stage_s.setdefault(stage, []).append(seconds)


def _row(technique: Technique, name: str, device: str, networks: dict[tuple[object, ...], Ttt3r]) -> Row:
    key = (technique.precision, technique.mode, technique.parallel_decoders, technique.channels_last)
    if key not in networks:
        # Seeding the large network takes seconds; the first is the published form, which stays as it is.
        network = copy.deepcopy(next(iter(networks.values()))) if networks else _network(name)
        if technique.channels_last:
            use_precision(network, technique.precision)
        networks[key] = network.to(device)
    network = networks[key]
    with torch.inference_mode():
        state = network.initial_state()
    step = _as_written(technique, network) if technique.mode == "none" else _halves(technique, network)
    return Row(technique, network, state, step)


def _network(name: str) -> Ttt3r:
    if name == "small":
        return load_network(PACKAGE_WEIGHTS).network
    return seeded_network(NetworkConfig.published_512_dpt())


def _halves(technique: Technique, network: Ttt3r) -> Any:
    run = build_execution(network, technique.mode, parallel_decoders=technique.parallel_decoders)

    def step(image: Tensor, state: RecurrentState) -> tuple[Tensor, Tensor, RecurrentState]:
        shown, after = run.advance(image, run.encode(image), state)
        return shown.pose, shown.points, after

    return step


def _as_written(technique: Technique, network: Ttt3r) -> Any:
    everything = technique.all_heads
    outputs = OptionalOutputs(world=everything, rgb=everything and network.config.rgb_head)

    def step(image: Tensor, state: RecurrentState) -> tuple[Tensor, Tensor, RecurrentState]:
        output, after = network.step(View(image=image), state, outputs)
        return output.pose, output.camera.points, after

    return step


def _parts(network: Ttt3r) -> list[tuple[object, str, str]]:
    return [
        (network, "encode", "encoder"),
        (network, "read_memory", "memory read"),
        (network, "decode", "decoders"),
        (network.pose_retriever, "write", "memory write"),
        (network, "run_heads", "heads"),
        (network, "update_state", "update"),
    ]


def deviations(row: Row, first: Row) -> tuple[float, float, float]:
    """Return the relative deviations of pose, depth and state from the first row."""
    pairs = ((row.pose, first.pose), (row.points, first.points), (row.state.tokens, first.state.tokens))
    pose, depth, state = (
        float((a - b).norm() / b.norm()) for a, b in pairs if a is not None and b is not None
    )
    return pose, depth, state


def line(row: Row, first: Row) -> str:
    """Return a row as text."""
    pose, depth, state = deviations(row, first)
    return (
        f"{row.technique.name:30s} {row.p(50):9.1f} {row.p(95):9.1f} {first.p(50) / row.p(50):6.2f}x "
        f"{row.peak_mib:8.0f}   {pose:8.1e} {depth:8.1e} {state:8.1e}"
    )


HEADER = (
    f"{'technique':30s} {'p50 ms':>9s} {'p95 ms':>9s} {'ratio':>7s} {'MiB':>8s}   "
    f"{'pose':>8s} {'depth':>8s} {'state':>8s}"
)


def commit_here() -> str:
    """Return the commit of this checkout."""
    return subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout.strip()


def record(rows: list[Row], network: str, machine: str, commit: str) -> None:
    """Add the rows to results.csv, with the commit that they were measured on."""
    plan = InputSize.of(rows[0].network.config).geometry(640, 480)
    size = f"{plan.width}x{plan.height}"
    new = not RESULTS.is_file()
    with RESULTS.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(COLUMNS)
        for row in rows:
            stages = [
                f"{np.median(row.stage_s[s]) * 1e3:.2f}" if s in row.stage_s else "" for s in STAGES
            ]
            times = [f"{row.p(50):.2f}", f"{row.p(95):.2f}", f"{1e3 / row.p(50):.2f}"]
            figures = [f"{rows[0].p(50) / row.p(50):.2f}", f"{row.peak_mib:.0f}"]
            errors = [f"{error:.1e}" for error in deviations(row, rows[0])]
            known = [
                commit,
                network,
                machine,
                size,
                row.technique.name,
                row.technique.precision,
            ]
            writer.writerow([*known, len(row.frame_s), *stages, *times, *figures, *errors])


def _images(network: Ttt3r, count: int) -> list[Tensor]:
    plan = InputSize.of(network.config).geometry(640, 480)
    return [normalize_image(resize_and_crop(rgb, plan)) for rgb in _frames(count)]


@cache
def _frames(count: int) -> list[np.ndarray]:
    return [frame.rgb for frame in ProceduralRoom(frames=count, width=640, height=480).frames()]


def _weights_mib(network: Ttt3r) -> float:
    return sum(parameter.nbytes for parameter in network.parameters()) / 2**20
