# SPDX-License-Identifier: Apache-2.0
"""``report.html``: the result of a run on one page."""

from __future__ import annotations

import json
import math
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from ttt3r_ros.io.atomic import atomic_write
from ttt3r_ros.offline.report import figures as draw
from ttt3r_ros.offline.summary import STAGES, versions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ttt3r_ros.offline.previews import PreviewFrame
    from ttt3r_ros.offline.summary import RunSummary
    from ttt3r_ros.types import Float64Array

_MAX_LISTED = 200  # skipped frames in the table
_STAGE_NAMES = {
    "preprocess": "in step: image",
    "network": "in step: network",
    "step": "step",
    "visual_odometry": "visual odometry",
    "map": "pose and map",
    "frame": "whole frame",
}
_VIEWS = {"above": "above", "side": "the side"}
_TEMPLATES = Environment(
    loader=PackageLoader("ttt3r_ros.offline.report", "."),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    undefined=StrictUndefined,
)


def write_report(path: Path, run: RunSummary, samples: Sequence[PreviewFrame]) -> None:
    """Write the report of a run in which at least one frame was mapped.

    Raises:
        OutputError: the file cannot be written.
    """
    text = _TEMPLATES.get_template("report.html.jinja").render(_values(run, samples))
    with atomic_write(path) as file:
        file.write(text.encode("utf-8", "replace"))  # file names need not be UTF-8


def _values(run: RunSummary, samples: Sequence[PreviewFrame]) -> dict[str, Any]:
    when = datetime.now(timezone.utc).astimezone().strftime("%Y-%m-%d %H:%M %Z")
    options = {f"--{name}": value for name, value in run.options.items() if value not in ("", "auto", 1)}
    has_poses = bool(len(run.poses))
    return {
        "title": run.name,
        "subtitle": f"{run.source} · mapped by ttt3r_ros on {when}",
        "notices": _notices(run),
        "key_figures": _key_figures(run),
        "trajectory": _trajectory(run) if has_poses else None,
        "map": _map_pictures(run) if has_poses else [],
        "samples": _samples(samples) if samples else None,
        "over_time": _over_time(run),
        "stages": _stages(run),
        "skipped": _skipped_rows(run),
        "undecodable": run.broken,
        "components": _rows({**run.facts, **versions()}),
        "source_options": _rows(options),
        "changed": _rows(run.changed),
        "settings": _rows(run.settings),
    }


def _notices(run: RunSummary) -> list[str]:
    texts = [f"Problem: {problem}" for problem in dict.fromkeys(run.problems)]
    if run.interrupted:
        texts.append(f"Interrupted after {len(run.records)} frames; --resume continues from there.")
    if run.sparse_map_warning:
        texts.append(f"{run.sparse_map_warning[0].upper()}{run.sparse_map_warning[1:]}.")
    return texts


def _key_figures(run: RunSummary) -> list[tuple[str, str, str]]:
    span_s = (run.stamps_ns[-1] - run.stamps_ns[0]) * 1e-9 if run.stamps_ns else 0.0
    figures = [
        (
            "frames mapped",
            f"{run.mapped}",
            f"of {len(run.records)}, {sum(run.skipped.values())} skipped",
        ),
        (
            "frames per second",
            f"{run.rate_hz:.1f}",
            f"{run.seconds:.1f} s, {run.facts.get('device', '')}",
        ),
        ("recording", f"{span_s:.1f} s", f"path of {run.path_m:.2f} m"),
        (
            "points of the map",
            f"{len(run.cloud.points):,}",
            f"voxels of {run.settings['map.voxel_size']} m; {100 * run.fused_ratio:.0f} % of the pixels",
        ),
    ]
    if run.facts.get("pose_source") == "visual_odometry":
        share = f"{100 * run.tracked_ratio:.0f} %"
        figures.append(
            ("poses by visual odometry", share, "of the frames; the others have poses of the network")
        )
    if run.comparison is not None:
        error = run.comparison.error
        share = f"{100 * error.sim3_m / error.length_m:.1f} % of the path" if error.length_m else ""
        figures += [
            ("ATE, SE(3)", f"{error.se3_m:.3f} m", f"over {error.length_m:.2f} m"),
            ("ATE, Sim(3)", f"{error.sim3_m:.3f} m", share),
            ("scale", _number(error.scale, 3), "truth over estimate"),
        ]
    return figures


