# SPDX-License-Identifier: Apache-2.0
"""Plot of one sequence: both trajectories, and the errors over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ttt3r_ros.io.atomic import atomic_write

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from ttt3r_ros.evaluation.measurement import Curves
    from ttt3r_ros.evaluation.metrics.trajectory import TrajectoryComparison


def write_plot(path: Path, title: str, curves: Curves) -> bool:
    """Write the curves of a sequence as PNG; return whether there are any.

    Raises:
        OutputError: the file cannot be written.
    """
    panels = 2 * (curves.trajectory is not None) + bool(curves.depth_abs_rel)
    if not panels:
        return False
    figure = Figure(figsize=(5.2 * panels, 4.4), dpi=100, layout=ConstrainedLayoutEngine())
    figure.suptitle(title, fontsize=11)
    axes = list(np.ravel(figure.subplots(1, panels)))
    if curves.trajectory is not None:
        _draw_paths(axes[0], curves.trajectory)
        _draw_errors(axes[1], curves.trajectory)
    if curves.depth_abs_rel:
        _draw_depth(axes[-1], curves)
    with atomic_write(path) as file:
        figure.savefig(file, format="png")
    return True


def _draw_paths(axes: Axes, comparison: TrajectoryComparison) -> None:
    """Draw the paths in the plane of the two largest extents of the true path."""
    middle = comparison.true_m.mean(axis=0)
    centered = comparison.true_m - middle
    if len(centered) < 3:
        centered = np.vstack((centered, np.zeros((3, 3))))
    plane = np.linalg.svd(centered, full_matrices=False)[2][:2].T
    scale = comparison.error.scale
    for positions_m, color, name in (
        (comparison.true_m, "#222222", "ground truth"),
        (comparison.similar_m, "#1f77b4", f"Sim(3), scale {scale:.2f}"),
        (comparison.rigid_m, "#d62728", "SE(3)"),
    ):
        x, y = ((positions_m - middle) @ plane).T
        axes.plot(x, y, color=color, label=name, linewidth=1.2)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(xlabel="m", ylabel="m", title="path")
    axes.legend(fontsize=8)


def _draw_errors(axes: Axes, comparison: TrajectoryComparison) -> None:
    times_s = comparison.stamps_s - comparison.stamps_s[0]
    rigid_m, similar_m = comparison.errors_m()
    axes.plot(times_s, rigid_m, color="#d62728", label=f"SE(3), rms {comparison.error.se3_m:.3f} m")
    axes.plot(times_s, similar_m, color="#1f77b4", label=f"Sim(3), rms {comparison.error.sim3_m:.3f} m")
    axes.set(xlabel="s", ylabel="m", title="position error")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)


def _draw_depth(axes: Axes, curves: Curves) -> None:
    axes.plot(curves.depth_times_s, curves.depth_abs_rel, color="#2ca02c", marker=".", markersize=3)
    axes.set(xlabel="s", ylabel="AbsRel", title="depth error, one scale for all")
    axes.set_ylim(bottom=0)
