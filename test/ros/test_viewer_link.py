# SPDX-License-Identifier: Apache-2.0
"""The node with ``viewer: true``."""

from __future__ import annotations

import importlib.util
import socket
import sys
import urllib.request

import pytest
from graph import map_images, wait_for_connection

from ttt3r_ros.errors import ConfigError

needs_viser = pytest.mark.skipif(
    importlib.util.find_spec("viser") is None, reason="viser is not installed"
)


def show_three_images(start):
    """Return the peer and the viewer of a node after three images."""
    node, peer = start(viewer=True, viewer_port=0)
    peer.subscribe_to_all()
    wait_for_connection(peer)
    map_images(peer, 3)
    live = node.mapping.viewer.live
    peer.spin_until(lambda: len(live.scene.camera_path) == 3, "three poses in the viewer")
    return peer, live


@needs_viser
def test_the_node_serves_its_map_and_publishes_the_address(start):
    peer, live = show_three_images(start)
    peer.spin_until(lambda: "viewer" in peer.diagnostics(), "diagnostics")
    url = peer.diagnostics()["viewer"]
    assert url.startswith("http://127.0.0.1:")
    assert urllib.request.urlopen(url).status == 200
    assert int(peer.diagnostics()["viewer_dropped"]) <= 2
    assert len(live.scene.points) > 0


@needs_viser
def test_after_a_reset_the_viewer_shows_only_the_new_trajectory(start):
    peer, live = show_three_images(start)
    assert peer.call("reset").success
    peer.received["pose"].clear()
    map_images(peer, 2, first_stamp_ns=5 * 10**9)
    peer.spin_until(lambda: len(live.scene.camera_path) == 2, "only the new trajectory")


@needs_viser
def test_clear_map_removes_the_points_and_a_reset_while_paused_everything(start):
    peer, live = show_three_images(start)
    peer.spin_until(lambda: len(live.scene.points) > 0, "points")
    assert peer.call("clear_map").success
    peer.spin_until(lambda: len(live.scene.points) == 0, "no points")
    assert len(live.scene.camera_path) == 3
    assert peer.call("pause").success
    assert peer.call("reset").success
    peer.spin_until(lambda: len(live.scene.camera_path) == 0, "no poses")


@needs_viser
def test_a_port_in_use_is_an_error_with_its_number(start):
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        port = occupied.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"127\.0\.0\.1.*{port}"):
            start(viewer=True, viewer_port=port)


@needs_viser
def test_the_port_is_free_after_the_viewer_is_closed(start):
    node, _ = start(viewer=True, viewer_port=0)
    port = int(node.mapping.viewer.live.page.url.rpartition(":")[2])
    node.mapping.viewer.close()
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_without_viser_the_error_names_the_extra_to_install(start, monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(ConfigError, match=r"pip install 'ttt3r_ros\[viewer\]'"):
        start(viewer=True, viewer_port=0)


def test_without_a_viewer_the_diagnostics_have_no_viewer_keys(start):
    node, peer = start()
    assert node.mapping.viewer.live is None
    peer.subscribe_to_all()
    wait_for_connection(peer)
    map_images(peer, 1)
    peer.spin_until(peer.diagnostics, "diagnostics")
    assert "viewer" not in peer.diagnostics()
