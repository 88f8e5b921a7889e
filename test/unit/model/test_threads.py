# SPDX-License-Identifier: Apache-2.0
"""Who loads a network leaves no computing threads behind: with more threads than cores, OpenMP lets none spin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ttt3r_ros.config import Config
from ttt3r_ros.model.runtime import threads as threads_module
from ttt3r_ros.model.runtime.loading import load_backend
from ttt3r_ros.model.runtime.threads import configure_threads, single_threaded

ROOT = Path(__file__).resolve().parents[3]

PROGRAM = """
import os
import numpy as np
import torch
from ttt3r_ros.config import Config
from ttt3r_ros.model.runtime.loading import load_backend

def threads():
    return len(os.listdir("/proc/self/task"))

torch.set_num_threads(2)  # makes one itself, which does not compute
before = threads()
backend, _ = load_backend(Config(threads=2))
loaded = threads()
backend.step(np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8), backend.initial_state())
print(loaded - before, threads() - before)
"""


def output(program: str, **environment: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**{k: v for k, v in os.environ.items() if "OMP" not in k}, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_loading_a_network_starts_no_computing_thread_and_running_it_does():
    assert output(PROGRAM) == "0 1\n"


@pytest.mark.parametrize(
    ("cores", "threads", "of_an_operation", "at_once"),
    [(4, 0, 1, True), (2, 0, 1, True), (1, 0, 1, False), (4, 1, 1, False), (4, 3, 3, False)],
)
def test_a_narrow_network_s_operations_get_one_thread_each_unless_the_user_sets_a_number(
    monkeypatch, cores, threads, of_an_operation, at_once
):
    monkeypatch.setattr(threads_module, "_DEFAULT_THREADS", cores)
    torch.set_num_threads(7)
    assert configure_threads(threads) is at_once
    assert torch.get_num_threads() == of_an_operation


def test_what_a_narrow_network_was_given_is_not_what_the_next_one_gets(monkeypatch):
    monkeypatch.setattr(threads_module, "_DEFAULT_THREADS", 4)
    configure_threads(0)
    load_backend(Config(compile="none"))
    assert torch.get_num_threads() == 4


def test_the_package_s_network_gives_the_same_to_the_last_bit_in_parts_and_on_one_thread(monkeypatch):
    monkeypatch.setattr(threads_module, "_DEFAULT_THREADS", 2)
    rgb = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    answers = []
    for config in (Config(), Config(threads=1), Config(threads=1, compile="none")):
        backend, facts = load_backend(config)
        answers.append((facts["compiled"], backend.step(rgb, backend.initial_state())[0]))
    assert [mode for mode, _ in answers] == ["graph", "graph", "none"]
    for _, answer in answers[1:]:
        np.testing.assert_array_equal(answer.points_camera, answers[0][1].points_camera)
        np.testing.assert_array_equal(answer.T_segment_camera, answers[0][1].T_segment_camera)


def test_the_number_of_threads_is_restored_afterwards():
    torch.set_num_threads(2)
    with single_threaded():
        assert torch.get_num_threads() == 1
    with pytest.raises(ZeroDivisionError), single_threaded():
        raise ZeroDivisionError
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "PASSIVE 1000\n"),
        ({"GOMP_SPINCOUNT": "7"}, "PASSIVE 7\n"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE None\n"),
    ],
)
def test_threads_spin_a_little_unless_the_user_sets_the_wait_policy(given, expected):
    show = "print(os.environ['OMP_WAIT_POLICY'], os.environ.get('GOMP_SPINCOUNT'))"
    assert output(f"import os, ttt3r_ros.model; {show}", **given) == expected


def test_images_of_several_cameras_find_everything_recorded(caplog):
    backend, _ = load_backend(Config(cameras=("left", "right")))
    rgb = [np.random.default_rng(seed).integers(0, 256, (480, 640, 3), np.uint8) for seed in range(3)]
    caplog.clear()  # of what another test's log level let in while it was loaded
    with caplog.at_level("INFO", logger="ttt3r_ros.model.runtime.tracing"):
        backend.step_batch(rgb[:2], [backend.initial_state()] * 2)
        backend.step_batch(rgb[2:], [backend.initial_state()])
    assert not caplog.records
