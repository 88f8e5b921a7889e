# SPDX-License-Identifier: Apache-2.0
"""Figures of a report as data URIs: charts in SVG, figures with many points in PNG."""

from __future__ import annotations

import base64
import io
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ttt3r_ros.viewer.colors import depth_range
from ttt3r_ros.viewer.map_views import robust_bounds, select_top_view

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes

    from ttt3r_ros.offline.previews import PreviewFrame
    from ttt3r_ros.offline.summary import RunSummary
    from ttt3r_ros.types import Float64Array

INK, QUIET, ACCENT, TRUTH, WARM = "#1b2430", "#64707f", "#0b63c5", "#8a94a3", "#c2540a"
RESET = "#7b5ea7"
_STYLE: Any = {
    "font.size": 9.5, "font.family": "sans-serif", "text.color": INK, "axes.labelcolor": QUIET,
    "axes.edgecolor": "#c9d0d9", "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10,
    "xtick.color": QUIET, "ytick.color": QUIET, "axes.grid": True, "grid.color": "#e6eaef", "axes.axisbelow": True,
    "legend.frameon": False, "svg.hashsalt": "ttt3r_ros", "lines.linewidth": 1.5,
}  # fmt: skip
_WIDTH, _HEIGHT = 5.2, 2.7  # inches; narrow, so that the letters are readable on a phone
_MAX_POINTS = 120_000
_MAX_RESETS = 30  # more lines would hide the curve
_AXES = {"above": (0, 1, "x forward [m]", "y left [m]"), "side": (0, 2, "x forward [m]", "z up [m]")}


def trajectory_picture(run: RunSummary, view: str) -> str:
    """Draw the trajectory from ``above`` or from the ``side``, with ground truth if there is some."""
    a, b, xlabel, ylabel = _AXES[view]
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(height=4.2 if view == "above" else 2.6)
        if run.comparison is not None:
            true_m = run.comparison.true_in_estimate()
            axes.plot(true_m[:, a], true_m[:, b], "--", color=TRUTH, label="ground truth, SE(3) aligned")
        path = run.poses[:, :3]
        axes.plot(path[:, a], path[:, b], color=ACCENT, label="estimate")
        axes.plot(*path[0, [a, b]], "o", color="#1f9d55", ms=6, label="start")
        axes.plot(*path[-1, [a, b]], "s", color=WARM, ms=5, label="end")
        axes.set(xlabel=xlabel, ylabel=ylabel, aspect="equal", adjustable="datalim")
        axes.legend(fontsize=8.5, loc="best")
        return _svg(figure)


