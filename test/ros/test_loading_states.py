# SPDX-License-Identifier: Apache-2.0
"""load_state with wrong files: the service responds, nothing changes, the node maps on."""

from __future__ import annotations

import numpy as np
import pytest
from graph import SECOND, map_images, wait_for_connection

from ttt3r_ros.io.state_file import read_state, write_state
from ttt3r_ros.state_dict import flatten, unflatten

pytestmark = pytest.mark.ros


def test_wrong_states_are_refused_and_the_node_maps_on(start, tmp_path):
    node, peer = start()
    peer.subscribe("pose")
    wait_for_connection(peer)
    map_images(peer, 2)
    assert peer.call("save_state").success
    path = tmp_path / "state.npz"
    good, arrays = path.read_bytes(), flatten(read_state(path))
    wrong = {
        "not rigid": ("reconstructor.pose_integrator.T_map_odom", np.zeros((4, 4))),
        "not finite": ("reconstructor.session.T_world_camera", np.full((4, 4), np.nan)),
        "other counts": ("reconstructor.trajectory.stamps_ns", np.zeros(1, np.int64)),
        "other type": ("reconstructor.session.segment", np.array(0.5)),
    }
    contents = {"cut": good[:-10], "text": b"state", "flipped": good[:200] + b"\xff" + good[201:]}
    for kind, (name, value) in wrong.items():
        assert name in arrays
        write_state(path, unflatten({**arrays, name: value}))
        contents[kind] = path.read_bytes()
    trajectory = node.mapping.bodies[0].reconstructor.trajectory
    for index, (kind, content) in enumerate(contents.items()):
        path.write_bytes(content)
        response = peer.call("load_state")
        assert not response.success, kind
        assert "\n" not in response.message
        map_images(peer, 1, (10 + index) * SECOND)
        assert len(trajectory) == 3 + index, kind
    path.write_bytes(good)
    assert peer.call("load_state").success
    assert len(trajectory) == 2


def test_an_unexpected_exception_in_a_service_is_its_response(start, monkeypatch):
    node, peer = start()
    peer.subscribe("pose")
    wait_for_connection(peer)

    def fail(*_, **__):
        raise MemoryError("no more")

    body = node.mapping.bodies[0]
    monkeypatch.setattr(type(body.files), "save_map", fail)
    monkeypatch.setattr(type(body.files), "load_states", fail)
    monkeypatch.setattr(node.mapping, "reset", fail)
    for service in ("save_map", "load_state", "reset"):
        response = peer.call(service)
        assert not response.success
        assert "MemoryError: no more" in response.message
    map_images(peer, 1)
    monkeypatch.undo()
    assert peer.call("reset").success
