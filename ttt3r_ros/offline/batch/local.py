# SPDX-License-Identifier: Apache-2.0
"""Map several recordings: a run folder and a process for each, in parallel on the available devices."""

from __future__ import annotations

import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from glob import glob, has_magic
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from ttt3r_ros.config import Config
from ttt3r_ros.errors import SourceError
from ttt3r_ros.io.atomic import require_writable
from ttt3r_ros.io.sources import SourceOptions
from ttt3r_ros.model.runtime.devices import cuda_device_count
from ttt3r_ros.offline.batch.summary import (
    SUMMARY,
    SourceResult,
    read_source_result,
    write_batch_summary,
)
from ttt3r_ros.offline.batch.task import Task, create_tasks, read_complete_result, start_process
from ttt3r_ros.offline.options import require_offline_settings, resolve_outputs
from ttt3r_ros.offline.signals import INTERRUPTED, StopRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ttt3r_ros.offline.batch.summary import OnResult

_POLL_INTERVAL_S = 0.2
_SHUTDOWN_TIMEOUT_S = 60.0  # for an interrupted run to write its results


def expand_sources(texts: list[str]) -> tuple[list[str], bool]:
    """Return the sources that names and patterns match, and whether it is one that is given by name.

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


def map_recordings(
    sources: Iterable[str | Path],  # paths or patterns
    output: str | Path,
    config: Config | None = None,
    *,
    outputs: Iterable[str] | None = None,
    options: SourceOptions | None = None,
    resume: bool = False,
    overwrite: bool = False,
    jobs: int | None = None,
    ray: str | None = None,
    retries: int = 2,
    on_result: OnResult | None = None,
) -> list[SourceResult]:
    """Map each source into a folder of its own below ``output``, and write ``summary.json`` there.

    A source that fails does not end the others. ``config``, ``outputs``, ``options``, ``resume`` and ``overwrite``
    are those of `map_recording`. ``jobs`` processes run in parallel; default: one for each CUDA device, else 1.
    ``ray`` is the address of a Ray cluster, ``local`` or ``auto``; the folders must be shared. A Ray task whose
    process was killed is retried. ``on_result`` is called after each source.

    Raises:
        Ttt3rError: the batch could not start.
    """
    config = config or Config()
    require_offline_settings(config)
    if outputs is not None:
        outputs = resolve_outputs([outputs] if isinstance(outputs, str) else outputs)
    folder = Path(output).expanduser().resolve()
    found, _ = expand_sources([str(source) for source in sources])
    found = [source for source in found if Path(source).expanduser().resolve() != folder]
    require_writable(folder)
    devices = _devices(config.device, jobs)
    template = Task(
        "", "", folder, config, options or SourceOptions(), outputs, resume=resume, overwrite=overwrite
    )
    tasks = create_tasks(found, template, len(devices))
    done = [result for task in tasks if resume and (result := read_complete_result(task)) is not None]
    remaining = [task for task in tasks if task.name not in {result.name for result in done}]
    report = on_result or (lambda *_: None)
    if ray:
        from ttt3r_ros.offline.batch.ray import map_on_ray  # noqa: PLC0415 - an optional extra

        results = done + map_on_ray(remaining, ray, retries, config.device, report)
    else:
        results = done + _map_locally(remaining, devices, report)
    order = [task.name for task in tasks]
    results.sort(key=lambda result: order.index(result.name))
    write_batch_summary(folder / SUMMARY, results)
    return results


def _map_locally(tasks: list[Task], devices: list[str], report: OnResult) -> list[SourceResult]:
    free: SimpleQueue[str] = SimpleQueue()
    for device in devices:
        free.put(device)
    results: list[SourceResult] = []
    with StopRequest() as stop, ThreadPoolExecutor(len(devices)) as pool:
        for future in as_completed(pool.submit(_run_task, task, free, stop) for task in tasks):
            results.append(future.result())
            report(results[-1], len(results), len(tasks))
    return results


def _run_task(task: Task, free: SimpleQueue[str], stop: StopRequest) -> SourceResult:
    """Run a task on the next free device."""
    device = free.get()
    try:
        if stop.is_requested:
            return SourceResult(task.name, task.source, INTERRUPTED, "not started")
        started = time.monotonic()
        status = _wait(start_process(task, device), stop)
        seconds = time.monotonic() - started
        return read_source_result(task.name, task.source, task.folder, task.log, status, seconds)
    finally:
        free.put(device)


def _wait(process: subprocess.Popen[bytes], stop: StopRequest) -> int:
    """Return the exit status of a process; forward a request to stop, and kill the process after a timeout."""
    interrupted_at = 0.0
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_POLL_INTERVAL_S)
        if stop.is_requested and not interrupted_at:
            interrupted_at = time.monotonic()
            process.send_signal(signal.SIGINT)
        if stop.is_forced or (
            interrupted_at and time.monotonic() - interrupted_at > _SHUTDOWN_TIMEOUT_S
        ):
            process.kill()


def _devices(device: str, jobs: int | None) -> list[str]:
    """Return the device of each process: all CUDA devices in turn, else the configured one."""
    if device not in ("auto", "cuda"):
        return [device] * (jobs or 1)
    cuda = [f"cuda:{index}" for index in range(cuda_device_count())]
    found = cuda or [device]
    return [found[index % len(found)] for index in range(jobs or len(found))]
