# SPDX-License-Identifier: Apache-2.0
"""Several sources: a sub-folder and a process for each, side by side on what devices there are."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from glob import glob, has_magic
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.atomic import require_writable
from ttt3r_ros.model.runtime.devices import cuda_device_count
from ttt3r_ros.offline.batch.summary import SUMMARY, Result, result_of, tell, write_many_summary
from ttt3r_ros.offline.batch.tasks import Task, finished, started, tasks_of
from ttt3r_ros.offline.signals import INTERRUPTED, StopRequest

if TYPE_CHECKING:
    import argparse

    from ttt3r_ros.config import Config

_LOOK_EVERY_S = 0.2
_END_TIMEOUT_S = 60.0  # what an interrupted run may take to write what there is


def expanded(texts: list[str]) -> tuple[list[str], bool]:
    """Return the sources that names and patterns stand for, and whether one is named by itself.

    Raises:
        SourceError: nothing matches a pattern.
    """
    sources: list[str] = []
    patterns = [text for text in texts if has_magic(text) and not Path(text).exists()]
    for text in texts:
        if text not in patterns:
            sources.append(text)
            continue
        matches = sorted(glob(str(Path(text).expanduser()), recursive=True))  # noqa: PTH207 - may be absolute
        if not matches:
            msg = f"no source matches '{text}'"
            raise SourceError(msg)
        sources += matches
    return list(dict.fromkeys(sources)), len(texts) == 1 and not patterns


def run_many(
    sources: list[str],
    folder: Path,
    arguments: argparse.Namespace,
    config: Config,
    outputs: tuple[str, ...],
) -> int:
    """Map sources into sub-folders; return 0 if all went well, 130 if interrupted, else 1."""
    require_writable(folder)
    sources = [source for source in sources if Path(source).expanduser().resolve() != folder]
    devices = _devices(config.device, arguments.jobs)
    tasks = tasks_of(sources, folder, arguments, config, outputs, len(devices))
    done = [result for task in tasks if arguments.resume and (result := finished(task)) is not None]
    left = [task for task in tasks if task.name not in {result.name for result in done}]
    if arguments.ray:
        from ttt3r_ros.offline.batch.ray import run_on_ray  # noqa: PLC0415 - an optional extra

        results = done + run_on_ray(left, arguments.ray, arguments.retries, config.device)
    else:
        results = done + _run_here(left, devices)
    order = [task.name for task in tasks]
    results.sort(key=lambda result: order.index(result.name))
    write_many_summary(folder / SUMMARY, results)
    tell(results, folder)
    if any(result.status == INTERRUPTED for result in results):
        return INTERRUPTED
    return int(any(result.status for result in results))


def _run_here(tasks: list[Task], devices: list[str]) -> list[Result]:
    free: SimpleQueue[str] = SimpleQueue()
    for device in devices:
        free.put(device)
    results: list[Result] = []
    with StopRequest() as stop, ThreadPoolExecutor(len(devices)) as pool:
        for future in as_completed(pool.submit(_run_when_free, task, free, stop) for task in tasks):
            results.append(future.result())
            print(f"[{len(results)} of {len(tasks)}] {results[-1].line()}", file=sys.stderr, flush=True)
    return results


def _run_when_free(task: Task, free: SimpleQueue[str], stop: StopRequest) -> Result:
    device = free.get()
    try:
        if stop.asked:
            return Result(task.name, task.source, INTERRUPTED, "not begun")
        began = time.monotonic()
        status = _status_of(started(task, device), stop)
        return result_of(task.name, task.source, task.folder, task.log, status, time.monotonic() - began)
    finally:
        free.put(device)


def _status_of(process: subprocess.Popen[bytes], stop: StopRequest) -> int:
    """Wait for a process; pass on a wish to end, and insist after a while."""
    told = 0.0
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_LOOK_EVERY_S)
        if stop.asked and not told:
            told = time.monotonic()
            process.send_signal(signal.SIGINT)
        if stop.insisted or (told and time.monotonic() - told > _END_TIMEOUT_S):
            process.kill()


def _devices(device: str, jobs: int | None) -> list[str]:
    """Return the device of each process: all CUDA devices in turn, or the one that is named, or the default."""
    if device not in ("auto", "cuda"):
        return [device] * (jobs or 1)
    cuda = [f"cuda:{index}" for index in range(cuda_device_count())]
    found = cuda or [device]
    return [found[index % len(found)] for index in range(jobs or len(found))]
