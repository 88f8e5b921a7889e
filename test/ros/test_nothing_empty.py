# SPDX-License-Identifier: Apache-2.0
"""Nothing empty replaces a saved file, and a map that cannot be saved is not cleared when time goes back."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import FakeBackend
from graph import SECOND, jump_back, map_images, wait_for_connection

from ttt3r_ros.io.trajectory_files import read_tum

pytestmark = pytest.mark.ros
FILES = {
    "save_map": ("map.ply", "map.pcd", "map.pgm", "map.yaml"),
    "save_trajectory": ("trajectory.txt",),
    "save_state": ("state.npz",),
}


class UncertainBackend(FakeBackend):
    """Has no confident point, so that no point enters the map."""

    def step(self, rgb, state):
        prediction, state = super().step(rgb, state)
        prediction.confidence[:] = 1.0
        return prediction, state


def write_earlier_files(folder):
    for name in (name for names in FILES.values() for name in names):
        (folder / name).write_text(f"earlier {name}")


def replaced(folder, service):
    return [name for name in FILES[service] if (folder / name).read_text() != f"earlier {name}"]


@pytest.mark.parametrize("queue_policy", ["keep_last", "keep_all"])
def test_before_the_first_image_and_after_a_reset_saved_files_stay(start, tmp_path, queue_policy):
    write_earlier_files(tmp_path)
    _, peer = start(queue_policy=queue_policy)
    peer.subscribe("pose")
    wait_for_connection(peer)
    for _ in ("before the first image", "after a reset"):
        for service in FILES:
            response = peer.call(service)
            assert not response.success
            assert str(tmp_path / FILES[service][0]) in response.message
            assert replaced(tmp_path, service) == []
        map_images(peer, 1, len(peer.received["pose"]) * SECOND + SECOND)
        assert peer.call("reset").success


def test_a_cleared_map_and_a_map_without_points_do_not_replace_a_saved_map(start, tmp_path):
    write_earlier_files(tmp_path)
    for backend in (FakeBackend(), UncertainBackend()):
        node, peer = start(backend)
        peer.subscribe("pose")
        wait_for_connection(peer)
        map_images(peer, 2)
        assert peer.call("clear_map").success
        response = peer.call("save_map")
        assert not response.success
        assert "2 images" in response.message
        assert replaced(tmp_path, "save_map") == []
        peer.close()
        node.destroy_node()


def test_of_several_cameras_the_one_with_images_is_saved_and_the_other_reported(start, tmp_path):
    node, peer = start(cameras=["front", "left"])
    body = node.mapping.bodies[0]
    body.reconstructor.trajectory.append(SECOND, np.eye(4))
    response = peer.call("save_trajectory")
    assert not response.success
    assert str(tmp_path / "trajectory_left.txt") in response.message
    assert len(read_tum(tmp_path / "trajectory_front.txt")) == 1
    assert not (tmp_path / "trajectory_left.txt").exists()


def test_a_map_that_cannot_be_saved_is_kept_when_time_goes_back(start, tmp_path):
    blocked = tmp_path / "results"
    blocked.write_text("not a folder")
    node, peer = start(output_directory=str(blocked))
    peer.subscribe("pose")
    peer.subscribe_to_diagnostics()
    wait_for_connection(peer)
    map_images(peer, 3, 100 * SECOND)
    reconstructor = node.mapping.bodies[0].reconstructor
    voxels = len(reconstructor.map.voxels)
    jump_back(peer)
    assert len(reconstructor.trajectory) == 4
    assert len(reconstructor.map.voxels) >= voxels > 0

    blocked.unlink()  # room again
    assert peer.call("save_map").success
    assert len(read_tum(blocked / "trajectory.txt")) == 0
    assert peer.call("save_trajectory").success
    assert len(read_tum(blocked / "trajectory.txt")) == 4


def test_a_map_without_points_does_not_prevent_the_reset_when_time_goes_back(start, tmp_path):
    node, peer = start(UncertainBackend())
    peer.subscribe("pose")
    peer.subscribe_to_diagnostics()
    wait_for_connection(peer)
    map_images(peer, 3, 100 * SECOND)
    jump_back(peer)
    assert len(node.mapping.bodies[0].reconstructor.trajectory) == 1
    (saved,) = tmp_path.glob("trajectory_until_*.txt")
    assert len(read_tum(saved)) == 3
    assert list(tmp_path.glob("map_until_*")) == []
