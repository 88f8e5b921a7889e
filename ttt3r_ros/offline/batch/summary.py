# SPDX-License-Identifier: Apache-2.0
"""What became of several sources: a table for people, ``summary.json`` for programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.run_folder import RunFolder
from ttt3r_ros.offline.outputs import write_json
from ttt3r_ros.offline.signals import INTERRUPTED

if TYPE_CHECKING:
    from pathlib import Path

SUMMARY = "summary.json"
_WORDS = {0: "done", INTERRUPTED: "interrupted"}
_COLUMNS = ("source", "frames", "skipped", "frames/s", "way [m]", "ATE SE(3)", "ATE Sim(3)", "scale", "")


@dataclass(frozen=True)
class Result:
    """What became of one source."""

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
    def word(self) -> str:
        """Return how it ended."""
        return _WORDS.get(self.status, "failed")

    def line(self) -> str:
        """Return what a user is told when it has ended."""
        told = f": {self.problem}" if self.problem else f": {self.frames} frames in {self.seconds:.1f} s"
        return f"{self.name} {self.word}{told}"

    def row(self) -> tuple[str, ...]:
        """Return its row in the table."""
        return (
            self.name, str(self.frames), str(self.skipped), f"{self.frames_per_second:.1f}", f"{self.path_m:.2f}",
            *(_meters(value) for value in (self.ate_se3_m, self.ate_sim3_m, self.scale)),
            f"{self.word}: {self.problem}" if self.problem else self.word,
        )  # fmt: skip


def result_of(
    name: str, source: str, folder: Path, log: Path, status: int, seconds: float, attempts: int = 1
) -> Result:
    """Return what became of a process, from what it left in its folder and its log."""
    problem = _last_line(log) if status not in (0, INTERRUPTED) else ""
    meta = _left_in(folder)
    # A run that was refused has left none; what is there is of an earlier one.
    refused = status not in (0, INTERRUPTED) and not meta.get("problems")
    if "mapped" not in meta or refused:
        return Result(name, source, status, problem, seconds=round(seconds, 1), attempts=attempts)
    error: dict[str, Any] = meta.get("error") or {}
    return Result(
        name, source, status, problem,
        frames=meta["mapped"],
        skipped=sum(meta["skipped"].values()) + meta["broken"],
        seconds=round(seconds or meta["seconds"], 1),
        attempts=attempts,
        frames_per_second=meta["frames_per_second"],
        path_m=meta["path_m"],
        ate_se3_m=error.get("ate_se3_m"), ate_sim3_m=error.get("ate_sim3_m"), scale=error.get("scale"),
    )  # fmt: skip


def _left_in(folder: Path) -> dict[str, Any]:
    try:
        return RunFolder(folder).meta
    except SourceError:
        return {}


def write_many_summary(path: Path, results: list[Result]) -> None:
    """Write the results as JSON.

    Raises:
        OutputError: the file cannot be written.
    """
    failed = sum(result.word == "failed" for result in results)
    entries = [{**asdict(result), "result": result.word} for result in results]
    write_json(path, {"sources": len(results), "failed": failed, "results": entries})


def tell(results: list[Result], folder: Path) -> None:
    """Print the table."""
    rows = [_COLUMNS, *(result.row() for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        cells = [
            cell.ljust(width) if column in (0, len(_COLUMNS) - 1) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
    done = sum(result.status == 0 for result in results)
    print(f"{done} of {len(results)} done; results: {folder}, {SUMMARY}")


def _meters(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _last_line(log: Path) -> str:
    """Return the last thing that a process said."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return "it left no log"
    return lines[-1].removeprefix("ttt3r_ros: ") if lines else "it said nothing"
