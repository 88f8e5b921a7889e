# SPDX-License-Identifier: Apache-2.0
"""A node whose worker hangs or dies ends with one line; a slow worker does not."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fakes import image
from graph import SECOND, START_S, PeerNode
from std_srvs.srv import Trigger

from ttt3r_ros.pipeline.worker import Worker
from ttt3r_ros.ros import worker_watchdog
from ttt3r_ros.ros.worker_watchdog import WorkerError, WorkerWatchdog

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 30.0


class Watched:
    """A worker that blocks while its item is an event that is not set, and its watchdog."""

    def __init__(self, timeout_s: float) -> None:
        self.failures: list[BaseException] = []
        self.failed, self.finished = threading.Event(), threading.Event()
        self.worker: Worker[threading.Event] = Worker(self.process, self.fail)
        self.watchdog = WorkerWatchdog(self.worker, timeout_s, self.fail)

    def process(self, items: list[threading.Event]) -> None:
        items[0].wait(LIMIT_S)
        self.finished.set()

    def fail(self, error: BaseException) -> None:
        self.failures.append(error)
        self.failed.set()

    def start(self) -> None:
        self.worker.start()
        self.watchdog.start()


@pytest.fixture
def short_period(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_watchdog, "PERIOD_S", 0.01)


@pytest.mark.usefixtures("short_period")
def test_a_worker_that_hangs_is_reported_once_with_the_place_and_the_times() -> None:
    watched = Watched(timeout_s=0.01)
    watched.start()
    released = threading.Event()
    watched.worker.submit(released)
    assert watched.failed.wait(LIMIT_S)
    assert isinstance(watched.failures[0], WorkerError)
    assert "0.01" in str(watched.failures[0])
    assert "threading.py" in str(watched.failures[0])
    released.set()
    watched.worker.stop()
    assert len(watched.failures) == 1


@pytest.mark.usefixtures("short_period")
def test_a_worker_that_ended_without_an_error_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(timeout_s=0.0)
    monkeypatch.setattr(watched.worker, "_run", lambda: None)
    watched.worker._thread = threading.Thread(target=lambda: None)
    watched.start()
    assert watched.failed.wait(LIMIT_S)


def test_the_limit_of_a_frame_grows_with_the_slowest_frame_so_far() -> None:
    watched = Watched(timeout_s=60.0)
    assert watched.watchdog.limit_s == 600.0, "the first frame also compiles the network"
    watched.worker._longest_s = 3.0
    assert watched.watchdog.limit_s == 60.0
    watched.worker._longest_s = 50.0
    assert watched.watchdog.limit_s == 500.0


@pytest.mark.usefixtures("short_period")
def test_an_idle_worker_and_a_timeout_of_zero_are_no_failure() -> None:
    watched, other = Watched(timeout_s=0.01), Watched(timeout_s=0.0)
    for each in (watched, other):
        each.start()
    released = threading.Event()
    other.worker.submit(released)
    ticks = threading.Event()
    assert not ticks.wait(0.5), "fifty periods of the watchdog"
    assert watched.failures == other.failures == []
    released.set()
    assert other.finished.wait(LIMIT_S)
    for each in (watched, other):
        each.watchdog.stop()
        each.worker.stop()


@pytest.mark.usefixtures("short_period")
def test_a_wait_for_a_lock_that_another_thread_holds_is_no_failure() -> None:
    watched, lock, waits = Watched(timeout_s=0.001), threading.Lock(), threading.Event()

    def process(_: list[threading.Event]) -> None:
        waits.set()
        with watched.worker.hold(lock):
            watched.finished.set()

    watched.worker._process = process
    watched.start()
    with lock:  # as a service that saves the map
        watched.worker.submit(threading.Event())
        assert waits.wait(LIMIT_S)
        assert not watched.failed.wait(0.5), "fifty periods of the watchdog"
    assert watched.finished.wait(LIMIT_S)
    watched.watchdog.stop()
    watched.worker.stop()
    assert not watched.failures


@pytest.mark.ros
@pytest.mark.parametrize(("step", "timeout_s"), [("sys.exit(0)", 60.0), ("while True: pass", 0.1)])
def test_the_process_of_a_worker_that_exits_or_loops_ends_with_status_1(
    context, domain_id, tmp_path, step, timeout_s
):
    script = (
        "import os, sys\n"
        "sys.path.insert(0, 'test/support')\n"
        "import rclpy\n"
        "from fakes import FakeBackend\n"
        "from ttt3r_ros.ros import mapping_node, worker_watchdog\n"
        "worker_watchdog.PERIOD_S = 0.1\n"
        "mapping_node._EXIT_TIMEOUT_S = 0.5\n"
        "class Backend(FakeBackend):\n"
        f"    def step(self, rgb, state):\n            {step}\n"
        "mapping_node.load_backend = lambda config: (Backend(), {})\n"
        f"arguments = ['--ros-args', '-p', 'worker_timeout:={timeout_s}', '-p', 'image_qos:=reliable']\n"
        "sys.exit(mapping_node.main(arguments))\n"
    )
    peer = PeerNode(context)
    environment = os.environ | {"ROS_DOMAIN_ID": str(domain_id), "PYTHONPATH": str(ROOT)}
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            peer.spin_until(peer.images.get_subscription_count, "the node", START_S)
            # A service that needs the lock of the hanging frame blocks the executor.
            client = peer.node.create_client(Trigger, "/mapping_node/reset")
            stamps_ns = itertools.count(SECOND, SECOND // 10)

            def has_ended() -> bool:
                peer.publish(image(1), next(stamps_ns))  # again: the first can be lost in discovery
                if client.service_is_ready():
                    client.call_async(Trigger.Request())
                return process.poll() is not None

            peer.spin_until(has_ended, "the end of the process", START_S)
        finally:
            process.kill()
            process.wait()
    peer.close()
    text = log.read_text()
    assert process.returncode == 1, text
    assert "mapping stopped" in text
    assert ("SystemExit" in text) == ("exit" in step)
