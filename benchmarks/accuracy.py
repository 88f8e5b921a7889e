#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Accuracy of poses and depth against ground truth, one row per sequence.

A SEQUENCE is a folder with rgb/, groundtruth.txt, camera.json and depth/ (see ttt3r_ros/io/sources.py), a bag, or
procedural:SEED:FRAMES (a held-out scene of the training generator; STYLE:SEED:FRAMES with handheld, driving or
flying names the motion), or room:SEED:FRAMES (the demo's room). procedural:0-19:64 stands for twenty of them.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # runs from a checkout, installed or not

from ttt3r_ros.config import Config  # noqa: E402
from ttt3r_ros.errors import ConfigError, Ttt3rError  # noqa: E402
from ttt3r_ros.evaluation.accuracy import measure  # noqa: E402
from ttt3r_ros.evaluation.record import json_text  # noqa: E402
from ttt3r_ros.io.atomic import atomic_write  # noqa: E402
from ttt3r_ros.io.sources import open_source  # noqa: E402
from ttt3r_ros.model.runtime.loading import load_backend  # noqa: E402
from ttt3r_ros.odometry.sensor_context import SensorContext  # noqa: E402
from ttt3r_ros.pipeline.reconstructor import Reconstructor  # noqa: E402
from ttt3r_ros.synthetic.room import ProceduralRoom  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from ttt3r_ros.evaluation.accuracy import Accuracy
    from ttt3r_ros.io.sequence import ImageSequence
    from ttt3r_ros.types import Frame, Update

GENERATED = re.compile(r"(procedural|handheld|driving|flying|room):(\d+)(?:-(\d+))?:(\d+)")
HEADER = (
    f"{'sequence':<26} {'frames':>6} {'path m':>7} {'ATE m':>7} {'Sim3 m':>7} {'%path':>6} {'scale':>6} {'spread':>6} "
    f"{'RPE mm':>7} {'RPE deg':>7} | {'AbsRel':>6} {'d1.25':>6} | {'scaled':>6} {'d1.25':>6} | {'fr/s':>5}"
)


class Uncalibrated(Reconstructor[Any]):
    """Provides images without calibration."""

    def step(self, frame: Frame, context: SensorContext = SensorContext()) -> Update:
        """Show one frame without its calibration."""
        return super().step(replace(frame, intrinsics=None), context)


def main(argv: list[str] | None = None) -> int:
    """Measure every sequence, print the table and its medians; return the exit status."""
    arguments = _arguments(argv)
    try:
        sequences = [one for text in arguments.sequences for one in _sequences(text)]
        config = _config(arguments)
        backend, _ = load_backend(config)
        if arguments.json:
            _write(arguments.json, [])  # fails before the work, not after it
    except Ttt3rError as error:
        print(f"accuracy: {error}", file=sys.stderr)
        return 2
    pipeline = Uncalibrated if arguments.uncalibrated else Reconstructor
    print(HEADER)
    rows: list[tuple[str, Accuracy]] = []
    failed = 0
    for name, opened in sequences:
        try:
            accuracy = measure(opened(), pipeline(backend, config), arguments.frames)
        except Ttt3rError as error:
            print(f"{name:<26} {error}", file=sys.stderr)
            failed += 1
            continue
        rows.append((name, accuracy))
        print(_line(name, _figures(accuracy)), flush=True)
        if accuracy.trajectory.undetermined:
            print(f"{name}: undetermined: {accuracy.trajectory.undetermined}", file=sys.stderr)
        if accuracy.unread_depths:
            print(
                f"{name}: without {accuracy.unread_depths} true depths that cannot be read",
                file=sys.stderr,
            )
    if len(rows) > 1:
        table = np.array([_figures(accuracy) for _, accuracy in rows])
        print(_line(f"median of {len(rows)}", [_median(column) for column in table.T]))
    if arguments.json:
        _write(arguments.json, [{"sequence": name, **_jsonable(accuracy)} for name, accuracy in rows])
    return 1 if failed or not rows else 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sequences", nargs="+", metavar="SEQUENCE")
    parser.add_argument("--weights", default="", metavar="FILE", help="default: those of the package")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, default=0, help="processor threads (0: torch's choice)")
    parser.add_argument("--precision", default=Config.precision, help="float32, bfloat16, float16, int8")
    parser.add_argument("--update-rule", default=Config.update_rule, help="ttt3r or cut3r")
    parser.add_argument(
        "--pose-source", default=Config.pose_source, help="auto, network or visual_odometry"
    )
    parser.add_argument("--uncalibrated", action="store_true", help="ignore the cameras' calibrations")
    parser.add_argument(
        "--refine-depth", action=argparse.BooleanOptionalAction, default=Config.refine_depth
    )
    parser.add_argument("--reset-interval", type=int, default=Config.reset_interval, metavar="N")
    parser.add_argument("--frames", type=int, default=0, metavar="N", help="at most N frames of each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    return parser.parse_args(argv)


def _sequences(text: str) -> Iterator[tuple[str, Callable[[], ImageSequence]]]:
    """Return name and opener of each sequence that an argument stands for."""
    match = GENERATED.fullmatch(text)
    if match is None:
        yield Path(text).resolve().name, partial(open_source, text)
        return
    kind, first, frames = match[1], int(match[2]), int(match[4])
    last = int(match[3] or first)
    if last < first or frames < 3:
        msg = f"'{text}' stands for no sequence; expected KIND:FIRST-LAST:FRAMES with at least 3 frames"
        raise ConfigError(msg)
    for seed in range(first, last + 1):
        yield f"{kind}:{seed}:{frames}", partial(_generate, kind, seed, frames)


def _generate(kind: str, seed: int, frames: int) -> ImageSequence:
    if kind == "room":
        return ProceduralRoom(seed=seed, frames=frames)
    from training.held_out import HeldOutSequence

    return HeldOutSequence(seed, frames, style="handheld" if kind == "procedural" else kind)


def _config(arguments: argparse.Namespace) -> Config:
    return replace(
        Config(),
        model_path=arguments.weights,
        device=arguments.device,
        threads=arguments.threads,
        precision=arguments.precision,
        update_rule=arguments.update_rule,
        pose_source=arguments.pose_source,
        refine_depth=arguments.refine_depth,
        reset_interval=arguments.reset_interval,
    )


def _figures(accuracy: Accuracy) -> list[float]:
    error, depth = accuracy.trajectory, accuracy.depth
    depths = [float("nan")] * 4
    if depth is not None:
        depths = [depth.abs_rel_metric, depth.delta_metric, depth.abs_rel_scaled, depth.delta_scaled]
    return [
        accuracy.frames,
        error.length_m,
        error.se3_m,
        error.sim3_m,
        100 * error.sim3_m / error.length_m if error.length_m else float("nan"),
        error.scale,
        error.scale_spread,
        1000 * error.rpe_m,
        error.rpe_deg,
        *depths,
        accuracy.frames_per_s,
    ]


def _median(values: NDArray[Any]) -> float:
    """Return the median of the finite values; NaN without one."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float("nan")


def _line(name: str, figures: list[float]) -> str:
    f = figures
    return (
        f"{name:<26} {f[0]:6.0f} {f[1]:7.2f} {f[2]:7.3f} {f[3]:7.3f} {f[4]:6.1f} {f[5]:6.2f} {f[6]:6.2f} "
        f"{f[7]:7.1f} {f[8]:7.2f} | {f[9]:6.3f} {f[10]:6.3f} | {f[11]:6.3f} {f[12]:6.3f} | {f[13]:5.1f}"
    )


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    with atomic_write(path) as file:
        file.write(json_text(rows).encode("utf-8"))


def _jsonable(accuracy: Accuracy) -> dict[str, object]:
    found = asdict(accuracy)
    found["trajectory"].pop("T_truth_estimate")
    return found


if __name__ == "__main__":
    sys.exit(main())
