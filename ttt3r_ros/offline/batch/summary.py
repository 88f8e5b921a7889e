# SPDX-License-Identifier: Apache-2.0
"""Results of a batch: a table, and ``summary.json``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.run_folder import RunFolder
from ttt3r_ros.offline.outputs import write_json
from ttt3r_ros.offline.signals import INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    OnResult = Callable[["SourceResult", int, int], None]  # result, number of results, number of tasks

SUMMARY = "summary.json"
_STATUS_NAMES = {0: "done", INTERRUPTED: "interrupted"}
_COLUMNS = (
    "source",
    "frames",
    "skipped",
    "frames/s",
    "path [m]",
    "ATE SE(3)",
    "ATE Sim(3)",
    "scale",
    "",
)


@dataclass(frozen=True)
class SourceResult:
    """Result of one source."""

    name: str
    source: str
    status: int  # exit status of its process
    problem: str = ""
    frames: int = 0  # mapped
    skipped: int = 0
    seconds: float = 0.0
    attempts: int = 1
    frames_per_second: float = 0.0
    path_m: float = 0.0
    ate_se3_m: float | None = None
    ate_sim3_m: float | None = None
    scale: float | None = None

    @property
    def outcome(self) -> str:
        """Return done, interrupted or failed."""
        return _STATUS_NAMES.get(self.status, "failed")

    def line(self) -> str:
        """Return the result as a line for a user."""
        detail = (
            f": {self.problem}" if self.problem else f": {self.frames} frames in {self.seconds:.1f} s"
        )
        return f"{self.name} {self.outcome}{detail}"

    def row(self) -> tuple[str, ...]:
        """Return the row of the table."""
        return (
            self.name, str(self.frames), str(self.skipped), f"{self.frames_per_second:.1f}", f"{self.path_m:.2f}",
            *(_meters(value) for value in (self.ate_se3_m, self.ate_sim3_m, self.scale)),
            f"{self.outcome}: {self.problem}" if self.problem else self.outcome,
        )  # fmt: skip


def read_source_result(
    name: str, source: str, folder: Path, log: Path, status: int, seconds: float, attempts: int = 1
) -> SourceResult:
    """Return the result of a process from its run folder and its log."""
    problem = _last_line(log) if status not in (0, INTERRUPTED) else ""
    meta = _run_meta(folder)
    # A run that could not start writes no run.json; the existing one is of an earlier run.
    not_started = status not in (0, INTERRUPTED) and not meta.get("problems")
    if "mapped" not in meta or not_started:
        return SourceResult(name, source, status, problem, seconds=round(seconds, 1), attempts=attempts)
    error: dict[str, Any] = meta.get("error") or {}
    return SourceResult(
        name, source, status, problem,
        frames=meta["mapped"],
        skipped=sum(meta["skipped"].values()) + meta["broken"],
        seconds=round(seconds or meta["seconds"], 1),
        attempts=attempts,
        frames_per_second=meta["frames_per_second"],
        path_m=meta["path_m"],
        ate_se3_m=error.get("ate_se3_m"), ate_sim3_m=error.get("ate_sim3_m"), scale=error.get("scale"),
    )  # fmt: skip


def _run_meta(folder: Path) -> dict[str, Any]:
    try:
        return RunFolder(folder).meta
    except SourceError:
        return {}


def write_batch_summary(path: Path, results: list[SourceResult]) -> None:
    """Write the results as JSON.

    Raises:
        OutputError: the file cannot be written.
    """
    failed = sum(result.outcome == "failed" for result in results)
    entries = [{**asdict(result), "result": result.outcome} for result in results]
    write_json(path, {"sources": len(results), "failed": failed, "results": entries})


def table(results: list[SourceResult]) -> list[str]:
    """Return the results as aligned lines of text."""
    rows = [_COLUMNS, *(result.row() for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column in (0, len(_COLUMNS) - 1) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _meters(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _last_line(log: Path) -> str:
    """Return the last line that a process logged."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return "it wrote no log"
    return lines[-1].removeprefix("ttt3r_ros: ") if lines else "it exited without an error message"