def _trajectory(run: RunSummary) -> dict[str, Any]:
    pictures = [(f"from {text}", draw.trajectory_picture(run, view)) for view, text in _VIEWS.items()]
    if run.comparison is None:
        return {
            "pictures": pictures,
            "note": f"No comparison with ground truth: {run.no_comparison}.",
            "errors": [],
        }
    error = run.comparison.error
    rows = [
        ["ATE, root mean square", f"{error.se3_m:.4f} m", f"{error.sim3_m:.4f} m"],
        ["RPE per frame", _number(error.rpe_m, 4, " m"), _number(error.rpe_sim3_m, 4, " m")],
        ["RPE per frame, rotation", *[_number(error.rpe_deg, 4, " deg")] * 2],
        ["truth over estimate", "1", _number(error.scale, 4)],
    ]
    note = (
        f"{error.pairs} poses with a pose of the ground truth, over {error.length_m:.2f} m. "
        "An alignment with a scale hides a wrong scale; read both columns."
    )
    if error.undetermined:
        note += f" The trajectories do not determine the {error.undetermined} of the alignment."
    return {"pictures": pictures, "note": note, "errors": rows}


def _number(value: float, digits: int, unit: str = "") -> str:
    return f"{value:.{digits}f}{unit}" if math.isfinite(value) else "undetermined"


def _map_pictures(run: RunSummary) -> list[tuple[str, str]]:
    return [
        (f"from {text}, with the trajectory", draw.map_picture(run, view))
        for view, text in _VIEWS.items()
    ]


def _samples(samples: Sequence[PreviewFrame]) -> dict[str, Any]:
    low, high = draw.depth_range_m(samples)
    return {
        "note": f"Images of the network and their depth, from {low:.1f} m (red) to {high:.1f} m (blue).",
        "pictures": [(f"frame {s.index}", draw.sample_picture(s, (low, high))) for s in samples],
    }


def _over_time(run: RunSummary) -> list[tuple[str, str]]:
    drift = (
        "drift: distance from ground truth"
        if run.comparison is not None
        else "drift: standard deviation of the position in a segment, in the worst direction (model)"
    )
    pictures = [
        ("confidence of the network (minimum 1)", draw.confidence_picture(run)),
        (drift, draw.drift_picture(run)),
        (f"scale, scale.source {run.settings['scale.source']}", draw.scale_picture(run)),
    ]
    if run.memory_mib:
        pictures.append(
            (f"memory of the process, maximum {run.peak_mib:.0f} MiB", draw.memory_picture(run))
        )
    return pictures


def _stages(run: RunSummary) -> dict[str, Any] | None:
    stages = _stages_ms(run)
    if not stages:
        return None
    rows = [
        [stage, *(f"{value:.2f}" for value in (v.mean(), *np.percentile(v, [50, 95]), v.max()))]
        for stage, v in stages.items()
    ]
    return {"picture": draw.timing_picture(stages), "rows": rows}


def _stages_ms(run: RunSummary) -> dict[str, Float64Array]:
    stages = {
        _STAGE_NAMES[stage]: np.array([1e3 * times[stage] for times in run.timings_s if stage in times])
        for stage in STAGES
    }
    return {stage: values for stage, values in stages.items() if len(values)}


def _skipped_rows(run: RunSummary) -> dict[str, Any]:
    rows = [
        [str(r.index), str(r.stamp_ns), f"{r.skipped}: {r.skip_detail}"]
        for r in run.records
        if r.skipped
    ]
    counts = ", ".join(f"{count} {reason}" for reason, count in run.skipped.items())
    return {"note": f"{len(rows)}: {counts}." if rows else "None.", "rows": rows[:_MAX_LISTED]}


def _rows(values: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, value if isinstance(value, str) else json.dumps(value)) for name, value in values.items()
    ]
