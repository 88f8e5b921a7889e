# SPDX-License-Identifier: Apache-2.0
"""``report.html``: what a run came to, on one page."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import numpy as np

from ttt3r_ros.io.atomic import atomic_write
from ttt3r_ros.offline.report import figures as draw
from ttt3r_ros.offline.report import html
from ttt3r_ros.offline.summary import STAGES, versions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ttt3r_ros.offline.previews import PreviewFrame
    from ttt3r_ros.offline.summary import RunSummary
    from ttt3r_ros.types import Float64Array

_LISTED = 200  # skipped frames in the table
_STAGE_NAMES = {
    "preprocess": "in step: image",
    "network": "in step: network",
    "step": "step",
    "visual_odometry": "followed corners",
    "map": "pose and map",
    "frame": "whole frame",
}


def write_report(path: Path, run: RunSummary, samples: Sequence[PreviewFrame]) -> None:
    """Write the report of a run in which at least one frame was mapped.

    Raises:
        OutputError: the file cannot be written.
    """
    text = html.page(run.name, _under(run), _body(run, samples))
    with atomic_write(path) as file:
        file.write(text.encode("utf-8", "replace"))  # file names need not be UTF-8


def _under(run: RunSummary) -> str:
    when = datetime.now(timezone.utc).astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return f"{run.source} · mapped by ttt3r_ros on {when}"


def _body(run: RunSummary, samples: Sequence[PreviewFrame]) -> list[str]:
    parts = [html.notice(text) for text in _notices(run)]
    parts.append(html.key_figures(_key_figures(run)))
    if len(run.poses):
        parts += [html.heading("Trajectory"), _trajectory(run), html.heading("Map"), _map(run)]
    if samples:
        parts += [html.heading("Frames"), _samples(samples)]
    parts += [html.heading("Over time"), _over_time(run), html.heading("Stage timings"), _stages(run)]
    parts += [html.heading("Skipped frames"), _skipped(run), html.heading("Settings"), _settings(run)]
    return parts


def _notices(run: RunSummary) -> list[str]:
    texts = [f"Problem: {problem}" for problem in dict.fromkeys(run.problems)]
    if run.interrupted:
        texts.append(f"Interrupted after {len(run.records)} frames; --resume goes on from there.")
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
        ("recording", f"{span_s:.1f} s", f"way of {run.path_m:.2f} m"),
        (
            "points of the map",
            f"{len(run.cloud.points):,}",
            f"voxels of {run.settings['map.voxel_size']} m; {100 * run.fused_ratio:.0f} % of the pixels",
        ),
    ]
    if run.facts.get("pose_source") == "visual_odometry":
        share = f"{100 * run.tracked_ratio:.0f} %"
        figures.append(
            ("poses by visual odometry", share, "of the frames; the network alone places the others")
        )
    if run.comparison is not None:
        error = run.comparison.error
        share = f"{100 * error.sim3_m / error.length_m:.1f} % of the way" if error.length_m else ""
        figures += [
            ("ATE, SE(3)", f"{error.se3_m:.3f} m", f"over {error.length_m:.2f} m"),
            ("ATE, Sim(3)", f"{error.sim3_m:.3f} m", share),
            ("scale", f"{error.scale:.3f}", "truth over estimate"),
        ]
    return figures


def _trajectory(run: RunSummary) -> str:
    drawn = html.pictures(
        [(f"from {word}", draw.trajectory_picture(run, view)) for view, word in _VIEWS.items()]
    )
    if run.comparison is None:
        return drawn + html.paragraph(f"No error figures: {run.no_comparison}.")
    error = run.comparison.error
    rows = [
        ["ATE, root mean square", f"{error.se3_m:.4f} m", f"{error.sim3_m:.4f} m"],
        ["RPE per frame", f"{error.rpe_m:.4f} m", f"{error.rpe_sim3_m:.4f} m"],
        ["RPE per frame, turn", f"{error.rpe_deg:.4f} deg", f"{error.rpe_deg:.4f} deg"],
        ["truth over estimate", "1", f"{error.scale:.4f}"],
    ]
    note = (
        f"{error.pairs} poses with a partner in ground truth, over {error.length_m:.2f} m. Only together do the two "
        "alignments tell the truth: aligning with a scale hides a wrong one."
    )
    return drawn + html.paragraph(note) + html.table(["error", "SE(3) aligned", "Sim(3) aligned"], rows)


_VIEWS = {"above": "above", "side": "the side"}


def _map(run: RunSummary) -> str:
    return html.pictures(
        [
            (f"from {word}, with the trajectory", draw.map_picture(run, view))
            for view, word in _VIEWS.items()
        ]
    )


def _samples(samples: Sequence[PreviewFrame]) -> str:
    low, high = draw.depth_range_m(samples)
    pictures = [(f"frame {s.index}", draw.sample_picture(s, (low, high))) for s in samples]
    text = f"What the network saw, and how far it is, from {low:.1f} m (red) to {high:.1f} m (blue)."
    return html.paragraph(text) + html.strip(pictures)


def _over_time(run: RunSummary) -> str:
    drift = (
        "drift: distance from ground truth"
        if run.comparison is not None
        else "drift: what the model of the odometry's error expects, in a segment's worst direction"
    )
    source = run.settings["scale.source"]
    memory = (
        [(f"memory of the process, {run.peak_mib:.0f} MiB at most", draw.memory_picture(run))]
        if run.memory_mib
        else []
    )
    return html.pictures(
        [
            ("confidence of the network, 1 is none", draw.confidence_picture(run)),
            (drift, draw.drift_picture(run)),
            (f"scale, by scale.source {source}", draw.scale_picture(run)),
            *memory,
        ]
    )


def _stages(run: RunSummary) -> str:
    stages = _stages_ms(run)
    if not stages:
        return html.paragraph("Not known: all frames are of an earlier process.")
    rows = [
        [stage, *(f"{value:.2f}" for value in (v.mean(), *np.percentile(v, [50, 95]), v.max()))]
        for stage, v in stages.items()
    ]
    figures = html.table(["stage [ms]", "mean", "median", "95 %", "most"], rows)
    return html.beside(html.picture("milliseconds of each stage", draw.timing_picture(stages)), figures)


def _stages_ms(run: RunSummary) -> dict[str, Float64Array]:
    known = {
        _STAGE_NAMES[stage]: np.array([1e3 * times[stage] for times in run.timings_s if stage in times])
        for stage in STAGES
    }
    return {stage: values for stage, values in known.items() if len(values)}


def _skipped(run: RunSummary) -> str:
    rows = [[str(r.index), str(r.stamp_ns), r.skipped] for r in run.records if r.skipped]
    parts = []
    if run.broken:
        parts.append(html.paragraph(f"{run.broken} more could not be decoded, and were left out."))
    if not rows:
        return html.paragraph("None.") + "".join(parts)
    counts = ", ".join(f"{count} {reason}" for reason, count in run.skipped.items())
    parts.insert(0, html.paragraph(f"{len(rows)}: {counts}."))
    listed = html.table(["frame", "stamp [ns]", "reason"], rows[:_LISTED], numbers=False)
    return "".join(parts) + html.folded(f"the first {min(len(rows), _LISTED)}", listed)


def _settings(run: RunSummary) -> str:
    parts = [_values("what ran", {**run.facts, **versions()})]
    options = {f"--{name}": value for name, value in run.options.items() if value not in ("", "auto", 1)}
    parts += [_values("source", options)] if options else []
    parts.append(
        _values("changed setting", run.changed)
        if run.changed
        else html.paragraph("All settings at their defaults.")
    )
    return "".join([*parts, html.folded("every setting", _values("setting", run.settings))])


def _values(name: str, values: dict[str, Any]) -> str:
    return html.table([name, ""], [[key, _word(value)] for key, value in values.items()], numbers=False)


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
