# SPDX-License-Identifier: Apache-2.0
"""Saving waits for the images that have arrived, wherever they wait, and holds up nothing else."""

from __future__ import annotations

import pytest
from fakes import FakeBackend, GatedBackend, image
from graph import SECOND, connected, walk
from std_srvs.srv import Trigger

from ttt3r_ros.io.trajectory_files import read_tum

pytestmark = pytest.mark.ros
IMAGES = 12  # four wait inside the node, the others in the middleware


def ask_to_save(bench, *services):
    """Call services without waiting for their answers."""
    clients = [bench.node.create_client(Trigger, f"/mapping_node/{service}") for service in services]
    bench.spin_until(lambda: all(client.service_is_ready() for client in clients), "the services")
    return [client.call_async(Trigger.Request()) for client in clients]


def test_with_queue_policy_keep_all_a_save_holds_all_images_that_came_before_it(start, tmp_path):
    backend = GatedBackend()
    _, bench = start(backend, queue_policy="keep_all")
    bench.listen_to_diagnostics()
    connected(bench)
    for index in range(IMAGES):
        bench.publish(image(index), SECOND + index * SECOND // 10)
    bench.spin_until(backend.entered.is_set, "the first step")
    answers = ask_to_save(bench, "save_trajectory", "save_map", "save_state")
    assert bench.call("pause").success, "other services are answered meanwhile"
    assert bench.call("resume").success
    assert not any(answer.done() for answer in answers)
    backend.gate.set()
    bench.spin_until(lambda: all(answer.done() for answer in answers), "the answers")
    assert all(answer.result().success for answer in answers)
    assert f"{IMAGES} poses" in answers[0].result().message
    assert len(list(read_tum(tmp_path / "trajectory.txt"))) == IMAGES
    assert f"{IMAGES} poses" in answers[2].result().message


def test_at_rest_a_save_is_answered_at_once(start):
    _, bench = start(FakeBackend(), queue_policy="keep_all")
    bench.listen("pose")
    connected(bench)
    walk(bench, 2)
    for service in ("save_map", "save_trajectory", "save_map"):
        assert bench.call(service).success


def test_with_queue_policy_keep_last_a_save_does_not_wait(start):
    backend = GatedBackend()
    _, bench = start(backend, queue_policy="keep_last")
    connected(bench)
    bench.publish(image(0), SECOND)
    bench.spin_until(backend.entered.is_set, "the first step")
    assert "0 poses" in bench.call("save_trajectory").message
    backend.gate.set()


def test_a_save_that_waits_is_answered_when_the_node_stops_taking_images(start):
    backend = GatedBackend()
    node, bench = start(backend, queue_policy="keep_all")
    connected(bench)
    for index in range(3):
        bench.publish(image(index), SECOND + index * SECOND // 10)
    bench.spin_until(backend.entered.is_set, "the first step")
    (answer,) = ask_to_save(bench, "save_trajectory")
    bench.spin_until(lambda: node.mapping._backlog._waiting, "the call")
    backend.gate.set()
    node.trigger_deactivate()
    bench.spin_until(answer.done, "the answer")
    assert answer.result().success