def map_picture(run: RunSummary, view: str) -> str:
    """Draw the map from ``above``, without points above the camera, or from the ``side``."""
    a, b, xlabel, ylabel = _AXES[view]
    points, rgb = run.cloud.points, run.cloud.rgb
    if view == "above":
        order = select_top_view(points, run.poses[:, :3], _MAX_POINTS)
    else:
        order = np.argsort(-points[:, 1], kind="stable")[:: max(1, len(points) // _MAX_POINTS)]
    points, rgb = points[order], rgb[order]
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(height=4.4 if view == "above" else 2.6)
        axes.grid(visible=False)
        axes.scatter(
            points[:, a], points[:, b], c=rgb / 255.0, s=_marker(points, a, b), marker="s", lw=0
        )
        axes.plot(run.poses[:, a], run.poses[:, b], color=ACCENT, lw=1.6)
        low, high = robust_bounds(points, run.poses[:, :3])
        axes.set(xlim=(low[a], high[a]), ylim=(low[b], high[b]), aspect="equal")
        axes.set(xlabel=xlabel, ylabel=ylabel)
        return _png(figure)


def depth_range_m(samples: Sequence[PreviewFrame]) -> tuple[float, float]:
    """Return the depths from which to which the samples are colored."""
    return depth_range(np.concatenate([sample.depth_m.ravel() for sample in samples])) or (0.0, 1.0)


def sample_picture(sample: PreviewFrame, range_m: tuple[float, float]) -> str:
    """Draw an image above its depth, near things red and far ones blue."""
    height_px, width_px = sample.depth_m.shape
    figure = Figure(figsize=(2.6, 2 * 2.6 * height_px / width_px + 0.06))
    grid = figure.subplots(2, 1, gridspec_kw={"hspace": 0.03})
    figure.subplots_adjust(0, 0, 1, 1)
    grid[0].imshow(sample.rgb)
    grid[1].imshow(sample.depth_m, cmap="turbo_r", vmin=range_m[0], vmax=range_m[1])
    for axes in grid:
        axes.set_axis_off()
    return _png(figure)


def confidence_picture(run: RunSummary) -> str:
    """Draw the mean confidence of each frame over time, and the state resets."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure()
        times_s, values = _over_time(run, "confidence_mean")
        _mark_resets(axes, run)
        axes.plot(times_s, values, color=ACCENT)
        axes.set(xlabel="time [s]", ylabel="mean confidence", ylim=(min(1.0, *values), None))
        _mark_skipped(axes, run)
        return _svg(figure)


def drift_picture(run: RunSummary) -> str:
    """Draw the distance from ground truth over time or, without it, the modeled standard deviation."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure()
        _mark_resets(axes, run)
        if run.comparison is not None:
            times_s = run.comparison.stamps_s - run.stamps_ns[0] * 1e-9
            for error_m, color, label in zip(
                run.comparison.errors_m(),
                (ACCENT, WARM),
                ("SE(3) aligned", "Sim(3) aligned"),
                strict=True,
            ):
                axes.plot(times_s, error_m, color=color, label=label)
            axes.set(ylabel="distance from truth [m]")
            axes.legend(fontsize=8.5)
        else:
            axes.plot(*_over_time(run, "position_std_m"), color=ACCENT)
            axes.set(ylabel="std. deviation (model) [m]")
        axes.set(xlabel="time [s]", ylim=(0, None))
        return _svg(figure)


def scale_picture(run: RunSummary) -> str:
    """Draw the factor from the network's lengths to meters over time."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(height=2.2)
        times_s, values = _over_time(run, "scale")
        axes.plot(times_s, values, color=ACCENT)
        if np.ptp(values) < 1e-6:
            axes.set(ylim=(values[0] * 0.9, values[0] * 1.1))
        axes.set(xlabel="time [s]", ylabel="meters per unit")
        return _svg(figure)


def timing_picture(stages_ms: dict[str, Float64Array]) -> str:
    """Draw the time of each stage: the mean as a bar, from the 5th to the 95th percentile as a line."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(height=0.42 * len(stages_ms) + 0.8)
        for row, values in enumerate(reversed(stages_ms.values())):
            low, high = np.percentile(values, [5, 95])
            axes.barh(row, values.mean(), height=0.6, color=ACCENT)
            axes.plot([low, high], [row, row], color=WARM, lw=1.8)
        axes.set_yticks(range(len(stages_ms)), list(reversed(stages_ms)))
        axes.grid(visible=False, axis="y")
        axes.set(xlabel="ms per frame (bar: mean, line: 5 to 95 %)")
        return _svg(figure)


def memory_picture(run: RunSummary) -> str:
    """Draw the memory of the process after each frame."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(height=2.2)
        axes.plot(run.resumed_at + np.arange(len(run.memory_mib)), run.memory_mib, color=ACCENT)
        axes.set(xlabel="frame", ylabel="memory [MiB]", ylim=(0, 1.15 * max(run.memory_mib)))
        return _svg(figure)


def _figure(height: float = _HEIGHT) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), layout=ConstrainedLayoutEngine())
    return figure, figure.add_subplot()


def _over_time(run: RunSummary, value: str) -> tuple[Float64Array, list[float]]:
    rows = [record for record in run.records if not record.skipped]
    times_s = np.array([(record.stamp_ns - rows[0].stamp_ns) * 1e-9 for record in rows])
    return times_s, [getattr(record, value) for record in rows]


def _resets_s(run: RunSummary) -> Iterator[float]:
    rows = [record for record in run.records if not record.skipped]
    for before, record in pairwise(rows):
        if (record.map_id, record.segment) != (before.map_id, before.segment):
            yield (record.stamp_ns - rows[0].stamp_ns) * 1e-9


def _mark_resets(axes: Axes, run: RunSummary) -> None:
    resets_s = list(_resets_s(run))
    for index, time_s in enumerate(resets_s if len(resets_s) <= _MAX_RESETS else []):
        axes.axvline(time_s, color=RESET, lw=1.0, ls=":", label="state reset" if index == 0 else None)
    if 0 < len(resets_s) <= _MAX_RESETS:
        axes.legend(fontsize=8.5)


def _mark_skipped(axes: Axes, run: RunSummary) -> None:
    rows = [record for record in run.records if not record.skipped]
    at = [(r.stamp_ns - rows[0].stamp_ns) * 1e-9 for r in run.records if r.skipped]
    low, high = 0.0, (rows[-1].stamp_ns - rows[0].stamp_ns) * 1e-9
    within = [time_s for time_s in at if low <= time_s <= high]
    if within:
        axes.plot(
            within, np.full(len(within), axes.get_ylim()[0]), "|", color=WARM, ms=9, label="skipped"
        )
        axes.legend(fontsize=8.5)


def _marker(points: Any, a: int, b: int) -> float:
    if not len(points):
        return 1.0
    low, high = np.percentile(points, [0.5, 99.5], axis=0)
    extent = max(float((high - low)[[a, b]].max()), 0.2)
    side_pt = np.clip(350.0 * 0.05 / extent, 0.8, 10.0)
    return float(side_pt**2)


def _svg(figure: Figure) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _png(figure: Figure) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=170, facecolor="white")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
