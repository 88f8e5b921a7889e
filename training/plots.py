# SPDX-License-Identifier: Apache-2.0
"""Draw the log of a run: ``python -m training.plots RUN_OR_LOG OUT.png [--thin N --log OUT.jsonl]``."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from training.checkpoints import LOG, read_log
from ttt3r_ros.errors import Ttt3rError
from ttt3r_ros.io.atomic import atomic_write

PANELS = (
    ("depth AbsRel", (("abs_rel", ""),)),
    ("rotation error / turn", (("rotation_deg", "turned_deg"),)),
    ("translation error / distance moved", (("t_over_moved", ""),)),
    ("losses", (("camera", ""), ("world", ""), ("pose", ""), ("motion", ""))),
)
WINDOW = 5  # rows


def main(argv: list[str] | None = None) -> int:
    """Draw one log; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="folder of the run, or its log")
    parser.add_argument("target", type=Path, help="image to write, .png")
    parser.add_argument("--thin", type=int, default=1, metavar="N", help="mean of every N rows")
    parser.add_argument("--log", type=Path, metavar="FILE", help="also write the thinned log")
    arguments = parser.parse_args(argv)
    log = arguments.source / LOG if arguments.source.is_dir() else arguments.source
    try:
        rows = thin_out(read_log(log), max(1, arguments.thin))
        draw(rows, arguments.target)
    except Ttt3rError as error:
        print(f"plots: {error}", file=sys.stderr)
        return 1
    if arguments.log:
        text = "".join(json.dumps(row) + "\n" for row in rows)
        arguments.log.write_text(text, encoding="utf-8")
    return 0


def thin_out(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Average successive rows of the same number of views; of rows for the same step the last one counts."""
    unique = [row for _, row in sorted({row["step"]: row for row in rows}.items())]
    groups: list[list[dict[str, Any]]] = []
    for row in unique:
        if not groups or len(groups[-1]) == count or groups[-1][0]["views"] != row["views"]:
            groups.append([])
        groups[-1].append(row)
    return [_mean(group) for group in groups]


def _mean(group: list[dict[str, Any]]) -> dict[str, Any]:
    averaged = {name: round(float(np.mean([row[name] for row in group])), 5) for name in group[0]}
    return averaged | {name: group[-1][name] for name in ("step", "frames", "views")}


def draw(rows: list[dict[str, Any]], target: Path) -> None:
    """Draw the figures over the frames shown; dashed lines mark where the number of views changes."""
    figure = Figure(figsize=(12, 7), dpi=90, layout="constrained")
    frames = np.array([row["frames"] for row in rows]) / 1000.0
    changes = [frames[k] for k in range(1, len(rows)) if rows[k]["views"] != rows[k - 1]["views"]]
    for axes, (title, curves) in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        extent: list[float] = []
        for name, over in curves:
            values = np.array([_value(row, name, over) for row in rows])
            there = np.isfinite(values)
            if not there.any():
                continue
            smooth = _smooth(values[there])
            (line,) = axes.plot(frames, values, alpha=0.25, lw=0.8)
            label = name if len(curves) > 1 else None
            axes.plot(frames[there], smooth, color=line.get_color(), label=label)
            extent += [float(smooth.min()), float(smooth.max())]
        for frame in changes:
            axes.axvline(frame, color="0.5", ls="--", lw=0.8)
        axes.set(title=title, xlabel="thousand frames shown")
        if extent:
            axes.set_ylim(0.9 * min(extent) - 1e-6, 1.1 * max(extent) + 1e-6)
        axes.grid(alpha=0.3)
        if len(curves) > 1:
            axes.legend()
    with atomic_write(target) as file:
        figure.savefig(file, format="png")


def _value(row: dict[str, Any], name: str, over: str) -> float:
    moves = row["views"] > 1  # a single view neither moves nor turns
    if over:
        return float(row[name] / row[over]) if moves else math.nan
    return float(row[name]) if moves or name != "t_over_moved" else math.nan


def _smooth(y: np.ndarray) -> np.ndarray:
    """Return running medians, over fewer rows at the ends; a median suppresses single outliers."""
    reach = WINDOW // 2
    spans = (y[max(0, k - reach) : k + reach + 1] for k in range(len(y)))
    return np.array([np.median(span) for span in spans])


if __name__ == "__main__":
    sys.exit(main())
