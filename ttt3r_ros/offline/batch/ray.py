# SPDX-License-Identifier: Apache-2.0
"""Map several recordings on a Ray cluster: one task for each, retried if its process or its machine dies.

Sources, weights and output must be in folders that all machines share, with the package installed on each machine.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from ttt3r_ros.errors import ConfigError
from ttt3r_ros.offline.batch.summary import SourceResult, read_source_result
from ttt3r_ros.offline.batch.task import start_process
from ttt3r_ros.offline.signals import INTERRUPTED, StopRequest

if TYPE_CHECKING:
    from pathlib import Path

    from ttt3r_ros.offline.batch.summary import OnResult
    from ttt3r_ros.offline.batch.task import Task

_POLL_INTERVAL_S = 0.2
_SHUTDOWN_TIMEOUT_S = 60.0
_EXIT_STATUSES = (0, 1, INTERRUPTED)  # of a process that was not killed; a retry would end the same


class KilledError(RuntimeError):
    """The process of a task was killed. Ray retries the task."""


def map_on_ray(
    tasks: list[Task], address: str, retries: int, device: str, report: OnResult
) -> list[SourceResult]:
    """Run the tasks on a cluster: ``local`` starts one on this machine, ``auto`` uses the running one.

    Raises:
        ConfigError: Ray is not installed, or there is no such cluster.
    """
    ray = _connect(address)
    for task in tasks:
        _attempts_file(task).unlink(missing_ok=True)
        _stop_file(task).unlink(missing_ok=True)
    try:
        use_gpu = device.startswith(("auto", "cuda")) and ray.cluster_resources().get("GPU", 0) > 0
        remote = ray.remote(
            num_cpus=1,
            num_gpus=1 if use_gpu else 0,
            max_retries=retries,
            retry_exceptions=[KilledError],
        )(run_task)
        pending = {remote.remote(task): task for task in tasks}
        with StopRequest() as stop:
            return _collect(ray, pending, stop, report)
    finally:
        ray.shutdown()


def run_task(task: Task) -> SourceResult:
    """Run a task on this machine. A retry continues from the last saved state.

    Raises:
        KilledError: its process was killed or ended with an unexpected status.
    """
    attempts = _count_attempt(task)
    if _stop_file(task).exists():
        return SourceResult(task.name, task.source, INTERRUPTED, "not started", attempts=attempts)
    current = task if attempts == 1 else task.as_resume()
    started = time.monotonic()
    process = start_process(current)
    try:
        while (status := process.poll()) is None:
            if _stop_file(task).exists():
                process.terminate()
                status = process.wait(_SHUTDOWN_TIMEOUT_S)  # the run writes its results
                break
            time.sleep(_POLL_INTERVAL_S)
    finally:
        process.kill()  # no process outlives its task
    if status not in _EXIT_STATUSES:
        msg = f"the process of {task.name} ended with status {status}"
        raise KilledError(msg)
    seconds = time.monotonic() - started
    return read_source_result(task.name, task.source, task.folder, task.log, status, seconds, attempts)


def _count_attempt(task: Task) -> int:
    """Count the attempts in a file beside the log: each attempt may be on another machine."""
    file = _attempts_file(task)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab+") as marks:
        marks.write(b".")
        return marks.tell()


def _attempts_file(task: Task) -> Path:
    return task.log.with_suffix(".attempts")


def _stop_file(task: Task) -> Path:
    """Return the file that requests all tasks to stop. Ray cannot interrupt processes that ignore SIGINT."""
    return task.log.parent / ".stop"


def _connect(address: str) -> Any:
    try:
        import ray  # noqa: PLC0415 - an optional extra
    except ModuleNotFoundError as error:
        msg = "a Ray cluster needs the module ray: pip install 'ttt3r_ros[ray]'"
        raise ConfigError(msg) from error
    try:
        if address == "local":
            ray.init(
                address="local",
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.WARNING,
            )
        else:
            ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    except (ConnectionError, RuntimeError, ValueError) as error:
        msg = f"Ray cluster {address}: {' '.join(str(error).split())}"
        raise ConfigError(msg) from error
    return ray


def _collect(
    ray: Any, pending: dict[Any, Task], stop: StopRequest, report: OnResult
) -> list[SourceResult]:
    results: list[SourceResult] = []
    total = len(pending)
    stopped_at: float | None = None  # when the tasks were requested to stop
    while pending:
        ready, _ = ray.wait(list(pending), timeout=_POLL_INTERVAL_S)
        for reference in ready:
            results.append(_result(ray, reference, pending.pop(reference)))
            report(results[-1], len(results), total)
        if stop.is_requested and stopped_at is None:
            stopped_at = time.monotonic()
            for task in pending.values():
                _stop_file(task).parent.mkdir(parents=True, exist_ok=True)
                _stop_file(task).touch()
        if stopped_at is not None and time.monotonic() - stopped_at > _SHUTDOWN_TIMEOUT_S:
            results += [
                SourceResult(task.name, task.source, INTERRUPTED, "did not stop in time")
                for task in pending.values()
            ]
            pending = {}
    return results


def _result(ray: Any, reference: Any, task: Task) -> SourceResult:
    try:
        result: SourceResult = ray.get(reference)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        return SourceResult(task.name, task.source, 1, f"all attempts failed: {reason}")
    return result
