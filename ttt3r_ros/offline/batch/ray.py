# SPDX-License-Identifier: Apache-2.0
"""Several sources on a Ray cluster: one task for each, tried again where its process or its machine dies.

Sources, weights and output must be on folders that all machines share, and the package installed on each.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Any

from ttt3r_ros.errors import ConfigError
from ttt3r_ros.offline.batch.summary import Result, result_of
from ttt3r_ros.offline.batch.tasks import started
from ttt3r_ros.offline.signals import INTERRUPTED, StopRequest

if TYPE_CHECKING:
    from pathlib import Path

    from ttt3r_ros.offline.batch.tasks import Task

_LOOK_EVERY_S = 0.2
_END_TIMEOUT_S = 60.0
_ENDED = (0, 1, INTERRUPTED)  # a process that says so was not killed; it would say the same again


class KilledError(RuntimeError):
    """The process of a task died; for Ray a reason to try again."""


def run_on_ray(tasks: list[Task], address: str, retries: int, device: str) -> list[Result]:
    """Run the tasks on a cluster: ``local`` starts one on this machine, ``auto`` finds the one that is there.

    Raises:
        ConfigError: Ray is not installed, or there is no such cluster.
    """
    ray = _connected(address)
    for task in tasks:
        _attempts_of(task).unlink(missing_ok=True)
        _stop_of(task).unlink(missing_ok=True)
    try:
        wants_gpu = device.startswith(("auto", "cuda")) and ray.cluster_resources().get("GPU", 0) > 0
        remote = ray.remote(
            num_cpus=1,
            num_gpus=1 if wants_gpu else 0,
            max_retries=retries,
            retry_exceptions=[KilledError],
        )(run_there)
        pending = {remote.remote(task): task for task in tasks}
        with StopRequest() as stop:
            return _gathered(ray, pending, stop)
    finally:
        ray.shutdown()


def run_there(task: Task) -> Result:
    """Run a task on the machine where this is called; after a first attempt, go on from its last state.

    Raises:
        KilledError: its process was killed, or ended as no run ends.
    """
    attempts = _count_attempt(task)
    if _stop_of(task).exists():
        return Result(task.name, task.source, INTERRUPTED, "not begun", attempts=attempts)
    resumed = task if attempts == 1 else task.again()
    began = time.monotonic()
    process = started(resumed)
    try:
        while (status := process.poll()) is None:
            if _stop_of(task).exists():
                process.terminate()
                status = process.wait(_END_TIMEOUT_S)  # the run writes what there is
                break
            time.sleep(_LOOK_EVERY_S)
    finally:
        process.kill()  # no run without its task
    if status not in _ENDED:
        msg = f"the process of {task.name} ended with status {status}"
        raise KilledError(msg)
    seconds = time.monotonic() - began
    return result_of(task.name, task.source, task.folder, task.log, status, seconds, attempts)


def _count_attempt(task: Task) -> int:
    """Count the attempts at a task in a file beside its log, for each may be on another machine."""
    file = _attempts_of(task)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab+") as marks:
        marks.write(b".")
        return marks.tell()


def _attempts_of(task: Task) -> Path:
    return task.log.with_suffix(".attempts")


def _stop_of(task: Task) -> Path:
    """Return the file that tells all tasks to end; Ray's own wish does not reach who was started to ignore SIGINT."""
    return task.log.parent / ".stop"


def _connected(address: str) -> Any:
    try:
        import ray  # noqa: PLC0415 - an optional extra
    except ModuleNotFoundError as error:
        msg = "--ray needs the module ray: pip install 'ttt3r_ros[ray]'"
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
        msg = f"--ray {address}: {' '.join(str(error).split())}"
        raise ConfigError(msg) from error
    return ray


def _gathered(ray: Any, pending: dict[Any, Task], stop: StopRequest) -> list[Result]:
    results: list[Result] = []
    total = len(pending)
    told: float | None = None  # when the tasks were told to end
    while pending:
        ready, _ = ray.wait(list(pending), timeout=_LOOK_EVERY_S)
        for reference in ready:
            results.append(_outcome(ray, reference, pending.pop(reference)))
            print(f"[{len(results)} of {total}] {results[-1].line()}", file=sys.stderr, flush=True)
        if stop.asked and told is None:
            told = time.monotonic()
            for task in pending.values():
                _stop_of(task).parent.mkdir(parents=True, exist_ok=True)
                _stop_of(task).touch()
        if told is not None and time.monotonic() - told > _END_TIMEOUT_S:
            results += [
                Result(task.name, task.source, INTERRUPTED, "given up") for task in pending.values()
            ]
            pending = {}
    return results


def _outcome(ray: Any, reference: Any, task: Task) -> Result:
    try:
        result: Result = ray.get(reference)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        return Result(task.name, task.source, 1, f"all attempts failed: {reason}")
    return result
