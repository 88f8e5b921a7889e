#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compare the network with recorded outputs of the reference implementation.

Each number is the largest error of an output over all views, relative to the largest magnitude in the
recorded array. ``rope32_*`` arrays were recorded with float32 rotary embedding, as computed by this package.
The other arrays round queries and keys of the encoder to float16. The exit status is 1 if any case fails.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not

from golden import GoldenCase, GoldenFolder
from recorded_outputs import BOUND_FLOAT32, Outcome, compare_demo, compare_streaming, deviation

from ttt3r_ros import geometry
from ttt3r_ros.errors import Ttt3rError
from ttt3r_ros.model.runtime.preprocessing import InputSize, resize_and_crop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ttt3r_ros.types import UInt8Array


@dataclass(frozen=True)
class Report:
    """All outcomes of one case."""

    name: str
    outcomes: list[Outcome]
    seconds: float
    error: str = ""  # the exception that ended the case

    @property
    def passed(self) -> bool:
        """Return whether every output is within its bound."""
        return (
            not self.error and bool(self.outcomes) and all(outcome.passed for outcome in self.outcomes)
        )


def main(argv: list[str] | None = None) -> int:
    """Run the requested cases; return the exit status."""
    arguments = _arguments(argv)
    try:
        folder = GoldenFolder(arguments.folder)
    except Ttt3rError as error:
        print(f"parity: {error}", file=sys.stderr)
        return 1
    reports = []
    for name in arguments.case or [*folder.case_names(), *_extra_names(folder)]:
        reports.append(_report(folder, name))
        _print(reports[-1])
    for name in folder.uncovered_names():
        print(f"{name}: not covered (an entry point of the reference other than the streaming one)")
    failed = [report.name for report in reports if not report.passed]
    print(
        f"{len(reports) - len(failed)} cases within bounds, {len(failed)} not"
        f"{': ' if failed else ''}{', '.join(failed)}"
    )
    return 1 if failed or not reports else 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="CASE_DIR", help="folder of golden cases")
    parser.add_argument("--case", nargs="+", metavar="NAME", help="run only these cases")
    return parser.parse_args(argv)


def _extra_names(folder: GoldenFolder) -> list[str]:
    files = {"geometry": "geometry.npz", "preprocess": "preprocess.json"}
    return [name for name, file in files.items() if (folder.path / file).is_file()]


def _report(folder: GoldenFolder, name: str) -> Report:
    started = time.perf_counter()
    outcomes: list[Outcome] = []
    error = ""
    try:
        outcomes.extend(_compare(folder, name))
    except Exception as failure:  # a case that fails must not end the others
        known = isinstance(failure, Ttt3rError)
        error = str(failure) if known else f"{type(failure).__name__}: {failure}"
    return Report(name, outcomes, time.perf_counter() - started, error)


def _compare(folder: GoldenFolder, name: str) -> Iterator[Outcome]:
    if name == "geometry":
        return _compare_geometry(folder)
    if name == "preprocess":
        return _compare_preprocessing(folder)
    return _compare_case(folder, folder.case(name))


def _compare_case(folder: GoldenFolder, case: GoldenCase) -> Iterator[Outcome]:
    network = folder.network(case)
    yield from compare_streaming(case, network, folder.views(case))
    if "demo_keep" in case.arrays:
        yield from compare_demo(case, network)


def _compare_geometry(folder: GoldenFolder) -> Iterator[Outcome]:
    with np.load(folder.path / "geometry.npz") as arrays:
        for kind in ("focal", "clean"):
            points = arrays[f"{kind}_pts"]
            weiszfeld = np.array([geometry.focal_weiszfeld(each) for each in points])
            median = np.array([geometry.focal_median(each) for each in points])
            yield _outcome(f"{kind}_weiszfeld", weiszfeld, arrays[f"{kind}_weiszfeld"])
            yield _outcome(f"{kind}_median", median, arrays[f"{kind}_median"])
        yield _outcome("pose_mat", geometry.pose_matrix(arrays["pose_enc"]), arrays["pose_mat"])
        T_first_camera = geometry.se3_inverse(arrays["ray_c2w1"]) @ arrays["ray_c2w2"]
        height, width = arrays["ray_map"].shape[:2]
        rays = geometry.ray_map(T_first_camera, arrays["ray_K"], height, width)
        yield _outcome("ray_map", rays, arrays["ray_map"])


def _outcome(name: str, measured: np.ndarray, recorded: np.ndarray) -> Outcome:
    return Outcome(name, deviation(name, measured, recorded), BOUND_FLOAT32)


def _compare_preprocessing(folder: GoldenFolder) -> Iterator[Outcome]:
    rows = json.loads((folder.path / "preprocess.json").read_text(encoding="utf-8"))["rows"]
    recipe = folder.recipe()

    @cache  # each image is used at several sizes; generating it takes longer than the comparison
    def source(width: int, height: int) -> UInt8Array:
        seed = zlib.crc32(f"{width}x{height}".encode()) & 0x7FFFFFFF
        image: UInt8Array = recipe.smooth_images(1, height, width, seed)[0]
        return image

    for row in rows:
        if not row["crop"] or "error" in row:
            continue
        width, height, size = row["w"], row["h"], row["size"]
        plan = InputSize(size, square=size == 224).geometry(width, height)
        image = resize_and_crop(source(width, height), plan)
        equal = (plan.width, plan.height, zlib.crc32(image.tobytes())) == (
            row["out_w"],
            row["out_h"],
            row["crc32"],
        )
        yield Outcome(f"{row['fn']}_{width}x{height}_to_{size}", 0.0 if equal else 1.0, 0.0)


def _print(report: Report) -> None:
    print(f"{report.name}  ({report.seconds:.1f} s)")
    for outcome in report.outcomes:
        if not outcome.compared:
            print(f"  skip {outcome.output:34s} not compared: {outcome.note}")
            continue
        verdict = "ok  " if outcome.passed else "FAIL"
        print(
            f"  {verdict} {outcome.output:34s} {outcome.error:9.2e}  bound {outcome.bound:.0e}  {outcome.note}".rstrip()
        )
    if report.error:
        print(f"parity: {report.name}: {report.error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
