# SPDX-License-Identifier: Apache-2.0
"""One source of a batch as a task: run folder, arguments, process and result."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, dataclass, field, replace
from itertools import count as count_from
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttt3r_ros.config import Config, from_mapping, setting_values
from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.run_folder import DEFAULT_OUTPUTS, RunFolder
from ttt3r_ros.io.sources import SourceOptions
from ttt3r_ros.offline.batch.summary import SUMMARY, SourceResult, read_source_result
from ttt3r_ros.offline.folder.fingerprint import RunFingerprint, absolute_source, compute_fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence

LOGS = "logs"
WORKER = "ttt3r_ros.offline.batch.worker"


@dataclass(frozen=True)
class Task:
    """One source, its run folder, and the arguments of `map_recording`."""

    name: str
    source: str
    folder: Path
    config: Config
    options: SourceOptions = field(default_factory=SourceOptions)
    outputs: tuple[str, ...] | None = None
    resume: bool = False
    overwrite: bool = False

    @property
    def log(self) -> Path:
        """Return the file with the output of the process."""
        return self.folder.parent / LOGS / f"{self.name}.log"

    def fingerprint(self) -> RunFingerprint:
        """Return the identity of the run."""
        return compute_fingerprint(
            self.source, self.options, self.config, self.outputs or DEFAULT_OUTPUTS
        )

    def as_resume(self) -> Task:
        """Return the task that continues this one."""
        return replace(self, resume=True, overwrite=False)

    def to_json(self) -> str:
        """Return the task as the argument of the worker process."""
        values: dict[str, Any] = {
            **asdict(self), "folder": str(self.folder), "config": setting_values(self.config),
        }  # fmt: skip
        return json.dumps(values, default=str)


def task_from_json(text: str) -> Task:
    """Return the task that `Task.to_json` wrote."""
    values = json.loads(text)
    calibration = values["options"]["calibration"]
    options = SourceOptions(**{**values["options"], "calibration": calibration and Path(calibration)})
    outputs = None if values["outputs"] is None else tuple(values["outputs"])
    return Task(
        **{
            **values,
            "folder": Path(values["folder"]),
            "config": from_mapping(values["config"]),
            "options": options,
            "outputs": outputs,
        }
    )


def create_tasks(sources: Sequence[str], template: Task, parallel: int) -> list[Task]:
    """Return a task for each source, each with its own folder below that of the template.

    Processes that run in ``parallel`` share the processor's cores, unless the number of threads is set.
    """
    config = template.config
    if parallel > 1 and config.threads == 0:
        config = replace(config, threads=max(1, (os.cpu_count() or 1) // parallel))
    return [
        replace(
            template,
            name=name,
            source=absolute_source(source),
            folder=template.folder / name,
            config=config,
        )
        for name, source in zip(_folder_names(sources), sources, strict=True)
    ]


def start_process(task: Task, device: str = "") -> subprocess.Popen[bytes]:
    """Start the process of a task in its own session: the parent process forwards a Ctrl-C of the terminal."""
    task.log.parent.mkdir(parents=True, exist_ok=True)
    if device:
        task = replace(task, config=replace(task.config, device=device))
    with task.log.open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", WORKER, task.to_json()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def read_complete_result(task: Task) -> SourceResult | None:
    """Return the result of a task that an earlier batch has completed; None if something is left to do."""
    try:
        meta = RunFolder(task.folder).meta
    except SourceError:
        return None
    if not task.fingerprint().is_complete(meta):
        return None
    return read_source_result(task.name, task.source, task.folder, task.log, 0, 0.0)


def _folder_names(sources: Sequence[str]) -> list[str]:
    """Return a unique folder name for each source."""
    names: list[str] = []
    for source in sources:
        path = Path(source).expanduser()
        stem = path.stem if path.is_file() else path.resolve().name
        plain = re.sub(r"[^\w.-]+", "_", stem).strip(".") or "source"
        taken = {*names, LOGS, SUMMARY}
        copies = (f"{plain}_{count}" for count in count_from(2))
        names.append(plain if plain not in taken else next(n for n in copies if n not in taken))
    return names
