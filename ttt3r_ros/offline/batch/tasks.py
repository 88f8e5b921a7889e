# SPDX-License-Identifier: Apache-2.0
"""One of several sources as a task: its folder, its command, its process, what became of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from itertools import count as count_from
from pathlib import Path
from typing import TYPE_CHECKING

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.run_folder import DEFAULT_OUTPUTS, RunFolder
from ttt3r_ros.offline.batch.summary import SUMMARY, Result, result_of
from ttt3r_ros.offline.run_settings import full_name, identity_of, source_options

if TYPE_CHECKING:
    import argparse

    from ttt3r_ros.config import Config
    from ttt3r_ros.offline.resume import Identity


@dataclass(frozen=True)
class Task:
    """One source, where its results go, and the arguments of the command that maps it."""

    name: str
    source: str
    folder: Path
    arguments: tuple[str, ...]
    identity: Identity

    @property
    def log(self) -> Path:
        """Return where its output goes."""
        return self.folder.parent / "logs" / f"{self.name}.log"

    def again(self) -> Task:
        """Return the task that goes on where this one was ended."""
        kept = tuple(word for word in self.arguments if word not in ("--overwrite", "--resume"))
        return replace(self, arguments=(*kept, "--resume"))


def tasks_of(
    sources: list[str],
    folder: Path,
    arguments: argparse.Namespace,
    config: Config,
    outputs: tuple[str, ...],
    jobs: int,
) -> list[Task]:
    """Return a task for each source, each with a name of its own."""
    options = _options(arguments)
    if jobs > 1 and config.threads == 0:
        # Each would take all cores, and all would be slower for it.
        options += ["--set", f"threads={max(1, (os.cpu_count() or 1) // jobs)}"]
    read, outputs = source_options(arguments), outputs or DEFAULT_OUTPUTS
    tasks = []
    for name, source in zip(_names(sources), sources, strict=True):
        words = ("run", full_name(source), "--output", str(folder / name), *options)
        identity = identity_of(source, read, config, outputs)
        tasks.append(Task(name, source, folder / name, words, identity))
    return tasks


def started(task: Task, device: str = "") -> subprocess.Popen[bytes]:
    """Start the process of a task. It hears no Ctrl-C of the terminal: who starts it tells it to end."""
    task.log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "ttt3r_ros", *task.arguments]
    command += ["--device", device] if device else []
    with task.log.open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - our own module
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def finished(task: Task) -> Result | None:
    """Return what became of a task that an earlier call has finished; None if there is something left to do."""
    try:
        meta = RunFolder(task.folder).meta
    except SourceError:
        return None
    if not task.identity.is_done_by(meta):
        return None
    return result_of(task.name, task.source, task.folder, task.log, 0, 0.0)


def _options(arguments: argparse.Namespace) -> list[str]:
    """Return the options of one run that are the same for all."""
    valued = {
        "--topic": arguments.topic,
        "--camera-info-topic": arguments.camera_info_topic,
        "--format": arguments.format,
        "--calibration": arguments.calibration and arguments.calibration.expanduser().resolve(),
        "--fps": arguments.fps,
        "--stride": arguments.stride,
        "--max-frames": arguments.max_frames,
        "--config": arguments.config and arguments.config.expanduser().resolve(),
        "--weights": arguments.weights and arguments.weights.expanduser().resolve(),
    }
    options = [word for name, value in valued.items() if value for word in (name, str(value))]
    for name, words in (("--outputs", arguments.outputs), ("--set", arguments.set_)):
        options += [name, *words] if words else []
    flags = {"--resume": arguments.resume, "--overwrite": arguments.overwrite}
    return options + [name for name, given in flags.items() if given]


def _names(sources: list[str]) -> list[str]:
    """Return a folder's name for each source, no two alike."""
    names: list[str] = []
    for source in sources:
        path = Path(source).expanduser()
        word = path.stem if path.is_file() else path.resolve().name
        plain = re.sub(r"[^\w.-]+", "_", word).strip(".") or "source"
        taken = {*names, "logs", SUMMARY}
        copies = (f"{plain}_{count}" for count in count_from(2))
        names.append(plain if plain not in taken else next(n for n in copies if n not in taken))
    return names
