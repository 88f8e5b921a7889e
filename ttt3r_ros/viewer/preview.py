# SPDX-License-Identifier: Apache-2.0
"""Preview figure of a run: map from above, trajectory, and some frames with their depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ttt3r_ros.io.atomic import atomic_write
from ttt3r_ros.viewer.colors import depth_range
from ttt3r_ros.viewer.map_views import robust_bounds, select_top_view

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from ttt3r_ros.mapping.voxel_map import PointCloud
    from ttt3r_ros.types import Float32Array, Float64Array, UInt8Array

_MAX_POINTS = 150_000
_MAP_SIDE_PT = 450.0
_INK, _PAPER = "#e8e8ea", "#17181b"


@dataclass(frozen=True)
class FrameSample:
    """An input image and its depth."""

    title: str
    rgb: UInt8Array  # (H, W, 3)
    depth_m: Float32Array  # (h, w), NaN where invalid


@dataclass(frozen=True)
class RunPreview:
    """Content of the figure; positions in the z-up map frame."""

    title: str
    cloud: PointCloud
    voxel_size_m: float
    positions: Float64Array  # (N, 3) estimated
    true_positions: Float64Array  # (M, 3) aligned to the estimate; may be empty
    samples: list[FrameSample]


def write_preview(path: Path, run: RunPreview) -> None:
    """Write the figure as PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    with mpl.rc_context(
        {"text.color": _INK, "axes.labelcolor": _INK, "xtick.color": _INK, "ytick.color": _INK}
    ):
        layout = ConstrainedLayoutEngine()
        figure = Figure(figsize=(15, 7.6), dpi=90, facecolor=_PAPER, layout=layout)
        figure.suptitle(run.title, fontsize=13)
        rows = max(1, len(run.samples))
        grid = figure.add_gridspec(rows, 3, width_ratios=[2.2, 1, 1])
        _draw_map(figure.add_subplot(grid[:, 0]), run)
        for row, sample in enumerate(run.samples):
            _draw_image(figure.add_subplot(grid[row, 1]), sample)
            _draw_depth(figure.add_subplot(grid[row, 2]), sample)
        with atomic_write(path) as file:
            figure.savefig(file, format="png", facecolor=_PAPER)


def _draw_map(axes: Axes, run: RunPreview) -> None:
    axes.set_facecolor("#0e0f11")
    order = select_top_view(run.cloud.points, run.positions, _MAX_POINTS)
    points, rgb = run.cloud.points[order], run.cloud.rgb[order]
    low, high = _bounds(points, run)
    extent = float((high - low)[:2].max())
    side_pt = np.clip(_MAP_SIDE_PT * run.voxel_size_m / extent, 0.8, 12.0)  # one marker covers one voxel
    axes.scatter(points[:, 0], points[:, 1], c=rgb / 255.0, s=side_pt**2, marker="s", linewidths=0)
    if len(run.true_positions):
        axes.plot(
            run.true_positions[:, 0],
            run.true_positions[:, 1],
            color="#ffffff",
            lw=1.2,
            ls="--",
            label="ground truth",
        )
    axes.plot(run.positions[:, 0], run.positions[:, 1], color="#19c8ff", lw=1.8, label="estimate")
    if len(run.positions):
        axes.plot(*run.positions[0, :2], "o", color="#45e06f", ms=7, label="start")
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    axes.set(xlabel="x forward [m]", ylabel="y left [m]")
    axes.set_title(f"map from above, {len(run.cloud.points)} voxels", color=_INK)
    legend = axes.legend(loc="upper right", facecolor=_PAPER, edgecolor="none", fontsize=9)
    for text in legend.get_texts():
        text.set_color(_INK)


def _bounds(points: Float32Array, run: RunPreview) -> tuple[Float64Array, Float64Array]:
    """Return bounds of map and estimate, with the ground truth unless it is much larger."""
    low, high = robust_bounds(points, run.positions)
    wider = robust_bounds(points, run.positions, run.true_positions)
    return wider if np.ptp(wider, axis=0).max() < 3 * (high - low).max() else (low, high)


def _draw_image(axes: Axes, sample: FrameSample) -> None:
    axes.imshow(sample.rgb)
    axes.set_title(sample.title, fontsize=10)
    axes.set_axis_off()


def _draw_depth(axes: Axes, sample: FrameSample) -> None:
    low, high = depth_range(sample.depth_m) or (0.0, 1.0)
    axes.imshow(sample.depth_m, cmap="turbo_r", vmin=low, vmax=max(high, low + 1e-6))
    axes.set_title(f"depth {low:.2f} to {high:.2f} m", fontsize=10)
    axes.set_axis_off()
