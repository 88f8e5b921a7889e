# SPDX-License-Identifier: Apache-2.0
"""Saving waits for all received images and blocks no other callback."""

from __future__ import annotations

import pytest
from fakes import BlockingBackend, FakeBackend, image
from graph import SECOND, map_images, wait_for_connection
from std_srvs.srv import Trigger

from ttt3r_ros.io.trajectory_files import read_tum

pytestmark = pytest.mark.ros
IMAGES = 12  # four in the queue of the node, the others in the middleware


def call_saves(peer, *services):
    """Call services without waiting for their responses."""
    clients = [peer.node.create_client(Trigger, f"/mapping_node/{service}") for service in services]
    peer.spin_until(lambda: all(client.service_is_ready() for client in clients), "the services")
    return [client.call_async(Trigger.Request()) for client in clients]


def test_with_queue_policy_keep_all_a_save_contains_all_earlier_images(start, tmp_path):
    backend = BlockingBackend()
    _, peer = start(backend, queue_policy="keep_all")
    peer.subscribe_to_diagnostics()
    wait_for_connection(peer)
    for index in range(IMAGES):
        peer.publish(image(index), SECOND + index * SECOND // 10)
    peer.spin_until(backend.entered.is_set, "the first step")
    responses = call_saves(peer, "save_trajectory", "save_map", "save_state")
    assert peer.call("pause").success, "other services respond meanwhile"
    assert peer.call("resume").success
    assert not any(response.done() for response in responses)
    backend.released.set()
    peer.spin_until(lambda: all(response.done() for response in responses), "the responses")
    assert all(response.result().success for response in responses)
    assert f"{IMAGES} poses" in responses[0].result().message
    assert len(list(read_tum(tmp_path / "trajectory.txt"))) == IMAGES
    assert f"{IMAGES} poses" in responses[2].result().message


def test_an_idle_node_saves_at_once(start):
    _, peer = start(FakeBackend(), queue_policy="keep_all")
    peer.subscribe("pose")
    wait_for_connection(peer)
    map_images(peer, 2)
    for service in ("save_map", "save_trajectory", "save_map"):
        assert peer.call(service).success


def test_with_queue_policy_keep_last_a_save_does_not_wait(start):
    backend = BlockingBackend()
    _, peer = start(backend, queue_policy="keep_last")
    wait_for_connection(peer)
    peer.publish(image(0), SECOND)
    peer.spin_until(backend.entered.is_set, "the first step")
    assert not peer.call("save_trajectory").success, "nothing to save yet"
    backend.released.set()


def test_deactivation_completes_a_waiting_save(start):
    backend = BlockingBackend()
    node, peer = start(backend, queue_policy="keep_all")
    wait_for_connection(peer)
    for index in range(3):
        peer.publish(image(index), SECOND + index * SECOND // 10)
    peer.spin_until(backend.entered.is_set, "the first step")
    (response,) = call_saves(peer, "save_trajectory")
    peer.spin_until(lambda: node.mapping._queue_drain._waiting, "the call")
    backend.released.set()
    node.trigger_deactivate()
    peer.spin_until(response.done, "the response")
    assert response.result().success
